"""The command line beside a running gateway, and without one."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import ROOT, Gateway, poll
from tollwatch import cli
from tollwatch.commands import ca
from tollwatch.config import load_config

RULE = {"id": "SEC-003", "title": "GPT-4 for engineering only", "match": {"model": "gpt-4*"}, "action": "block", "severity": "high"}
CALL = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
SEND = f"""
import json, urllib.request, urllib.error
body, headers = {json.dumps(CALL).encode()!r}, {{"content-type": "application/json"}}
request = urllib.request.Request("https://api.openai.com/v1/chat/completions", body, headers)
try:
    urllib.request.urlopen(request)
except urllib.error.HTTPError as error:
    print(error.code, error.headers["x-tollwatch-call"])
"""


class Shell:
    """Runs commands in this process, as a person would beside this gateway."""

    def __init__(self, gateway: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.gateway = gateway
        self._capsys = capsys
        for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        try:
            code = cli.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), config={"rules": [RULE], "users": [{"name": "dev"}]}) as gateway:
        yield gateway


@pytest.fixture
def shell(running: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(running, capsys, monkeypatch)


@pytest.fixture
def idle(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell where no gateway runs."""
    return Shell(Gateway(tmp_path), capsys, monkeypatch)


@pytest.fixture(scope="module")
def blocked(running: Gateway) -> str:
    """The id of a call that the rule blocked."""
    done = running.command("exec", "--user", "dev", "--", sys.executable, "-c", SEND)
    status, call_id = done.stdout.split()
    assert status == "403"
    return call_id


def test_a_blocked_call_and_its_alert_are_shown(shell: Shell, blocked: str) -> None:
    _, calls, _ = shell("calls", "ls")
    _, alerts, _ = shell("alerts", "ls", "--all")

    assert blocked in calls
    assert "gpt-4o" in calls
    assert "policy_violation" in alerts
    assert "SEC-003" in alerts


def test_a_call_is_one_json_line_with_its_caller(shell: Shell, blocked: str) -> None:
    code, out, _ = shell("calls", "ls", "--json", "--since", "1h")

    assert code == 0
    (row,) = [row for row in map(json.loads, out.splitlines()) if row["id"] == blocked]
    assert row["caller"]["user"] == "dev"
    assert row["verdict"] == "block"
    assert row["status"] == 403
    assert row["cost_usd"] == "0"


def test_what_costs_nothing_is_no_unknown_cost(shell: Shell) -> None:
    shell("doctor")

    rows = [json.loads(line) for line in shell("calls", "ls", "--json")[1].splitlines()]
    free = [row for row in rows if row["source"] == "none"]
    shown = {line.split()[2]: line for line in shell("calls", "ls")[1].splitlines()[1:]}

    assert free
    assert [row["id"] for row in free if " ? " in shown[row["id"]]] == []


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_one_call_is_shown_whole(shell: Shell, blocked: str, more: list[str]) -> None:
    code, out, _ = shell("calls", "show", blocked, *more)

    assert code == 0
    assert blocked in out
    assert "gpt-4o" in out


def test_an_alert_lives_through_its_states(shell: Shell, blocked: str) -> None:
    assert blocked
    _, out, _ = shell("alerts", "ls", "--json", "--kind", "policy_violation")
    alert = json.loads(out.splitlines()[0])
    name = alert["local_id"]

    for command, word in (("ack", "acknowledged"), ("resolve", "resolved"), ("dismiss", "dismissed")):
        code, _, err = shell("alerts", command, name, *(["--note", "seen"] if command == "resolve" else []))
        assert (code, word in err) == (0, True)

    refused = shell("alerts", "ack", name)
    _, shown, _ = shell("alerts", "show", alert["id"], "--json")
    _, open_now, _ = shell("alerts", "ls", "--kind", "policy_violation", "--json")
    history = [entry["action"] for entry in json.loads(shown)["history"]]
    assert refused[0] == 1
    assert "is resolved, which is final" in refused[2]
    assert history[:3] == ["opened", "acknowledged", "resolved"]
    assert json.loads(shown)["resolution_note"] == "seen"
    assert alert["id"] not in open_now
    told = shell("alerts", "show", name)[1]
    assert re.search(r"\nhistory +\S+ opened by system\n +\S+ acknowledged by \S+ \(cli\)\n +\S+ resolved by \S+ \(cli\): seen\n", told)
    assert re.search(r'\nsubject +\{"service": "openai",', told)
    assert not re.search("[<(]AlertAction|None|\\{'", told)


def test_a_token_made_here_is_good_at_once_and_useless_once_revoked(shell: Shell) -> None:
    code, out, err = shell("token", "create", "--name", "siem", "--scope", "alerts:read", "--expires", "1d")
    token = out.strip()

    assert code == 0
    assert "not shown again" in err
    assert shell.gateway.get("/api/alerts", token=token)[0] == 200
    assert "siem" in shell("token", "ls")[1]
    assert json.loads(shell("token", "ls", "--json")[1].splitlines()[0])["scopes"] == ["alerts:read"]
    assert shell("token", "create", "--name", "siem", "--scope", "admin")[0] == 1
    assert shell("token", "revoke", "siem")[0] == 0
    assert shell.gateway.get("/api/alerts", token=token)[0] == 401
    assert "no live token named 'siem'" in shell("token", "revoke", "siem")[2]
    made = json.loads(shell("token", "create", "--name", "json", "--scope", "admin", "--json")[1])
    assert made["token"].startswith("tw_")


def test_tail_prints_calls_as_they_settle(running: Gateway, blocked: str) -> None:
    assert blocked
    settings = {**running.env, "TOLLWATCH_CONFIG": str(running.config_file), "PYTHONUNBUFFERED": "1"}
    line = [sys.executable, "-m", "tollwatch", "tail", "--json", "--count", "2"]
    with subprocess.Popen(line, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout
        deadline = time.monotonic() + 20
        sender = [sys.executable, "-c", SEND]
        while tail.poll() is None and time.monotonic() < deadline:
            running.command("exec", "--", *sender)
        rows = [json.loads(row) for row in tail.stdout.read().splitlines()]

    assert tail.returncode == 0
    assert [row["state"] for row in rows] == ["refused", "refused"]


@pytest.mark.parametrize(
    "arguments", [[], ["weekly"], ["monthly", "--by", "model"], ["daily", "--json"], ["--csv"], ["--since", "24h", "--by", "source"]]
)
def test_spend_counts_what_is_known(shell: Shell, blocked: str, arguments: list[str]) -> None:
    assert blocked

    code, out, _ = shell("spend", *arguments)

    assert code == 0
    assert out


def test_doctor_proves_the_path(shell: Shell) -> None:
    code, out, err = shell("doctor", "--json", "--probe", "python")

    said = json.loads(out)
    assert code == 0, (out, err)
    assert said["healthy"]
    assert {"call by the forward door", "call by the base-URL door", "python through exec"} <= {check["check"] for check in said["checks"]}
    assert "ok" in shell("doctor")[1]


def test_doctor_raises_no_alert(shell: Shell) -> None:
    shell("doctor")

    assert "tollwatch-probe" not in shell("alerts", "ls", "--all")[1]


def test_a_second_gateway_says_who_runs_and_ends(shell: Shell) -> None:
    done = shell.gateway.command("run", check=False)

    assert done.returncode == 1
    assert f"process {shell.gateway.process.pid if shell.gateway.process else None}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_ca_is_shown_and_not_rotated_under_a_running_gateway(shell: Shell) -> None:
    assert "api.openai.com" in shell("ca", "show")[1]
    assert json.loads(shell("ca", "show", "--json")[1])["path"] == str(shell.gateway.ca_file)
    assert shell("ca", "export")[1].strip() == shell.gateway.ca_file.read_text().strip()
    assert shell("ca", "rotate")[0] == 1


def test_env_prints_what_exec_sets(shell: Shell) -> None:
    code, out, _ = shell("env", "--shell", "dotenv")

    assert code == 0
    assert f'HTTPS_PROXY="http://{shell.gateway.forward}"' in out


@pytest.mark.parametrize(("login", "word"), [("/usr/bin/fish", "set -gx"), ("/bin/tcsh", "export")])
def test_env_speaks_the_login_shell(shell: Shell, monkeypatch: pytest.MonkeyPatch, login: str, word: str) -> None:
    monkeypatch.setenv("SHELL", login)

    assert word in shell("env")[1]


def test_exec_gives_the_child_its_exit_code(running: Gateway) -> None:
    assert running.command("exec", "--", "sh", "-c", "exit 7", check=False).returncode == 7


def test_exec_gives_the_child_its_signals(running: Gateway) -> None:
    settings = {**running.env, "TOLLWATCH_CONFIG": str(running.config_file)}
    line = [sys.executable, "-m", "tollwatch", "exec", "--", "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do read -r _; done"]
    with subprocess.Popen(line, cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdin
        assert child.stdout.readline() == "up\n"
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(BrokenPipeError):  # it need not wait for a line to end
            os.write(child.stdin.fileno(), b"\n")
        assert child.wait(60) == 9


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["exec"], 2, "write the command after --"),
        (["exec", "--", "no-such-program-here"], 127, "no such program on PATH"),
        (["exec", "--", str(ROOT / "README.md")], 126, "not executable"),
        (["alerts", "ls", "--kind", "prompt_drft"], 2, "did you mean 'prompt_drift'?"),
        (["alerts", "ack", "alert_999"], 1, "There is no alert 'alert_999'"),
        (["alerts", "show", "alert_999"], 1, "There is no alert 'alert_999'"),
        (["calls", "show", "x"], 1, "There is no call 'x'"),
        (["calls", "ls", "--since", "yesterday"], 2, "neither a span"),
        (["calls", "ls", "--limit", "0"], 2, "at least 1"),
        (["token", "create", "--name", "a", "--scope", "root"], 2, "'root' is not a scope"),
        (["token", "create", "--name", "a", "--scope", "admin", "--expires", "soon"], 2, "not a span of time"),
        (["config", "explain", "proxy.lisen"], 2, "did you mean 'listen'?"),
        (["ca", "export", "--out", "/no/such/folder/ca.pem"], 1, "Cannot write /no/such/folder/ca.pem"),
        (["nonsense"], 2, "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_an_exit_code(shell: Shell, command: list[str], code: int, words: str) -> None:
    ended, _, err = shell(*command)

    assert ended == code
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["calls", "ls"], ["alerts", "ls"], ["token", "ls"], ["spend"], ["tail"]])
def test_reading_before_the_first_start_says_what_to_do(idle: Shell, command: list[str]) -> None:
    code, _, err = idle(*command)

    assert code == 1
    assert "tollwatch run" in err


def test_exec_without_a_gateway_runs_nothing(idle: Shell) -> None:
    code, out, err = idle("exec", "--", "echo", "ran")

    assert (code, out) == (3, "")
    assert "tollwatch run" in err


def test_env_before_the_first_start_says_what_to_do(idle: Shell) -> None:
    code, _, err = idle("env")

    assert code == 1
    assert "tollwatch init" in err


def test_a_command_that_writes_does_so_itself_when_no_gateway_runs(idle: Shell) -> None:
    assert idle("token", "create", "--name", "a", "--scope", "admin")[0] == 0
    assert "a" in idle("token", "ls")[1]
    assert "nothing to reload" in idle("reload")[2]


def test_doctor_without_a_gateway_is_unhealthy(idle: Shell) -> None:
    code, out, _ = idle("doctor")

    assert code == 3
    assert "tollwatch init" in out
    assert "tollwatch run" in out


def test_doctor_with_a_faulty_config_is_unhealthy(idle: Shell) -> None:
    idle.gateway.config_file.write_text("mod: enforce")

    code, out, _ = idle("doctor")

    assert code == 3
    assert "did you mean 'mode'?" in out


def test_init_makes_everything_once(idle: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TOLLWATCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TOLLWATCH_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")

    first = idle("init")
    again = idle("init")

    assert first[0] == again[0] == 0
    assert "setup code" in first[1]
    assert (tmp_path / "home" / "tollwatch" / "config.yaml").is_file()
    assert idle("config", "validate")[0] == 0


def test_init_in_an_unusable_folder_says_so(idle: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    idle.gateway.config_file.write_text(f"data_dir: {tmp_path / 'file' / 'data'}")

    code, _, err = idle("init")

    assert code == 1
    assert "Cannot use the data directory" in err


def test_the_ca_can_be_rotated_and_exported_when_no_gateway_runs(idle: Shell, tmp_path: Path) -> None:
    before = idle("ca", "export")[1]

    assert idle("ca", "rotate")[0] == 0
    assert idle("ca", "export", "--out", str(tmp_path / "ca.pem"))[0] == 0
    assert (tmp_path / "ca.pem").read_text().strip() != before.strip()


def test_a_loose_ca_is_refused(idle: Shell) -> None:
    idle("ca", "show")
    (idle.gateway.data_dir / "ca").chmod(0o755)

    for command in (["ca", "show"], ["ca", "rotate"], ["init"]):
        code, _, err = idle(*command)
        assert (code, "chmod" in err) == (1, True)
    assert "FAIL  CA" in idle("doctor")[1]


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_config_commands(idle: Shell, more: list[str]) -> None:
    assert "enforce" in idle("config", "show", *more)[1]
    assert "valid" in idle("config", "validate", *more)[1]
    assert "HTTPS_PROXY" in idle("config", "explain", "proxy.listen", *more)[1]
    assert "properties" in json.loads(idle("config", "schema", *more)[1])
    assert "0.1.0" in idle("version", *more)[1]


def test_config_show_can_be_loaded_again(idle: Shell, tmp_path: Path) -> None:
    config = load_config(ROOT / "config.example.yaml", {})
    _, out, _ = idle("config", "show", "--config", str(ROOT / "config.example.yaml"))
    (tmp_path / "again.yaml").write_text(out)

    assert load_config(tmp_path / "again.yaml", {}) == config


@pytest.mark.parametrize("command", [["show"], ["explain", "proxy.upstream_proxy"], ["explain", "proxy"]])
@pytest.mark.parametrize("value", ["${env:WAY}", "http://me:${env:WAY}@proxy.example.com"])
def test_what_a_reference_stands_for_is_not_printed(idle: Shell, monkeypatch: pytest.MonkeyPatch, command: list[str], value: str) -> None:
    monkeypatch.setenv("WAY", "hunter2")
    idle.gateway.config_file.write_text(f"proxy: {{upstream_proxy: '{value}'}}\nrules: []")

    _, out, _ = idle("config", *command)

    assert "hunter2" not in out
    assert value in out


@pytest.mark.parametrize("arguments", [["--help"], ["env"], ["exec", "--no-check", "--", "true"]])
def test_quick_commands_are_quick(running: Gateway, arguments: list[str]) -> None:
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        running.command(*arguments)
        times.append(time.perf_counter() - begun)

    heavy = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tollwatch", *arguments],
        cwd=ROOT,
        env={**running.env, "TOLLWATCH_CONFIG": str(running.config_file)},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert not [name for name in ("pydantic", "mitmproxy", "aiohttp", "structlog", "tiktoken") if f" {name}\n" in heavy]
    assert min(times) < 2  # 0.1 s on an idle machine


def test_a_gateway_told_to_end_ends_well(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    with gateway:
        pass

    assert gateway.process
    assert gateway.process.returncode == 0
    assert not (gateway.data_dir / "control.sock").exists()


def test_a_data_dir_too_long_for_a_socket_still_takes_commands(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    with Gateway(tmp_path, config={"data_dir": str(deep)}) as gateway:
        done = gateway.command("token", "create", "--name", "a", "--scope", "admin")

    assert done.stdout.startswith("tw_")


def test_sighup_takes_over_rules_or_nothing(tmp_path: Path) -> None:
    with Gateway(tmp_path, config={"rules": [RULE]}) as gateway:
        assert gateway.process
        text = gateway.config_file.read_text()
        gateway.config_file.write_text(text.replace("gpt-4*", "gpt-9*"))
        os.kill(gateway.process.pid, signal.SIGHUP)
        poll(lambda: "config_reloaded" in gateway.log(), what="the reload")
        gateway.config_file.write_text(text.replace("id: SEC", "idd: SEC"))
        os.kill(gateway.process.pid, signal.SIGHUP)
        poll(lambda: "config_not_reloaded" in gateway.log(), what="the refusal")
        gateway.config_file.write_text(text.replace("version: 1", "version: 1\nlog: {level: debug}"))
        refused = gateway.command("reload", check=False)
        gateway.config_file.write_text(text.replace("gpt-4*", "gpt-9*"))
        unchanged = gateway.command("reload")

    assert refused.returncode == 1
    assert "log.level changed, which needs a restart" in refused.stderr
    assert unchanged.stdout == "nothing changed\n"


def test_tail_in_words(shell: Shell, blocked: str) -> None:
    assert blocked
    sender = [sys.executable, "-c", f"import time\nwhile True:\n exec({SEND!r})\n time.sleep(0.1)"]
    settings = {**shell.gateway.env, "TOLLWATCH_CONFIG": str(shell.gateway.config_file)}
    line = [sys.executable, "-m", "tollwatch", "exec", "--user", "dev", "--", *sender]
    with subprocess.Popen(line, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL) as sending:
        code, out, _ = shell("tail", "--count", "2")
        sending.terminate()

    assert code == 0
    assert [line.count("gpt-4o") for line in out.splitlines()] == [1, 1]


def test_the_ca_goes_into_the_systems_store_and_out_again(idle: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, program = tmp_path / "store", tmp_path / "bin" / "update-store"
    store.mkdir()
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ -e "{tmp_path / "broken"}" ] && echo broken >&2 && exit 1\nexit 0\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(ca, "_LINUX_STORES", ((store, ("update-store",)),))

    installed = idle("ca", "install")
    held = (store / "tollwatch.crt").read_text()
    removed, again = idle("ca", "uninstall"), idle("ca", "uninstall")
    (tmp_path / "broken").write_text("")
    failed = idle("ca", "install")

    assert installed[0] == removed[0] == again[0] == 0
    assert "BEGIN CERTIFICATE" in held
    assert "PRIVATE" not in held
    assert "Nothing to do" in again[2]
    assert (failed[0], "update-store failed: broken" in failed[2]) == (1, True)


def test_a_machine_without_a_known_store_is_said_so(idle: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca, "_LINUX_STORES", ())

    code, _, err = idle("ca", "install")

    assert (code, "No system store" in err) == (1, True)


def test_the_first_error_of_a_reader_that_went_away_is_none(running: Gateway) -> None:
    settings = {**running.env, "TOLLWATCH_CONFIG": str(running.config_file)}
    line = f"{sys.executable} -m tollwatch config schema | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=ROOT, env=settings, capture_output=True, text=True, check=False)

    assert done.stderr == ""
