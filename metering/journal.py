"""An append-only file of lines that are on the disk when they are said to be; many that wait share one fsync."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from storage.database import StoreError

_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Line:
    text: bytes
    written: asyncio.Future[None] | None
    """Who waits for it; None for a line that is kept and tried again when the disk fails."""


class Journal:
    """One file, made when its first line comes (mode 0600) and ended by `remove`. Loop thread only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size if path.exists() else 0
        """What is on the disk."""
        self._waiting: list[_Line] = []
        self._writing: asyncio.Future[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def length(self) -> int:
        """Bytes that are written or wait to be."""
        return self.size + sum(len(line.text) for line in self._waiting)

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be written."""
        return self._writing is None and not self._waiting

    async def append(self, text: bytes) -> None:
        """Write a line; it is on the disk when this returns. Raises StoreError."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Line(text, written))
        self.flush()
        await written

    def keep(self, text: bytes) -> None:
        """Write a line soon; where the disk fails it is tried again with the next one."""
        self._waiting.append(_Line(text, None))
        self.flush()

    def flush(self) -> None:
        """Begin to write what waits, unless something is being written."""
        if self._writing is not None or not self._waiting:
            return
        lines, self._waiting = self._waiting, []
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="tollwatch-spool")
        text = b"".join(line.text for line in lines)
        self._writing = asyncio.get_running_loop().run_in_executor(self._thread, _append, self.path, self.size, text)
        self._writing.add_done_callback(lambda writing: self._written(lines, len(text), writing))

    async def drain(self) -> None:
        """Wait until what waits was tried once more."""
        self.flush()
        while (writing := self._writing) is not None:
            await asyncio.wait([writing])
            await asyncio.sleep(0)  # its callback takes the next lines

    def lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Yield the whole lines on the disk from `start`, each with where it ends. A torn last line is left out."""
        with self.path.open("rb") as file:
            file.seek(start)
            while start < self.size and (line := file.readline(_READ_AT_ONCE)).endswith(b"\n"):
                start += len(line)
                yield start, line

    def remove(self, *, aside: Path | None = None) -> None:
        """End the file, or move it aside; the next line makes a new one."""
        if aside is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.rename(aside)
        _sync_folder(self.path.parent)
        self.size = 0

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _written(self, lines: list[_Line], length: int, writing: asyncio.Future[None]) -> None:
        self._writing = None
        error = writing.exception()
        if error is None:
            self.size += length
        for line in lines:
            if line.written is None or line.written.done():
                continue
            if error is None:
                line.written.set_result(None)
            else:
                line.written.set_exception(StoreError(f"Cannot write to {self.path}: {error}. Make room for it, and it writable"))
        if error is not None:
            self._waiting[:0] = [line for line in lines if line.written is None]
            if all(line.written is None for line in self._waiting):
                return  # tried again with the next call, or the next replay
        self.flush()


def _append(path: Path, size: int, text: bytes) -> None:
    """Write all of the text behind the first `size` bytes, or none of it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if size == 0:
            _sync_folder(path.parent)
        view = memoryview(text)
        try:
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
