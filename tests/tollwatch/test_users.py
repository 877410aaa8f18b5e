"""`users ls|lock|unlock`, against a gateway that runs and without one."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.asking import ask, chat
from tests.support.client import Response
from tests.support.gateway import Gateway
from tests.support.provider import Provider
from tollwatch import cli

ADA = {"x-tollwatch-user": "ada"}
USERS = [{"name": "ada", "department": "engineering"}, {"name": "bob", "last_day": "2020-01-31"}]


type Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Return what runs a command here, where no gateway runs: without the start of a process."""

    def run(gateway: Gateway, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))
        code = cli.main(arguments)
        assert not (check and code)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


def call(gateway: Gateway, user: str, *, door: str = "forward") -> Response:
    return asyncio.run(ask(gateway, chat(), door=door, headers={"x-tollwatch-user": user}))


def listed(gateway: Gateway, typed: Typed = Gateway.command) -> dict[str, Any]:
    lines = typed(gateway, "users", "ls", "--json").stdout.splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


def test_a_lock_holds_at_once_and_after_a_crash_and_ends_at_once(tmp_path: Path) -> None:
    with Provider(tmp_path) as provider, Gateway(tmp_path / "g", provider, config={"users": USERS}) as gateway:
        assert call(gateway, "ada").status == 200
        left = call(gateway, "bob")
        assert (left.status, json.loads(left.body)["error"]["code"]) == (403, "tollwatch_last_day")

        locked = gateway.command("users", "lock", "ada", "--reason", "laptop stolen")
        stranger = gateway.command("users", "lock", "eve")
        refused = call(gateway, "ada", door="base_url")
        gateway.kill()
        gateway.start()
        again = call(gateway, "ada")

        assert "ada is locked out" in locked.stderr
        assert "none of the config's users" not in locked.stderr
        assert "none of the config's users" in stranger.stderr
        for answer in (refused, again):
            error = json.loads(answer.body)["error"]
            assert (answer.status, answer.headers["x-should-retry"]) == (403, "false")
            assert (error["code"], error["type"]) == ("tollwatch_locked_out", "permission_error")
            assert "laptop stolen" in error["message"]
        rows = listed(gateway)
        assert [rows[name]["state"] for name in ("ada", "bob", "eve")] == ["locked", "left", "locked"]
        assert rows["ada"]["department"] == "engineering"
        assert "locked  ada" in gateway.command("users", "ls").stdout

        gateway.command("users", "unlock", "ada")
        assert call(gateway, "ada").status == 200
        alerts = gateway.rows("SELECT kind, subject, resolution FROM alerts WHERE kind = 'user_locked_out' ORDER BY seq")
        assert [(json.loads(row["subject"])["user"], row["resolution"]) for row in alerts] == [("ada", "condition_cleared"), ("eve", None)]

        changed = {**gateway.config, "users": [{"name": "ada", "last_day": "2020-01-31"}]}
        gateway.config_file.write_text(yaml.safe_dump(changed))
        assert "users is taken over" in gateway.command("reload").stdout
        assert call(gateway, "ada").status == 403
        assert call(gateway, "bob").status == 200
        assert len(provider.seen) == 3


def test_without_a_gateway_the_command_writes_itself(tmp_path: Path, typed: Typed) -> None:
    gateway = Gateway(tmp_path, config={"mode": "monitor"})

    assert typed(gateway, "users", "ls").stdout.startswith("STATE")
    said = typed(gateway, "users", "lock", "0123456789abcdef", "--key").stderr

    assert "The mode is monitor" in said
    assert listed(gateway, typed)["0123456789abcdef"]["field"] == "key_id"
    assert "0123456789abcdef (key)" in typed(gateway, "users", "ls").stdout
    typed(gateway, "users", "unlock", "0123456789abcdef", "--key")
    assert listed(gateway, typed) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("unlock", "ada"), "user ada is not locked out"),
        (("lock", "0123", "--key"), "no fingerprint of a key"),
        (("lock", " "), "no user's name"),
        (("lock", "ada", "--reason", "two\nlines"), "--reason is one line"),
    ],
)
def test_what_cannot_be_done_says_why(tmp_path: Path, typed: Typed, arguments: tuple[str, ...], words: str) -> None:
    done = typed(Gateway(tmp_path), "users", *arguments, check=False)

    assert done.returncode == 1
    assert words in done.stderr
