"""A process under measurement: started, warmed up, its CPU read from the kernel."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.gateway import ROOT, poll


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of all threads of a process: by nanoseconds where the kernel tells, else by ticks."""
    try:
        threads = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Measured:
    """A Python process that listens on `port`."""

    def __init__(self, arguments: Sequence[str], port: int, *, log: IO[bytes]) -> None:
        self._arguments = arguments
        self._log = log
        self.port = port

    def __enter__(self) -> Self:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        line = [sys.executable, *self._arguments]
        self._process = subprocess.Popen(line, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self.pid = self._process.pid
        poll(self._listens, seconds=30, what=f"port {self.port} of {' '.join(self._arguments)}")
        return self

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
