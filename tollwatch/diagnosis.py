"""What `doctor` looks at: each check says what it found and, when that is bad, what to do."""

import asyncio
import http.client
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metering.ledger import Ledger
from metering.ledger_rows import LedgerRow
from metering.providers.catalog import PROBE_HOST
from storage.database import StoreError
from tollwatch import environment, probe
from tollwatch.config import Config, listen_address
from tollwatch.rawconfig import RawConfig
from tollwatch.store import beside, now

_SECONDS: Final = 5.0
_ROW_SECONDS: Final = 3.0
_SOON_DAYS: Final = 30

_PYTHON = f"""
import json, urllib.request
request = urllib.request.Request("https://{PROBE_HOST}{probe.PATH}", {probe.BODY!r}, {{"content-type": "application/json"}})
print(urllib.request.urlopen(request, timeout=10).headers["x-tollwatch-call"])
"""
_NODE = f"""
const call = {{method: "POST", headers: {{"content-type": "application/json"}}, body: {probe.BODY.decode()!r}}}
fetch("https://{PROBE_HOST}{probe.PATH}", call)
  .then(answer => console.log(answer.headers.get("x-tollwatch-call")))
  .catch(error => {{ console.error(String(error.cause ?? error)); process.exit(1) }})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str
    ok: bool
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined."""

    config: Config
    raw: RawConfig

    @property
    def forward(self) -> tuple[str, int]:
        """Where clients reach the forward door."""
        return listen_address(environment.reachable(self.config.proxy.listen))

    @property
    def base_url(self) -> tuple[str, int]:
        """Where clients reach the base-URL door."""
        return listen_address(environment.reachable(self.config.proxy.base_url_listen))

    @property
    def api(self) -> tuple[str, int]:
        """Where clients reach the API."""
        return listen_address(environment.reachable(self.config.api.listen))

    @property
    def certificate(self) -> Path:
        """The CA's certificate."""
        return self.config.data_dir / environment.CA_FOLDER / environment.CA_CERTIFICATE


def examine(subject: Subject, *, programs: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Yield the finding of each check; those that need a running gateway are left out when none runs."""
    yield Finding(check="config", ok=True, detail=str(subject.raw.path or "no file: all defaults"))
    yield _data_dir(subject)
    yield _authority(subject)
    up = True
    for name, key, address in (
        ("forward door", "proxy.listen", subject.forward),
        ("base-URL door", "proxy.base_url_listen", subject.base_url),
        ("API", "api.listen", subject.api),
    ):
        found = _listens(name, key, address)
        up = up and found.ok
        yield found
    if not up:
        return
    yield _ready(subject)
    yield _call(subject, "call by the forward door", lambda: probe.by_forward_door(subject.forward, subject.certificate))
    yield _call(subject, "call by the base-URL door", lambda: probe.by_base_url_door(subject.base_url))
    for program in programs:
        yield _program(subject, program)


def _data_dir(subject: Subject) -> Finding:
    folder = subject.config.data_dir
    try:
        found = folder.stat()
    except OSError as error:
        return Finding(check="data directory", ok=False, detail=f"{folder}: {error.strerror}", remedy="run `tollwatch init`")
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.getuid() or mode & 0o077:
        detail = f"{folder} has mode {mode:04o} and belongs to user {found.st_uid}"
        return Finding(check="data directory", ok=False, detail=detail, remedy=f"chown it to this user, and `chmod 700 {folder}`")
    return Finding(check="data directory", ok=True, detail=f"{folder} (0700)")


def _authority(subject: Subject) -> Finding:
    from cryptography import x509  # noqa: PLC0415  # 100 ms, here only

    from proxy.ca import CaModesError, check_modes  # noqa: PLC0415  # the same

    try:
        check_modes(subject.certificate.parent)
        certificate = x509.load_pem_x509_certificate(subject.certificate.read_bytes())
    except CaModesError as error:
        return Finding(
            check="CA", ok=False, detail=str(error), remedy="correct the modes; if others may have read the key: tollwatch ca rotate"
        )
    except (OSError, ValueError) as error:
        return Finding(check="CA", ok=False, detail=f"{subject.certificate}: {error}", remedy="run `tollwatch init`")
    days = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    detail = f"{subject.certificate}, good for {days} days"
    return Finding(
        check="CA", ok=days > _SOON_DAYS, detail=detail, remedy=None if days > _SOON_DAYS else "start the gateway again: it renews the CA"
    )


def _listens(name: str, key: str, address: tuple[str, int]) -> Finding:
    shown = f"{address[0]}:{address[1]}"
    try:
        with closing(socket.create_connection(address, timeout=_SECONDS)):
            return Finding(check=name, ok=True, detail=f"{shown} answers")
    except OSError as error:
        return Finding(
            check=name, ok=False, detail=f"{shown} ({key}): {error.strerror or error}", remedy="start the gateway: tollwatch run"
        )


def _ready(subject: Subject) -> Finding:
    connection = http.client.HTTPConnection(*subject.api, timeout=_SECONDS)
    try:
        connection.request("GET", "/readyz")
        reply = connection.getresponse()
        text = reply.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return Finding(check="ready", ok=False, detail=f"/readyz: {error}", remedy="see whether another program has the port of api.listen")
    finally:
        connection.close()
    if reply.status == 200:
        return Finding(check="ready", ok=True, detail="/readyz answers 200")
    return Finding(check="ready", ok=False, detail=f"/readyz answers {reply.status}: {text}", remedy="see the gateway's log")


def _call(subject: Subject, name: str, send: Callable[[], probe.Answer]) -> Finding:
    try:
        answer = send()
    except OSError as error:
        remedy = "if a TLS error stands here, another program or another CA answers on that port"
        return Finding(check=name, ok=False, detail=f"no answer: {error}", remedy=remedy)
    if answer.call_id is None:
        return Finding(check=name, ok=False, detail=f"answered {answer.status} by something else", remedy="see which program has the port")
    return _recorded(subject, name, answer.call_id)


def _recorded(subject: Subject, name: str, call_id: str) -> Finding:
    row = _row(subject.config.database_path, call_id)
    if row is None:
        detail = f"the call {call_id} is not in {subject.config.database_path}"
        return Finding(check=name, ok=False, detail=detail, remedy="does the gateway use another data_dir than this config?")
    return Finding(check=name, ok=True, detail=f"handshake, answer and ledger row {call_id} ({row.verdict})")


def _row(database: Path, call_id: str) -> LedgerRow | None:
    """Return the row of a call; a settlement may be 50 ms away."""
    deadline = time.monotonic() + _ROW_SECONDS
    while time.monotonic() < deadline:
        try:
            with beside(database) as store:
                row = asyncio.run(Ledger(store, instance="", now=now, on_settled=lambda _batch: None).row(call_id))
        except StoreError:
            return None
        if row is not None:
            return row
        time.sleep(0.05)
    return None


def _program(subject: Subject, name: str) -> Finding:
    check = f"{name} through exec"
    program = sys.executable if name == "python" else shutil.which(name)
    if program is None:
        return Finding(check=check, ok=False, detail=f"no {name} on PATH", remedy=f"install {name}, or leave --probe {name} out")
    environ = {**os.environ, **environment.variables(subject.raw, os.environ, environment.Options(user="tollwatch-doctor"))}
    line = [program, "-c" if name == "python" else "-e", _PYTHON if name == "python" else _NODE]
    try:
        done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603  # our own program
    except subprocess.TimeoutExpired:
        return Finding(check=check, ok=False, detail="no answer in 30 s", remedy="see whether a firewall stands before the loopback ports")
    if done.returncode or not (call_id := done.stdout.strip()):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        remedy = "its calls do not reach the gateway: see the bypasses below"
        return Finding(check=check, ok=False, detail=f"{program}: {last}", remedy=remedy)
    return _recorded(subject, check, call_id)
