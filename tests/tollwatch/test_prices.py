"""`prices show|diff`, without a gateway."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.price_lists import keep
from metering.prices import PriceBook
from metering.settings import PricingSettings
from tollwatch import cli

type Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, write_config: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> Run:
    config = write_config(f"version: 1\ndata_dir: {tmp_path}\npricing: {{overrides: [{{model: mine, input: 1, output: 2}}]}}\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["prices", *arguments, "--config", str(config)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_model_is_shown_by_its_name_an_alias_or_a_part(run: Run) -> None:
    code, out, _ = run("show", "gpt-4o-2024-08-06", "--provider", "openai", "--json")

    assert code == 0
    (line,) = out.splitlines()
    shown = json.loads(line)
    assert (shown["provider"], shown["model"], shown["rates"]["input_mtok"]) == ("openai", "gpt-4o-2024-08-06", "2.5")
    assert "claude-sonnet-4-5" in run("show", "sonnet-4-", "--provider", "anthropic")[1]


def test_all_prices_are_shown_with_ones_own(run: Run) -> None:
    code, out, _ = run("show")

    assert code == 0
    assert "gpt-4o" in out
    assert "genai-prices" in out
    assert any(line.split() == ["*", "mine", "1", "2"] for line in out.splitlines())


def test_what_has_no_price_is_an_error_with_the_remedy(run: Run) -> None:
    code, _, err = run("show", "gpt-99")

    assert code == 1
    assert "pricing.overrides" in err


@pytest.mark.parametrize(
    "text",
    [
        "- {model: mine, input: 3, output: 2}\n",
        "overrides: [{model: mine, input: 3, output: 2}]\n",
        "pricing: {overrides: [{model: mine, input: 3, output: 2}]}\n",
    ],
)
def test_a_file_of_overrides_is_held_against_those_in_force(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(text, encoding="utf-8")

    code, out, _ = run("diff", str(file), "--json")

    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"provider": "*", "model": "mine", "rate": "input_mtok", "before": "1", "after": "3"}
    ]
    assert "mine" in run("diff", str(file))[1]


@pytest.mark.parametrize("text", ["- {model: mine, output: 2}\n", "- {modle: mine}\n", "{", "3\n"])
def test_a_file_that_holds_no_overrides_says_why(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(text, encoding="utf-8")

    code, _, err = run("diff", str(file))

    assert code == 1
    assert str(file) in err


def test_a_version_that_ran_here_is_held_against_the_tables_of_now(run: Run, tmp_path: Path) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    book = PriceBook(PricingSettings(), now=at)
    path = keep(book, tmp_path / "prices", at)
    old = json.loads(path.read_text(encoding="utf-8"))
    old["prices"] = [line for line in old["prices"] if line[:2] != ["openai", "gpt-4o"]]
    (tmp_path / "prices" / "0.0.1.json").write_text(json.dumps(old), encoding="utf-8")

    since = run("diff", "--since", "0.0.1")

    assert since[0] == 0
    assert "gpt-4o" in since[1]
    assert run("diff", str(tmp_path / "prices" / "0.0.1.json"))[0] == 0
    missing = run("diff", "--since", "9.9")
    assert missing[0] == 1
    assert "0.0.1" in missing[2]


def test_nothing_to_compare_is_said(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "same.yaml"
    file.write_text("- {model: mine, input: 1, output: 2}\n", encoding="utf-8")

    assert "nothing changes" in run("diff", str(file))[1]
    assert run("diff", str(tmp_path / "none.json"))[0] == 1
    assert run("diff")[0] == 2
