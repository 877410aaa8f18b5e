"""The socket that commands which write go through."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerting.book import AlertBook
from alerting.detectors.gateway_degraded import degraded
from alerting.finding import Occurrence, Taken
from alerting.settings import AlertingSettings
from api.tokens import Tokens
from storage.sqlite import SqliteDatabase
from tollwatch.control import Commands, ControlError, ControlServer, ask, socket_path


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    database = await SqliteDatabase.open(tmp_path / "tollwatch.db")
    book = AlertBook(database, org_id="org", settings=AlertingSettings(), now=now)
    server = ControlServer(tmp_path / "control.sock", Commands(tokens=Tokens(database, now=now), alerts=book))
    await server.start()
    yield tmp_path / "control.sock"
    await server.stop()
    await database.close()


async def asked(path: Path, command: str, **given: Any) -> Any:
    return await asyncio.to_thread(ask, path, command, {"actor": "test", **given})


def raw(path: Path, data: bytes) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return json.loads(connection.makefile().readline())


async def test_the_socket_is_private(path: Path) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600  # noqa: PTH116  # no disk is waited for


async def test_a_command_is_carried_out_and_answered(path: Path) -> None:
    made = await asked(path, "token.create", name="a", scopes="admin")

    assert made["name"] == "a"
    assert made["token"].startswith("tw_")


@pytest.mark.parametrize(
    ("command", "given", "words"),
    [
        ("token.create", {"name": "a", "scopes": "root"}, "'root' is not a scope"),
        ("token.revoke", {"name": "a"}, "no live token"),
        ("token.revoke", {}, "name"),
        ("alerts.dismiss", {"id": "alert_1"}, "There is no alert 'alert_1'"),
        ("reload", {}, "nothing to reload"),
        ("shutdown", {}, "does not know the command 'shutdown'"),
    ],
)
async def test_a_command_that_cannot_be_carried_out_says_why(path: Path, command: str, given: dict[str, str], words: str) -> None:
    with pytest.raises(ControlError, match=words):
        await asked(path, command, **given)


async def test_an_alert_changes_by_its_number_or_its_id(tmp_path: Path) -> None:
    database = await SqliteDatabase.open(tmp_path / "tollwatch.db")
    book = AlertBook(database, org_id="org", settings=AlertingSettings(), now=now)
    commands = Commands(tokens=Tokens(database, now=now), alerts=book)
    (recorded,) = await book.record([Occurrence(finding=degraded("store", "full"), taken=Taken.ALERTED, at=now())])

    said = [
        await commands.answer(command, {"id": alert, "actor": "test"})
        for command, alert in (("alerts.acknowledge", "alert_1"), ("alerts.resolve", "1"), ("alerts.dismiss", recorded.id))
    ]

    assert said == [{"acknowledged": "alert_1"}, {"resolved": "alert_1"}, {"dismissed": "alert_1"}]
    with pytest.raises(ControlError, match="resolved, which is final"):
        await commands.answer("alerts.acknowledge", {"id": "1", "actor": "test"})
    assert await commands.answer(
        "token.create", {"name": "b", "scopes": "admin", "actor": "test", "expires_at": "2999-01-01T00:00:00+00:00"}
    )
    assert await commands.answer("token.revoke", {"name": "b", "actor": "test"}) == {"revoked": "b"}
    await database.close()


@pytest.mark.parametrize("data", [b"", b"nonsense\n", b"[]\n", b"{}\n", b"x" * 100_000])
async def test_what_is_no_command_is_answered_with_an_error(path: Path, data: bytes) -> None:
    answer = await asyncio.to_thread(raw, path, data)

    assert "Cannot read the command" in answer["error"]


async def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "other.sock"))
    commands = Commands(tokens=None, alerts=None)  # type: ignore[arg-type]  # never asked
    server = ControlServer(tmp_path / "other.sock", commands)

    await server.start()
    with pytest.raises(ControlError, match="does not know"):
        await asked(tmp_path / "other.sock", "nothing")
    await server.stop()

    with pytest.raises(ConnectionRefusedError):
        ask(tmp_path / "other.sock", "nothing", {})


async def test_a_gateway_that_goes_away_is_said_so(tmp_path: Path) -> None:
    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_unix_server(hang_up, tmp_path / "a.sock"):
        with pytest.raises((ControlError, OSError)):
            await asked(tmp_path / "a.sock", "reload")


def test_a_long_data_dir_has_its_socket_elsewhere(tmp_path: Path) -> None:
    short, long = socket_path(tmp_path), socket_path(tmp_path / ("d" * 100))

    assert short == tmp_path / "control.sock"
    assert len(os.fsencode(long)) < 100
    assert long != socket_path(tmp_path / ("e" * 100))


async def test_a_socket_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(ControlError, match="open to other users"):
        await ControlServer(folder / "a.sock", Commands(tokens=None, alerts=None)).start()  # type: ignore[arg-type]  # never asked
