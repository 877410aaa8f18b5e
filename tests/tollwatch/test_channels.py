"""`channels ls|test`, against a gateway that runs and without one; a running gateway tells by mail of a usage alert that fires."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import ask, chat
from tests.support.gateway import Gateway
from tests.support.mailserver import mail_server
from tests.support.provider import Provider
from tollwatch import channel_commands, cli

SECRET = "whsec_dG9sbHdhdGNoLWV4YW1wbGUtc2VjcmV0LWNoYW5nZS1pdCE="
HOOK = {"name": "siem", "url": "http://127.0.0.1:9/hook", "secret": SECRET}


def mail_settings(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "security": "none", "from": "tollwatch@example.com", "to": ["ada@example.com"]}


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs a command here, where no gateway runs."""

    async def run(notify: Any, *arguments: str) -> tuple[int, str, str]:
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"data_dir": str(tmp_path / "data"), "notify": notify}))
        monkeypatch.setenv("TOLLWATCH_CONFIG", str(config))
        code = await asyncio.to_thread(cli.main, arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


async def test_channels_are_tried_while_no_gateway_runs(typed: Any) -> None:
    notify = {"webhooks": [HOOK], "allowed_networks": ["127.0.0.0/8"]}
    async with mail_server() as server:
        notify["email"] = mail_settings(server.port)
        code, out, _ = await typed(notify, "channels", "ls", "--json")
        shown = [json.loads(line) for line in out.splitlines()]
        hook = shown[2]["name"]
        mailed = await typed(notify, "channels", "test", "email")
        seen = await typed(notify, "channels", "test", "dashboard", "--json")
        failed = await typed(notify, "channels", "test", hook[:16])
        unknown = await typed(notify, "channels", "test", "pager")
        table = await typed(notify, "channels", "ls")

    assert code == 0
    assert [(one["name"].partition(":")[0], one["state"]) for one in shown] == [("dashboard", "on"), ("email", "on"), ("webhook", "on")]
    assert (mailed[0], len(server.mails)) == (0, 1)
    assert "email works" in mailed[2]
    assert json.loads(seen[1]) == {"name": "dashboard", "success": True, "error": None}
    assert failed[0] == 1
    assert "Connection refused" in failed[2]
    assert unknown[0] == 1
    assert "no channel is 'pager'" in unknown[2]
    assert f"127.0.0.1:{server.port} to ada@example.com" in table[1]


async def test_mail_that_is_not_set_is_said_so(typed: Any) -> None:
    _, out, _ = await typed({}, "channels", "ls", "--json")
    code, _, told = await typed({}, "channels", "test", "email")

    assert [json.loads(line)["state"] for line in out.splitlines()] == ["on", "not set"]
    assert code == 1
    assert "notify.email is not set" in told


async def test_a_running_gateway_fires_once_and_tells_by_mail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = {"name": "Any cost", "type": "cost_threshold", "threshold": 0, "period": "hour", "notification_channels": ["email"]}
    async with mail_server() as server:
        config = {"usage_alerts": [usage], "notify": {"email": mail_settings(server.port)}}
        with Provider(tmp_path) as provider:
            gateway = Gateway(tmp_path / "g", provider, config=config)
            await asyncio.to_thread(gateway.start)
            try:
                await ask(gateway, chat())
                await server.is_asked()
                await ask(gateway, chat())
                monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))
                codes = [await asyncio.to_thread(cli.main, ["channels", *words]) for words in (["ls", "--json"], ["test", "email"])]
                said = capsys.readouterr()
            finally:
                await asyncio.to_thread(gateway.stop)

    assert [mail["Subject"] for mail in server.mails] == ["[tollwatch] high: Usage alert: Any cost", "[tollwatch] Test: channel email"]
    assert codes == [0, 0]
    assert json.loads(said.out.splitlines()[1])["name"] == "email"
    assert "email works" in said.err
    assert len(gateway.rows("SELECT * FROM usage_triggers WHERE alert_seq IS NOT NULL")) == 1


async def test_a_server_that_says_nothing_is_given_up_before_whoever_asks_gives_up(typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_commands, "_PATIENCE", 0.2)
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    notify = {"email": mail_settings(silent.sockets[0].getsockname()[1])}

    code, _, told = await typed(notify, "channels", "test", "email")
    as_json = await typed(notify, "channels", "test", "email", "--json")

    for writer in held:
        writer.close()
    silent.close()
    assert (code, "no answer within 0.2 seconds" in told) == (1, True)
    assert (as_json[0], json.loads(as_json[1])["success"]) == (1, False)
