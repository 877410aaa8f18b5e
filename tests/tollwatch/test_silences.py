"""`silences ls|add|expire` where no gateway runs; tests/end_to_end/test_amtool.py has one that does."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tollwatch import cli

type Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Return what runs a command here, where no gateway runs."""
    config = tmp_path / "config.yaml"
    known = {"matchers": "kind=meter_gap", "comment": "known"}
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "alerting": {"silences": [known]}}))
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(config))

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as error:  # of argparse
            code = int(str(error.code))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def listed(typed: Typed, *more: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in typed("silences", "ls", "--json", *more)[1].splitlines()]


def test_silences_are_made_listed_and_ended_while_no_gateway_runs(typed: Typed) -> None:
    assert [one["in_config"] for one in listed(typed)] == [True]  # there is no database yet

    code, made, told = typed("silences", "add", "user=ann", "model=~gpt-4.*", "--comment", "travels", "--for", "2d", "--author", "bob")
    [silence, defined] = listed(typed)

    assert code == 0
    assert silence["id"] == made.strip()
    assert silence["matchers"] == ['user="ann"', 'model=~"gpt-4.*"']
    assert (silence["state"], silence["created_by"], silence["comment"]) == ("active", "bob", "travels")
    assert 'user="ann"' in told
    assert defined["in_config"]

    assert typed("silences", "expire", made.strip())[0] == 0
    assert len(listed(typed)) == 1
    assert [one["state"] for one in listed(typed, "--all")] == ["active", "expired"]


def test_a_table_shows_them(typed: Typed) -> None:
    year = datetime.now(UTC).year + 2
    typed("silences", "add", "user=ann", "--comment", "later", "--from", f"{year}-01-02T12:00Z", "--until", f"{year}-01-03T12:00Z")

    table = typed("silences", "ls")[1].splitlines()

    assert [line.split()[0] for line in table] == ["STATE", "active", "pending"]
    assert "(config file)" in table[1]
    assert f"{year}-01-0" in table[2]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["add", "user=ann"], 2, "--comment"),
        (["add", "user", "--comment", "x"], 2, "write name=value"),
        (["add", "usr=ann", "--comment", "x"], 2, "did you mean 'user'"),
        (["add", "user=ann", "--comment", "x", "--for", "soon"], 2, "--for: 'soon' is not a span"),
        (["add", "user=ann", "--comment", "x", "--until", "soon"], 2, "--until: 'soon' is not a time"),
        (["add", "user=ann", "--comment", "x", "--until", "2020-01-01"], 1, "cannot begin"),
        (["add", "user=ann", "--comment", "x", "--from", "2020-01-01", "--until", "2020-01-02"], 1, "in the past"),
        (["add", "user=ann", "--comment", " "], 1, "say why"),
        (["add", "user=ann", "--comment", "x", "--until", "2999-01-01"], 1, "ten years"),
        (["expire", "nope"], 1, "There is no silence 'nope'"),
    ],
)
def test_what_cannot_be_done_is_told(typed: Typed, arguments: list[str], code: int, why: str) -> None:
    ended, _, told = typed("silences", *arguments)

    assert (ended, why in told) == (code, True), told


def test_one_of_the_config_file_is_ended_there(typed: Typed) -> None:
    [defined] = listed(typed)

    code, _, told = typed("silences", "expire", defined["id"])

    assert (code, "alerting.silences" in told) == (1, True)


def test_a_file_that_is_no_database_is_told(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tollwatch.db").write_text("not a database, but long enough to be looked at" * 100)

    code, _, told = typed("silences", "ls")

    assert (code, "tollwatch.db" in told) == (1, True)
