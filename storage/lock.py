"""One gateway a database: a lock that names its holder."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.database import StoreError


class LockHeld(Exception):  # noqa: N818 - it reads as what is the case, as LockHeld(pid) is caught to name the holder
    """Another process holds the lock; `pid` is None when it has not written its id yet."""

    def __init__(self, pid: int | None, path: Path) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"A tollwatch gateway already runs on this database ({holder} holds {path}). Stop it first, or set another data_dir"
        )
        self.pid = pid
        self.path = path


class GatewayLock:
    """The lock of a database, held while the context is open; the kernel frees it when the process ends, however it ends."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"Cannot make the lock {self.path}: {error.strerror}. Make {self.path.parent} writable for the user that runs tollwatch"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise LockHeld(int(holder) if holder.isdigit() else None, self.path) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)  # the file stays: removing it would let two processes lock two files of one name
            os.close(self._descriptor)
            self._descriptor = None
