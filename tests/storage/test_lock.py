"""One gateway a database."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import StoreError
from storage.lock import GatewayLock, LockHeld

HOLDER = """
import sys
from pathlib import Path
from storage.lock import GatewayLock
with GatewayLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_gateway_is_refused_naming_the_first(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match=f"process {holder.pid} holds") as caught, GatewayLock(path):
            pass
        holder.kill()

    assert caught.value.pid == holder.pid
    with GatewayLock(path) as lock:  # the kernel freed it with the killed process
        assert lock.path.read_text() == f"{os.getpid()}\n"
        assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600


def test_a_lock_can_be_taken_again_after_it_was_left(path: Path) -> None:
    for _ in range(2):
        with GatewayLock(path) as lock:
            pass
    assert lock.path.read_text() == ""
    lock.__exit__(None, None, None)


def test_a_holder_that_has_not_written_its_id_is_another_process(path: Path) -> None:
    with GatewayLock(path) as lock:
        lock.path.write_text("")
        with pytest.raises(LockHeld, match="another process holds") as caught, GatewayLock(path):
            pass
    assert caught.value.pid is None


def test_a_lock_that_cannot_be_made_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Cannot make the lock"), GatewayLock(tmp_path / "none" / "x.db"):
        pass
