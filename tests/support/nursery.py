"""Starts gateways from one process that has imported everything: an import takes seconds of processor time, a fork takes none.

`python -O -m tests.support.nursery` is what the tests talk to, one JSON object a line: it forks a process for each order, in which the
ordered module runs as `python -m` would run it, and says how each of them ended.
"""

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[2]


class Process(Protocol):
    """As much of `subprocess.Popen` as the tests use."""

    @property
    def pid(self) -> int:
        """The number that the system knows it by."""

    @property
    def returncode(self) -> int | None:
        """What it ended with; the negative number of the signal that ended it; None while it runs."""

    def poll(self) -> int | None:
        """Return the code if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the code once it has ended; raise `subprocess.TimeoutExpired` when that takes too long."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""


class Child:
    """A process of the nursery."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._code: int | None = None
        self.heard = threading.Condition()

    @property
    def pid(self) -> int:
        """The number that the system knows it by."""
        with self.heard:
            if not self.heard.wait_for(lambda: self._pid is not None, 60) or self._pid is None:
                raise TimeoutError("the nursery started no process in 60 s")
            return self._pid

    @property
    def returncode(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._code

    def poll(self) -> int | None:
        """Return the code if it has ended."""
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Return the code once it has ended."""
        with self.heard:
            if not self.heard.wait_for(lambda: self._code is not None, timeout) or self._code is None:
                raise subprocess.TimeoutExpired(f"process {self._pid} of the nursery", timeout or 0)
            return self._code

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def told(self, *, pid: int, code: int | None) -> None:
        """Take in what the nursery said."""
        with self.heard:
            self._pid, self._code = pid, code
            self.heard.notify_all()


class Nursery:
    """The side of the tests. There is one in each worker; it ends with the worker."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        line = [sys.executable, "-O", "-m", "tests.support.nursery"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(line, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()
        atexit.register(self._end)

    def start(self, module: str, arguments: Sequence[str], *, env: Mapping[str, str], output: Path) -> Child:
        """Run a module in a process of its own; what it writes is appended to a file."""
        child = Child()
        self._children.append(child)
        order = {"number": len(self._children) - 1, "module": module, "arguments": [*arguments], "env": dict(env), "output": str(output)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return child

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            self._children[said["number"]].told(pid=said["pid"], code=said["code"])


@cache
def nursery() -> Nursery:
    """Return the nursery of this process."""
    return Nursery()


def _take_orders() -> dict[str, Any] | None:
    """Fork for each order. Return the order in the process that is to follow it; None at the end of all."""
    running: dict[int, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and its input with them
    orders = b""
    while True:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _tell_ends(running)
        if 0 not in readable:
            continue
        if not (data := os.read(0, 1 << 16)):
            return None
        *lines, orders = (orders + data).split(b"\n")
        for line in lines:
            order: dict[str, Any] = json.loads(line)
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                os.close(woken)
                os.close(wake)
                return order
            running[pid] = order["number"]
            _tell(order["number"], pid, None)


def _tell_ends(running: dict[int, int]) -> None:
    for pid in [*running]:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _tell(running.pop(pid), pid, os.waitstatus_to_exitcode(status))


def _tell(number: int, pid: int, code: int | None) -> None:
    os.write(1, json.dumps({"number": number, "pid": pid, "code": code}).encode() + b"\n")


def _follow(order: Mapping[str, Any]) -> None:
    """Be the process that was ordered, from its input and output to its signals."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(order["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, place in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, place)
    os.close(nothing)
    os.close(output)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = [order["module"], *order["arguments"]]
    sys.orig_argv = [sys.executable, "-O", "-m", *sys.argv]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import tollwatch.commands.run  # noqa: F401  # what takes the time

    if followed := _take_orders():
        _follow(followed)
