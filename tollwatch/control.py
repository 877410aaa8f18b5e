"""Commands that write, sent to the running gateway over a 0600 Unix socket, or carried out here under its lock."""

import asyncio
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from alerting.alert import Change
from alerting.book import LONGEST_NOTE, AlertBook
from api.scopes import parse_scopes
from api.tokens import Tokens
from storage.database import StoreError

SOCKET: Final = "control.sock"
_LONGEST_PATH: Final = 100
"""Of a socket: 108 bytes on Linux, 104 on macOS, the ending zero included."""
_LONGEST_LINE: Final = 64 * 1024
_SECONDS: Final = 10.0


type Command = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Carries out what it is given. A ValueError becomes the command's error."""


class ControlError(Exception):
    """The command was understood and refused, or cannot be carried out; the message says why."""


class Reload(Protocol):
    """Reads the config again and swaps what can be swapped; answers with sentences. Raises ValueError when it changes nothing."""

    async def __call__(self, *, actor: str) -> list[str]:
        """Read, check, swap."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What can be asked; the same object answers in the gateway and, when none runs, in the command's own process."""

    tokens: Tokens
    alerts: AlertBook
    reload: Reload | None = None
    more: Mapping[str, Command] = field(default_factory=dict[str, Command])
    """The commands of other parts."""

    async def answer(self, name: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        """Carry out one command. Raises ControlError."""
        known: dict[str, Command] = {
            "token.create": self._create_token,
            "token.revoke": self._revoke_token,
            "alerts.acknowledge": self._acknowledge,
            "alerts.act": self._act,
            "alerts.resolve": self._resolve,
            "alerts.dismiss": self._dismiss,
            "reload": self._reload,
            **self.more,
        }
        if name not in known:
            raise ControlError(f"The running gateway does not know the command {name!r}; is it of another version?")
        try:
            return await known[name](given)
        except (ValueError, KeyError, TypeError, StoreError) as error:
            raise ControlError(str(error)) from error

    async def _create_token(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        end = given.get("expires_at")
        made = await self.tokens.create(
            name=given["name"],
            scopes=parse_scopes(given["scopes"]),
            expires_at=datetime.fromisoformat(end) if end else None,
            actor=given["actor"],
        )
        return {**made.token.as_json(), "token": made.secret}

    async def _revoke_token(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        if not await self.tokens.revoke(given["name"], actor=given["actor"]):
            raise ControlError(f"There is no live token named {given['name']!r}; `tollwatch token ls` shows them")
        return {"revoked": given["name"]}

    async def _acknowledge(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        seq = await self._seq(given)
        if await self.alerts.acknowledge(seq, actor=given["actor"], feed="cli") is Change.RESOLVED:
            raise ControlError(f"alert_{seq} is resolved, which is final; a recurrence opens a new alert")
        return {"acknowledged": f"alert_{seq}"}

    async def _act(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        seq = await self._seq(given)
        await self.alerts.act(seq, given["text"], actor=given["actor"], feed="cli")
        return {"acted on": f"alert_{seq}"}

    async def _resolve(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        seq, note = await self._seq(given), given.get("note")
        if note is not None and len(note) > LONGEST_NOTE:
            raise ControlError(f"A note has at most {LONGEST_NOTE:,} characters, not {len(note):,}")
        await self.alerts.resolve(seq, actor=given["actor"], feed="cli", note=note)
        return {"resolved": f"alert_{seq}"}

    async def _dismiss(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        seq = await self._seq(given)
        await self.alerts.dismiss(seq, actor=given["actor"], feed="cli")
        return {"dismissed": f"alert_{seq}"}

    async def _reload(self, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        if self.reload is None:
            raise ControlError("No gateway runs, so there is nothing to reload; the next `tollwatch run` reads the config")
        return await self.reload(actor=given["actor"])

    async def _seq(self, given: Mapping[str, Any]) -> int:
        alert = await self.alerts.get(alert_key(given["id"]))
        if alert is None:
            raise ControlError(f"There is no alert {given['id']!r}; `tollwatch alerts ls --all` shows them")
        return alert.seq


def alert_key(text: str) -> int | str:
    """Return the number in `alert_12` or `12`, or the id as it is."""
    number = text.removeprefix("alert_")
    return int(number) if number.isdecimal() else text


def socket_path(data_dir: Path) -> Path:
    """Return where the socket is: in the data directory, or in a 0700 folder of this user when that path is too long for one."""
    path = data_dir / SOCKET
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tollwatch-{os.getuid()}" / f"{name}.sock"


class ControlServer:
    """Listens on the socket; one request and one answer a connection, each a line of JSON."""

    def __init__(self, path: Path, commands: Commands) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. The caller holds the gateway's lock, so that a socket that is there is a dead one."""
        _owned_folder(self._path.parent)
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_LONGEST_LINE)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Close the socket and take it away."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # the command was interrupted
            try:
                async with asyncio.timeout(_SECONDS):
                    asked = json.loads(await reader.readline())
                    answer = {"result": await self._commands.answer(asked["command"], asked["given"])}
            except ControlError as error:
                answer = {"error": str(error)}
            except (ValueError, KeyError, TypeError, TimeoutError) as error:
                answer = {"error": f"Cannot read the command: {error!r}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()


def ask(path: Path, name: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
    """Send one command to the running gateway. Raises ConnectionError when none listens, ControlError when it refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS)
        try:
            connection.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ConnectionRefusedError(f"no gateway listens on {path}") from error
        connection.sendall(json.dumps({"command": name, "given": dict(given)}).encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise ControlError("The gateway ended the connection without an answer; its log says why")
    answer = json.loads(line)
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer["result"]


def _owned_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ControlError(f"The folder {folder} of the control socket is open to other users: remove it, or set a shorter data_dir")
