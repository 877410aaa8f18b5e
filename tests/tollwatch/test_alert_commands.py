"""`alerts ls|show|act|export` over a store of its own, where no gateway runs."""

import asyncio
import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerting.book import AlertBook
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from alerting.settings import AlertingSettings
from storage.sqlite import SqliteDatabase, open_readonly
from tollwatch import cli

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)

type Typed = Callable[..., tuple[int, str, str]]


def occurrence(name: str, kind: AlertKind = AlertKind.PROMPT_SIZE, *, at: datetime = NOW, **more: Any) -> Occurrence:
    finding = Finding(
        kind=kind,
        action=Action.ALERT,
        severity=more.pop("severity", Severity.MEDIUM),
        title="Something",
        message=more.pop("message", "Something is wrong"),
        episode=(name,),
        subject=Subject(user=name, **more),
        evidence={"tokens": 5},
    )
    return Occurrence(finding=finding, taken=Taken.ALERTED, at=at)


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"data_dir": str(tmp_path / "data")}))
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(config))
    monkeypatch.setattr("getpass.getuser", lambda: "ann")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def given(tmp_path: Path, typed: Typed) -> Callable[[Sequence[Occurrence]], None]:
    """Return what puts findings into the store."""

    async def put(occurrences: Sequence[Occurrence]) -> None:
        (tmp_path / "data").mkdir(exist_ok=True)
        database = await SqliteDatabase.open(tmp_path / "data" / "tollwatch.db")
        book = AlertBook(database, org_id="a1b2c3d4-0000-0000-0000-000000000000", settings=AlertingSettings(), now=lambda: NOW)
        for one in occurrences:
            await book.record([one])
        await database.close()

    del typed
    return lambda occurrences: asyncio.run(put(occurrences))


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_is_held_back_is_told_with_what_holds_it(typed: Typed, given: Any) -> None:
    given([occurrence("ann"), occurrence("bob"), occurrence("bob", AlertKind.USER_LOCKED_OUT)])
    silence = typed("silences", "add", "user=ann", "--comment", "travels")[1].strip()

    listed = {one["local_id"]: one["suppressed"] for one in objects(typed("alerts", "ls", "--json")[1])}
    silenced, inhibited = (json.loads(typed("alerts", "show", name, "--json")[1]) for name in ("alert_1", "alert_2"))

    assert listed == {"alert_1": True, "alert_2": True, "alert_3": False}
    assert (silenced["silenced_by"], silenced["inhibited_by"]) == ([silence], [])
    assert (inhibited["silenced_by"], inhibited["inhibited_by"]) == ([], ["alert_3"])
    assert typed("alerts", "ls")[1].count("open, suppressed") == 2
    assert silence in typed("alerts", "show", "alert_1")[1]


def test_what_was_done_stands_in_the_history_and_acknowledges(typed: Typed, given: Any) -> None:
    given([occurrence("ann")])

    code, _, told = typed("alerts", "act", "alert_1", "  took the key away ")
    typed("alerts", "resolve", "1")
    typed("alerts", "act", "alert_1", "wrote to ann")
    shown = json.loads(typed("alerts", "show", "alert_1", "--json")[1])

    assert (code, told) == (0, "alert_1 is acted on\n")
    assert shown["acknowledged_by"] == "cli:ann"
    assert [(entry["action"], entry["note"], entry["feed"]) for entry in shown["history"]] == [
        ("opened", None, None),
        ("acknowledged", None, "cli"),
        ("acted", "took the key away", "cli"),
        ("resolved", None, "cli"),
        ("acted", "wrote to ann", "cli"),
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["alert_1", " "], "Say what was done"), (["alert_1", "x" * 2001], "2,000"), (["alert_9", "x"], "There is no alert 'alert_9'")],
)
def test_an_act_without_words_or_alert_is_refused(typed: Typed, given: Any, arguments: list[str], why: str) -> None:
    given([occurrence("ann")])

    code, _, told = typed("alerts", "act", *arguments)

    assert (code, why in told) == (1, True), told


def test_a_note_has_an_end(typed: Typed, given: Any) -> None:
    given([occurrence("ann")])

    assert typed("alerts", "resolve", "1", "--note", "x" * 2001)[0] == 1
    assert json.loads(typed("alerts", "show", "1", "--json")[1])["status"] == "open"


def test_every_alert_is_exported_newest_first_as_asked_for(typed: Typed, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollwatch.commands.alerts_export._BATCH", 2)
    old = NOW - 5 * HOUR
    given(
        [
            occurrence("a", at=old),
            occurrence("b", AlertKind.GATEWAY_DEGRADED, severity=Severity.HIGH, at=old),
            *(occurrence(name) for name in "cde"),
        ]
    )
    typed("alerts", "resolve", "alert_4")

    def users(*more: str) -> str:
        return "".join(one["subject"]["user"] for one in objects(typed("alerts", "export", *more)[1]))

    assert users() == "edcba"
    assert users("--kind", "gateway_degraded") == "b"
    assert users("--severity", "high") == "b"
    assert users("--status", "resolved") == "d"
    assert users("--status", "open", "--since", "1h") == "ec"
    assert users("--until", (NOW - HOUR).isoformat()) == "ba"
    assert users("--since", "2100-01-01") == ""


def test_a_table_for_spreadsheets_has_no_formula(typed: Typed, given: Any) -> None:
    dangerous = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"]
    given([occurrence(name, message=f'{name}, says "{name}"\nand more') for name in dangerous])

    rows = list(csv.DictReader(io.StringIO(typed("alerts", "export", "--format", "csv")[1], newline="")))

    assert [row["user"] for row in rows] == [f"'{name}" for name in reversed(dangerous)]
    assert rows[-1]["message"] == '\'=1+1, says "=1+1"\nand more'
    assert json.loads(rows[0]["evidence"]) == [{"tokens": 5}]
    assert (rows[0]["local_id"], rows[0]["status"], rows[0]["acknowledged_at"]) == ("alert_7", "open", "")


def test_an_empty_table_has_its_heads(typed: Typed, given: Any) -> None:
    given([])

    assert typed("alerts", "export", "--format", "csv")[1].startswith("seq,id,org_id,kind,severity,")
    assert typed("alerts", "export")[1] == ""


def test_on_a_terminal_a_cell_cannot_steer_it(typed: Typed, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given([occurrence("\x1b[2Jann")])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    assert "\x1b" not in typed("alerts", "export", "--format", "csv")[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["--kind", "prompt_sise"], "did you mean 'prompt_size'"), (["--since", "soon"], "neither a span")],
)
def test_what_cannot_be_exported_is_told(typed: Typed, arguments: list[str], why: str) -> None:
    code, _, told = typed("alerts", "export", *arguments)

    assert (code, why in told) == (2, True), told


def test_what_is_done_where_no_gateway_runs_is_told_by_the_next_that_does(tmp_path: Path, typed: Typed, given: Any) -> None:
    hook = {"name": "siem", "url": "https://siem.example.com/x", "secret": "whsec_dG9sbHdhdGNoLWV4YW1wbGUtc2VjcmV0LWNoYW5nZS1pdCE="}
    (tmp_path / "config.yaml").write_text(json.dumps({"data_dir": str(tmp_path / "data"), "notify": {"webhooks": [hook]}}))
    given([occurrence("ann")])

    typed("alerts", "resolve", "1")

    with open_readonly(tmp_path / "data" / "tollwatch.db") as store:
        rows = store.read("SELECT event, channel, state, body FROM deliveries")
    assert [row[:3] for row in rows] == [("alert.resolved", "webhook", "pending")]
    assert json.loads(rows[0][3])["data"]["metadata"]["resolved_by"] == "cli:ann"
