"""Debian's amtool against the running gateway: it lists alerts, and makes, lists and ends silences."""

import asyncio
import getpass
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.asking import ask, chat
from tests.support.gateway import Gateway, poll
from tests.support.provider import Provider
from tollwatch import cli

AMTOOL = shutil.which("amtool", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
RULES = [{"id": "R1", "title": "no gpt-4o", "match": {"model": "gpt-4o*"}, "action": "block", "severity": "high"}]

pytestmark = pytest.mark.skipif(AMTOOL is None, reason="amtool is not installed; Debian's package prometheus-alertmanager has it")

type Amtool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("amtool")
    defined = {"matchers": "kind=meter_gap", "comment": "known"}
    config = {"rules": RULES, "alerting": {"silences": [defined]}}
    with Provider(folder) as provider, Gateway(folder / "g", provider, config=config) as running:
        for user in ("ann", "bob"):
            refused = asyncio.run(ask(running, chat(model="gpt-4o"), door="base_url", headers={"x-tollwatch-user": user}))
            assert refused.status == 403
        poll(lambda: len(running.rows("SELECT seq FROM alerts")) == 2, what="two alerts")
        yield running


@pytest.fixture(scope="module")
def amtool(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Amtool:
    folder = tmp_path_factory.mktemp("http")
    (folder / "http.yaml").write_text(f"authorization: {{credentials: {gateway.token()}}}\n")
    base = [str(AMTOOL), f"--alertmanager.url=http://{gateway.api}/alertmanager", f"--http.config.file={folder / 'http.yaml'}"]
    env = {**os.environ, "HOME": str(folder), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([*base, *arguments], capture_output=True, text=True, timeout=60, env=env, check=False)
        assert not (check and done.returncode), done.stderr
        return done

    return run


def users(done: subprocess.CompletedProcess[str]) -> list[str]:
    return sorted(one["labels"]["user"] for one in json.loads(done.stdout))


def test_it_lists_alerts_and_those_that_matchers_match(amtool: Amtool) -> None:
    table = amtool("alert", "query").stdout

    assert "policy_violation" in table
    assert "active" in table
    assert users(amtool("alert", "query", "-o", "json")) == ["ann", "bob"]
    assert users(amtool("alert", "query", "-o", "json", "user=~a.+", "alertname=policy_violation")) == ["ann"]
    assert users(amtool("alert", "query", "-o", "json", "kind!=policy_violation")) == []


def test_it_makes_lists_changes_and_ends_silences(amtool: Amtool) -> None:
    asked = ("user=ann", "severity=~high|critical", "--comment=travels", "--author=ann", "--duration=2h")
    made = amtool("silence", "add", *asked).stdout.strip()
    shown = json.loads(amtool("silence", "query", "-o", "json", "user=ann").stdout)

    assert [one["id"] for one in shown] == [made]
    assert (shown[0]["comment"], shown[0]["createdBy"]) == ("travels", "ann")
    assert "travels" in amtool("silence", "query").stdout
    assert users(amtool("alert", "query", "-o", "json")) == ["bob"]  # amtool leaves silenced ones out
    assert users(amtool("alert", "query", "-o", "json", "--silenced")) == ["ann"]

    amtool("silence", "update", "--comment=longer", "--duration=5h", made)
    [changed] = json.loads(amtool("silence", "query", "-o", "json", "user=ann").stdout)
    assert (changed["id"], changed["comment"]) == (made, "longer")

    amtool("silence", "expire", made)
    assert users(amtool("alert", "query", "-o", "json")) == ["ann", "bob"]
    assert made in amtool("silence", "query", "--expired", "-q").stdout


def test_what_the_command_line_makes_it_lists(
    amtool: Amtool, gateway: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))
    assert cli.main(["silences", "add", "user=bob", "--comment", "from here"]) == 0
    made = capsys.readouterr().out.strip()

    shown = {one["id"]: one for one in json.loads(amtool("silence", "query", "-o", "json").stdout)}

    assert shown[made]["createdBy"] == getpass.getuser()
    assert cli.main(["silences", "expire", made]) == 0
    assert amtool("silence", "query", "-q", "user=bob").stdout == ""
    told = gateway.rows("SELECT action FROM audit WHERE subject = ? ORDER BY seq", (made,))
    assert [row["action"] for row in told] == ["silence.created", "silence.expired"]


def test_it_shows_the_refusal_of_what_makes_no_silence(amtool: Amtool) -> None:
    mistyped = amtool("silence", "add", "usr=ann", "--comment=x", check=False)
    [defined] = json.loads(amtool("silence", "query", "-o", "json", "kind=meter_gap").stdout)
    fixed = amtool("silence", "expire", defined["id"], check=False)

    assert (mistyped.returncode, "did you mean 'user'" in mistyped.stderr) == (1, True), mistyped.stderr
    assert (fixed.returncode, "409" in fixed.stderr) == (1, True), fixed.stderr


def test_it_shows_the_config_and_asks_in_vain_without_a_token(amtool: Amtool, gateway: Gateway) -> None:
    assert "receiver: default" in amtool("config", "show").stdout
    assert "default" in amtool("config", "routes").stdout

    bare = subprocess.run(
        [str(AMTOOL), f"--alertmanager.url=http://{gateway.api}/alertmanager", "alert", "query"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (bare.returncode, "401" in bare.stderr) == (1, True), bare.stderr
