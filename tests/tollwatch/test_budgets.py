"""`budgets ls|show|reset`, beside a running gateway and without one."""

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.times import to_micros
from tests.support.gateway import Gateway, poll
from tests.support.provider import Provider
from tollwatch import cli

BUDGETS = [
    {"name": "daily", "limit": "0.0001 USD", "warn_at": [0.01, 0.5], "on_exceed": "alert"},
    {"name": "ada's tokens", "limit": "1000 tokens", "scope": {"user": "ada"}, "period": "week", "timezone": "Europe/Berlin"},
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with (
        Provider(tmp_path_factory.mktemp("provider")) as provider,
        Gateway(tmp_path_factory.mktemp("gateway"), provider, config={"budgets": BUDGETS}) as gateway,
    ):
        yield gateway


@pytest.fixture
def run(gateway: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["budgets", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def spend(gateway: Gateway, *, model: str = "gpt-4o") -> None:
    """Make a call of 11 and 7 tokens; of gpt-4o they cost $0.0000975."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10}
    headers = {"content-type": "application/json", "authorization": "Bearer sk-test"}
    request = urllib.request.Request(f"http://{gateway.base}/openai/v1/chat/completions", json.dumps(body).encode(), headers)
    before = len(gateway.calls())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=60).close()
    gateway.wait_settled(before + 1)


def test_budgets_are_listed_shown_and_reset_through_the_gateway(run: Any, gateway: Gateway) -> None:
    spend(gateway)
    spend(gateway)
    kinds = poll(lambda: (found := {alert["type"] for alert in gateway.alerts()}) >= {"budget_warning", "budget_exceeded"} and found)
    assert kinds >= {"budget_warning", "budget_exceeded"}

    code, text, _ = run("ls")
    assert code == 0
    heads, daily, ada = text.splitlines()
    assert heads.split()[:6] == ["STATUS", "NAME", "SPENT", "HELD", "LEFT", "LIMIT"]
    assert daily.split()[:6] == ["exceeded", "daily", "$0.000195", "$0.00", "$0.00", "$0.0001"]
    assert "1,000 tokens" in ada
    lines = [json.loads(one) for one in run("ls", "--json")[1].splitlines()]
    assert [(one["name"], one["spent"], one["status"]) for one in lines] == [("daily", "0.000195", "exceeded"), ("ada's tokens", 0, "ok")]
    shown = run("show", "daily")[1]
    assert "thresholds   1% ($0.000001) reached, 50% ($0.00005) reached, 100% ($0.0001) reached" in shown
    assert "forecast     too little has been charged yet to tell" in shown

    code, out, err = run("reset", "daily")
    assert (code, out) == (0, "")
    assert err == "Budget 'daily' begins anew: $0.000195 had been spent in its period, and 3 alerts of it ended\n"

    after = json.loads(run("show", "daily", "--json")[1])
    assert (after["spent"], after["status"], after["resets"][0]["amount"]) == ("0", "ok", "0.000195")
    assert "$0.000195 had been spent" in run("show", "daily")[1]
    assert {row["resolution"] for row in gateway.rows("SELECT * FROM alerts WHERE kind LIKE 'budget%'")} == {"condition_cleared"}
    assert gateway.rows("SELECT event, amount FROM budget_history ORDER BY seq DESC LIMIT 1") == [{"event": "reset", "amount": -195000}]
    assert json.loads(run("reset", "daily", "--json")[1]) == {"reset": "daily", "amount": 0, "unit": "usd", "alerts": 0}


@pytest.mark.parametrize("command", ["show", "reset"])
def test_a_budget_that_does_not_exist_is_a_clear_error(run: Any, command: str) -> None:
    code, _, err = run(command, "dailly")

    assert code == 1
    assert "There is no budget 'dailly' in the config" in err
    assert "daily" in err.replace("dailly", "")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config.yaml"
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    file.write_text(json.dumps({"version": 1, "data_dir": str(data), "budgets": [{"name": "b", "limit": "5 tokens"}]}))
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(file))
    return file


def test_without_a_gateway_a_reset_takes_the_lock_itself(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["budgets", "ls"]) == 1
    assert "There is no database" in capsys.readouterr().err
    assert cli.main(["budgets", "reset", "b"]) == 0
    assert cli.main(["budgets", "show", "b"]) == 0
    assert "5 tokens per day, then block" in capsys.readouterr().out
    alone.write_text(alone.read_text().replace("budgets", "rules").replace('{"name": "b", "limit": "5 tokens"}', ""))
    assert cli.main(["budgets", "ls"]) == 0
    assert "The config has no budgets" in capsys.readouterr().err


def test_a_forecast_is_told_with_its_method_and_its_bounds(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["budgets", "reset", "b"]) == 0  # makes the store
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    starts_at, ends_at = hour.replace(hour=0), hour.replace(hour=0) + timedelta(days=1)
    rows = [("b", to_micros(hour - timedelta(hours=back)), 10, 5) for back in range(1, 12)]
    with sqlite3.connect(alone.parent / "data" / "tollwatch.db") as store:
        store.execute("INSERT INTO budget_periods VALUES ('b', ?, ?, 2, 0, 0)", (to_micros(starts_at), to_micros(ends_at)))
        store.executemany("INSERT INTO budget_hours VALUES (?, ?, ?, ?)", rows)
    store.close()

    assert cli.main(["budgets", "show", "b"]) == 0
    shown = capsys.readouterr().out
    assert cli.main(["budgets", "ls"]) == 0

    assert "tokens at its end, four times in five" in shown
    assert "from 10 hours at the pace so far" in shown
    assert "tokens (" in capsys.readouterr().out.splitlines()[1]
