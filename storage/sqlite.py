"""The store in one SQLite file: one writer with group commit, readers beside it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from urllib.parse import quote

import aiosqlite

from storage.database import Done, Outcome, Row, StoreError, Value, Work
from storage.failures import explain
from storage.opening import Durability, open_for_writing, warnings_about
from storage.writer import Writer, WriterStats

_READERS = 2
"""Connections for reads: a slow list does not hold up a fast one."""


class SqliteDatabase:
    """A `storage.database.Database` over one SQLite file. `warnings` are sentences for the operator."""

    def __init__(self, path: Path, writer: Writer, readers: Sequence[aiosqlite.Connection]) -> None:
        self.path = path
        self.warnings = warnings_about(sqlite3.sqlite_version_info)
        self._writer = writer
        self._readers = tuple(readers)
        self._free: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for reader in readers:
            self._free.put_nowait(reader)
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, durability: Durability = "normal") -> "SqliteDatabase":
        """Open the store, making or migrating it where needed; raise StoreError with the remedy when it cannot be used."""
        connection = await asyncio.to_thread(open_for_writing, path, durability=durability)
        readers: list[aiosqlite.Connection] = []
        try:
            for _ in range(_READERS):
                readers.append(await _reader(path))  # noqa: PERF401 - those opened before a failure are closed below
        except sqlite3.Error as error:
            for reader in readers:
                await reader.close()
            connection.close()
            raise explain(error, path) from error
        writer = Writer(connection, path, asyncio.get_running_loop(), waits_for_disk=durability == "full")
        return cls(path, writer, readers)

    @property
    def stats(self) -> WriterStats:
        """What the writer did so far."""
        return self._writer.stats

    async def read(self, text: str, params: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a SELECT, as last committed."""
        if self._closed:
            raise StoreError(f"Cannot read {self.path}: the store is closed, the gateway is ending")
        reader = await self._free.get()
        try:
            return [tuple(row) for row in await reader.execute_fetchall(text, params)]
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        finally:
            self._free.put_nowait(reader)

    async def write[T](self, work: Callable[[], Work[T]]) -> T:
        """Run a unit of work and return its result once it is durable. A cancelled caller does not end the work."""
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome[T]) -> None:
            if waiter.done():
                return
            if isinstance(outcome, Done):
                waiter.set_result(outcome.result)
            else:
                waiter.set_exception(outcome.error)

        self._writer.submit(work, done)
        return await waiter

    def submit[T](self, work: Callable[[], Work[T]], done: Callable[[Outcome[T]], None], *, quick: bool = False) -> None:
        """Queue a unit of work; `done` is called once, in the loop, with its outcome."""
        self._writer.submit(work, done, quick=quick)

    async def close(self) -> None:
        """Write what is queued and close the file; the readers go first, so that the writer makes the last checkpoint."""
        self._closed = True
        for reader in self._readers:
            await reader.close()
        await self._writer.close()


class ReadOnly:
    """Reads of a store from outside the gateway (the command line)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def read(self, text: str, params: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a SELECT, as last committed."""
        try:
            return self._connection.execute(text, params).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._path) from error


@contextlib.contextmanager
def open_readonly(path: Path) -> Generator[ReadOnly]:
    """Open the store beside a running gateway: it changes nothing and never checkpoints. Raise StoreError when it cannot be read."""
    if not path.is_file():
        raise StoreError(f"There is no database at {path} yet. Start tollwatch once (`tollwatch run`), or set data_dir")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    with contextlib.closing(connection):
        connection.execute("PRAGMA busy_timeout = 2000")
        yield ReadOnly(path, connection)


async def _reader(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None)
    await connection.execute("PRAGMA busy_timeout = 2000")
    await connection.execute("PRAGMA query_only = ON")
    return connection
