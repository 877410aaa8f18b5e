"""The whole gateway in this process: how it starts, what it does, how it ends."""

import gc
import getpass
import json
import logging
import os
import resource
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.support.gateway import Gateway, poll
from tollwatch import app, cli, probe
from tollwatch.config import validate
from tollwatch.diagnosis import Subject, examine
from tollwatch.rawconfig import read_config

RULES = [{"id": "R1", "title": "No small models", "match": {"model": "small-*"}, "action": "block"}]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    gc.unfreeze()
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a gateway in this process, do something beside it once it is ready, and end it by SIGTERM."""

    def run(beside: Callable[[Gateway], object] | None = None, **config: Any) -> tuple[int, str, str, Any]:
        gateway = Gateway(tmp_path, config=config, fresh=True)
        monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))
        outcome: list[Any] = []

        def meanwhile() -> None:
            try:
                poll(lambda: _is_ready(gateway), seconds=30, what="/readyz")
                outcome.append(beside(gateway) if beside else None)
            except BaseException as error:  # noqa: BLE001  # handed to the test's own thread
                outcome.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        before = signal.signal(signal.SIGTERM, lambda *_: None)
        thread = threading.Thread(target=meanwhile)
        if beside:
            thread.start()
        try:
            code = cli.main(["run"])
        finally:
            if beside:
                thread.join()
            signal.signal(signal.SIGTERM, before)
        said = capsys.readouterr()
        if outcome and isinstance(outcome[0], BaseException):
            raise outcome[0]
        return code, said.out, said.err, outcome[0] if outcome else None

    return run


def _is_ready(gateway: Gateway) -> bool:
    try:
        return gateway.get("/readyz", token=None)[0] == 200
    except OSError:
        return False


def _post(gateway: Gateway, model: str) -> tuple[int, str]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]}).encode()
    url = f"http://{gateway.base}/{probe.PREFIX}{probe.PATH}"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers["x-tollwatch-call"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["x-tollwatch-call"]


def test_it_starts_proves_itself_serves_and_ends(run: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err, (passed, blocked) = run(lambda gateway: (_post(gateway, "large-1"), _post(gateway, "small-1")), rules=RULES)

    assert code == 0
    assert (passed[0], blocked[0]) == (200, 403)
    assert "is ready (enforce)" in out
    assert f" --config {tmp_path / 'config.yaml'} exec -- python my_agent.py" in out
    assert "setup code" in out
    lines = [json.loads(line) for line in err.splitlines()]
    calls = {line["call"]: line for line in lines if line["event"] == "call"}
    assert calls[passed[1]]["ending"] == "completed"
    assert calls[blocked[1]]["verdict"] == "block"
    assert [line["event"] for line in lines][-2:] == ["ending", "ended"]


def test_no_core_file_can_hold_prompts(run: Callable[..., Any]) -> None:
    run(lambda _gateway: None)

    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)


def test_monitor_mode_holds_the_canary_and_lets_calls_pass(run: Callable[..., Any]) -> None:
    code, out, _, (status, _) = run(lambda gateway: _post(gateway, "small-1"), mode="monitor", rules=RULES)

    assert (code, status) == (0, 200)
    assert "is ready (monitor)" in out


def test_doctor_finds_all_well(run: Callable[..., Any]) -> None:
    def look(gateway: Gateway) -> list[Any]:
        raw = read_config(gateway.config_file, {})
        return list(examine(Subject(config=validate(raw), raw=raw), programs=("python", "no-such-program")))

    *_, findings = run(look)

    assert [finding.check for finding in findings if not finding.ok] == ["no-such-program through exec"]


ALERTING = "\nalerting: {silences: [{matchers: kind=prompt_size, comment: known}], entry_configs: [{title: Mine}]}\n"


def test_commands_and_reload_go_through_the_running_gateway(run: Callable[..., Any]) -> None:
    def change(gateway: Gateway) -> list[Any]:
        gateway.command("token", "create", "--name", "a", "--scope", "admin")
        text = gateway.config_file.read_text()
        before = _post(gateway, "small-1")[0]
        gateway.config_file.write_text(text.replace("small-*", "tiny-*").replace("mode: enforce", "mode: monitor") + ALERTING)
        taken = gateway.command("reload").stdout
        after = _post(gateway, "small-1")[0]
        grouped = [one["title"] for one in gateway.get("/api/v1/alerts/configs", token=gateway.token())[1]]
        gateway.config_file.write_text(text + "\nlog: {level: debug}\n")
        refused = gateway.command("reload", check=False)
        gateway.config_file.write_text(text.replace("mode", "mood"))
        os.kill(os.getpid(), signal.SIGHUP)
        faulty = gateway.command("reload", check=False)
        gateway.config_file.write_text(text)
        os.kill(os.getpid(), signal.SIGHUP)
        poll(lambda: len(_reloads(gateway)) > 1, what="the entry of the second reload")
        return [before, taken, after, grouped, refused, faulty, _reloads(gateway)]

    *_, (before, taken, after, grouped, refused, faulty, reloads) = run(change, rules=RULES, mode="enforce")

    assert (before, after) == (403, 200)
    assert taken == "mode is taken over\nrules is taken over\nalerting.silences is taken over\nalerting.entry_configs is taken over\n"
    assert grouped == ["Mine"]
    assert "log.level changed, which needs a restart" in refused.stderr
    assert "did you mean 'mode'?" in faulty.stderr
    shipped, changed = ["Security", "Spend", "Traffic anomalies"], ["mode", "rules", "alerting.silences", "alerting.entry_configs"]
    to_and_fro = {"changed": changed, "rules": {"changed": ["R1"]}}
    assert reloads == [
        ("SIGHUP", {**to_and_fro, "mode": ["monitor", "enforce"], "alerting.entry_configs": {"added": shipped, "removed": ["Mine"]}}),
        (
            f"cli:{getpass.getuser()}",
            {**to_and_fro, "mode": ["enforce", "monitor"], "alerting.entry_configs": {"added": ["Mine"], "removed": shipped}},
        ),
    ]


def _reloads(gateway: Gateway) -> list[tuple[str, object]]:
    told = map(json.loads, gateway.command("audit", "--action", "config.reloaded", "--json").stdout.splitlines())
    return [(entry["actor"], json.loads(entry["detail"])) for entry in told]


def test_a_canary_that_is_not_recorded_stops_the_start(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "CANARY_HOST", "somewhere.else.invalid")

    code, _, err, _ = run()

    assert code == 3
    assert "its refusal is not in the ledger" in err


def test_a_port_in_use_is_said_so(run: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, err, _ = run(proxy={"listen": f"127.0.0.1:{other.getsockname()[1]}"})

    assert code == 1
    assert "proxy.listen" in err


def test_an_extra_ca_that_is_missing_is_said_so(run: Callable[..., Any]) -> None:
    code, _, err, _ = run(proxy={"upstream_ca": "/no/such.pem"})

    assert code == 1
    assert "proxy.upstream_ca" in err


def test_a_foreign_package_stops_the_start(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollwatch.commands.run.conflict", lambda: "The package 'proxy' is also installed by other")

    code, _, err, _ = run()

    assert code == 1
    assert "'proxy' is also installed by other" in err


def test_what_a_crash_left_open_is_told(run: Callable[..., Any], tmp_path: Path) -> None:
    run(lambda gateway: _post(gateway, "large-1"))
    _reopen_one_call(tmp_path / "data" / "tollwatch.db")

    _, out, _, _ = run(lambda _gateway: None)

    assert "1 call left open by the last run" in out


def _reopen_one_call(database: Path) -> None:
    import sqlite3  # noqa: PLC0415  # to do what only a crash does

    connection = sqlite3.connect(database)
    try:
        with connection:
            connection.execute("UPDATE calls SET state = 'intent' WHERE state = 'settled'")
    finally:
        connection.close()
