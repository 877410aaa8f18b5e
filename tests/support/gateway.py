"""A real gateway in a process of its own, on free ports, with a data folder of its own."""

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.support.nursery import Process, nursery
from tests.support.provider import Provider

ROOT = Path(__file__).parents[2]
MODULE = ("-m", "tollwatch")
_PORTS = random.SystemRandom()  # the seed of `random` is the same in every worker


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, below those that the system gives to outgoing connections: nobody takes one by chance."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = _PORTS.randrange(10_240, 32_000)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the sections of `more` laid over it."""
    result = dict(base)
    for key, value in more.items():
        result[key] = merged(result[key], value) if isinstance(value, Mapping) and isinstance(result.get(key), Mapping) else value
    return result


def listens(address: str) -> bool:
    """Tell whether somebody takes connections at an address."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def poll(condition: Any, *, seconds: float = 60, what: str = "the condition") -> Any:
    """Return the first true answer of `condition`; raise TimeoutError when none comes in time."""
    deadline, pause = time.monotonic() + seconds, 0.005
    while not (answer := condition()):
        if time.monotonic() > deadline:
            msg = f"{what} did not come true in {seconds} s"
            raise TimeoutError(msg)
        threading.Event().wait(pause)
        pause = min(pause * 1.5, 0.05)  # what takes long is usually a start, which asking slows down
    return answer


class Gateway:
    """A context manager; `start`, `kill` and `stop` may be called again and again over the same data folder.

    A fresh one is started as its users start it; others are forked from a process that has imported all of it.
    """

    def __init__(
        self,
        folder: Path,
        provider: Provider | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        runner: Sequence[str] = MODULE,
        env: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> None:
        forward, base, api = free_ports(3)
        self.forward, self.base, self.api = f"127.0.0.1:{forward}", f"127.0.0.1:{base}", f"127.0.0.1:{api}"
        self.data_dir = folder / "data"
        self.config_file = folder / "config.yaml"
        self.log_file = folder / "gateway.log"
        self._runner = runner
        self._fresh = fresh or sys.platform != "linux"
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **(env or {})}
        settings: dict[str, Any] = {
            "version": 1,
            "data_dir": str(self.data_dir),
            "proxy": {"listen": self.forward, "base_url_listen": self.base},
            "api": {"listen": self.api},
        }
        if provider is not None:
            settings["proxy"] |= {"resolve": {"*": provider.address}, "upstream_ca": str(provider.ca_file)}
        self.config = merged(settings, config or {})
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(yaml.safe_dump(self.config))
        self.process: Process | None = None
        self._token: str | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def database(self) -> Path:
        """The store's file."""
        return self.data_dir / "tollwatch.db"

    @property
    def ca_file(self) -> Path:
        """The certificate of the gateway's own authority."""
        return self.data_dir / "ca" / "ca.pem"

    def start(self, *, ready: bool = True, seconds: float = 60) -> Self:
        """Start the process; wait until it says that it is ready."""
        arguments = ["run", "--config", str(self.config_file)]
        if self._fresh:
            line = [sys.executable, *self._runner, *arguments]
            with self.log_file.open("ab") as log:
                self.process = subprocess.Popen(line, cwd=ROOT, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        else:
            self.process = nursery().start(self._runner[-1], arguments, env=self.env, output=self.log_file)
        if ready:
            poll(self._ready, seconds=seconds, what="/readyz")
        return self

    def _ready(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            msg = f"the gateway ended with {self.process and self.process.returncode}:\n{self.log()[-4000:]}"
            raise RuntimeError(msg)
        try:
            return listens(self.api) and self.get("/readyz", token=None)[0] == 200
        except OSError:
            return False

    def ended(self, *, seconds: float) -> int:
        """Wait until it has ended by itself; return the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self, *, seconds: float = 60) -> int:
        """SIGTERM; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def log(self) -> str:
        """Return what it wrote on stdout and stderr."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def command(
        self, *arguments: str, check: bool = True, env: Mapping[str, str] | None = None, seconds: float = 110
    ) -> subprocess.CompletedProcess[str]:
        """Run a `tollwatch` command over the same config."""
        line = [sys.executable, *MODULE, *arguments]
        settings = {**self.env, "TOLLWATCH_CONFIG": str(self.config_file), **(env or {})}
        done = subprocess.run(line, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=seconds, check=False)
        if check and done.returncode:
            msg = f"tollwatch {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            raise AssertionError(msg)
        return done

    def token(self) -> str:
        """Return an API token that may read and write alerts."""
        if self._token is None:
            scopes = ("--scope", "alerts:read", "--scope", "alerts:write", "--scope", "admin")
            self._token = self.command("token", "create", "--name", "tests", *scopes).stdout.strip().split()[-1]
        return self._token

    def get(self, path: str, *, token: str | None) -> tuple[int, Any]:
        """GET from the API; return the status and the JSON (None when it is none)."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://{self.api}{path}", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, _json(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())

    def alerts(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the alerts that the API lists."""
        status, answer = self.get("/api/alerts" + (f"?type={kind}" if kind else ""), token=self.token())
        assert status == 200, answer
        return list(answer["alerts"])

    def trust(self) -> ssl.SSLContext:
        """Return a client's TLS settings that trust the gateway's authority alone."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    @contextlib.contextmanager
    def store(self) -> Iterator[sqlite3.Connection]:
        """Open the database beside the gateway, for reading."""
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()

    def rows(self, text: str = "SELECT * FROM calls ORDER BY started_at, id", params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return what a SELECT finds in the store."""
        with self.store() as connection:
            return [dict(row) for row in connection.execute(text, params)]

    def calls(self) -> list[dict[str, Any]]:
        """Return the ledger rows of clients' calls (the start-up canary left out)."""
        return [row for row in self.rows() if not row["host"].endswith(".tollwatch.invalid")]

    def wait_settled(self, count: int, *, seconds: float = 60) -> list[dict[str, Any]]:
        """Return the ledger once `count` calls stand in it and none is open."""

        def settled() -> list[dict[str, Any]] | None:
            rows = self.calls()
            return rows if len(rows) >= count and all(row["state"] != "intent" for row in rows) else None

        found: list[dict[str, Any]] = poll(settled, seconds=seconds, what=f"a ledger of {count} settled calls")
        return found


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
