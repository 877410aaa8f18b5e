"""The writing end of the store: all works that wait share a transaction, so that a commit is paid once for many."""

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from storage.database import Done, Failed, Many, Outcome, Row, Sql, StoreError, Work
from storage.failures import explain

_CHANGES_PER_CHECKPOINT = 4_000
"""Changed rows after which the log is copied into the database: about 4 to 16 MiB of log."""
_LOG_PAGES_TO_TRUNCATE = 8_192
"""A log of so many pages (32 MiB) was kept from starting over by a long read: it is then cut off."""
_MOST_WORKS = 1_000
"""Works in one transaction at most, so that no caller waits for an endless one."""
_LOCK_MILLISECONDS = 2_000
"""How long the thread waits for a lock of another process. The loop does not wait: it hands the batch to the thread."""


@dataclass(slots=True)
class WriterStats:
    """What the writer did so far."""

    batches: int = 0
    on_loop: int = 0
    """Those of the batches that the loop committed itself."""
    works: int = 0
    failed_works: int = 0
    checkpoints: int = 0
    last_batch_size: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Work[Any]]
    done: Callable[[Outcome[Any]], None]
    quick: bool


class Writer:
    """The writing end of one SQLite file; the only connection that writes and the only one that checkpoints.

    SQLite 3.7.0 to 3.51.2 can corrupt a file whose log two connections write or checkpoint at once.

    A commit that need not reach the disk (`waits_for_disk` false: durability `normal`) is a copy into the page cache, some 50 µs. The
    loop makes those of quick works itself: to hand one to a thread on another core and back costs the process several times as much.
    Everything that may take long (fsync, checkpoints, works that are not quick, a lock of another process) is done by one thread. The
    connection is in the hands of either the loop or the thread; what is submitted meanwhile makes the next batch.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, loop: asyncio.AbstractEventLoop, *, waits_for_disk: bool = True) -> None:
        self.stats = WriterStats()
        self._connection = connection
        self._path = path
        self._loop = loop
        self._waits_for_disk = waits_for_disk
        self._queue: deque[_Job] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tollwatch-writer")
        self._lent = False
        """The connection is with the thread."""
        self._turn_is_due = False
        self._closed = False
        self._ended: asyncio.Future[None] = loop.create_future()
        self._changes_at_checkpoint = connection.total_changes
        connection.execute("PRAGMA busy_timeout = 0")

    def submit(self, work: Callable[[], Work[Any]], done: Callable[[Outcome[Any]], None], *, quick: bool = False) -> None:
        """Queue a work; `done` is called in the loop once the work is durable or has failed. Loop thread only.

        `quick` says that the work takes at most some milliseconds.
        """
        if self._closed:
            raise StoreError(f"Cannot write to {self._path}: the store is closed, the gateway is ending")
        self._queue.append(_Job(work, done, quick))
        self._soon()

    async def close(self) -> None:
        """Write what is queued, copy the log into the database and end the thread."""
        if not self._closed:
            self._closed = True
            self._soon()
        await asyncio.shield(self._ended)

    def _soon(self) -> None:
        """Take a turn at the end of this turn of the loop, so that what it brings shares a batch."""
        if not self._turn_is_due and not self._lent:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Do the next thing that is due, here or in the thread. In the loop, with the connection."""
        self._turn_is_due = False
        if self._lent:
            return
        if self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _MOST_WORKS))]
            outcomes = None if self._waits_for_disk or not all(job.quick for job in batch) else self._commit(batch, waiting=False)
            if outcomes is None:
                self._lend(lambda: self._commit_in_thread(batch))
                return
            self.stats.on_loop += 1
            self._tell(batch, outcomes)
        if self._connection.total_changes - self._changes_at_checkpoint > _CHANGES_PER_CHECKPOINT:
            self._lend(self._checkpoint)
        elif self._queue:
            self._soon()
        elif self._closed:
            self._lend(self._end)

    def _lend(self, task: Callable[[], Callable[[], None]]) -> None:
        """Let the thread do a task with the connection; what the task returns is then called in the loop."""
        self._lent = True

        def run() -> None:
            try:
                then = task()
            except Exception as error:  # noqa: BLE001 - whatever it was, the connection is given back, or nothing would be written any more
                then = partial(self._loop.call_exception_handler, {"message": "the writer failed at a task", "exception": error})
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                self._loop.call_soon_threadsafe(self._come_back, then)

        self._thread.submit(run)

    def _come_back(self, then: Callable[[], None]) -> None:
        self._lent = False
        then()
        if not self._ended.done():
            self._turn()

    def _commit_in_thread(self, batch: Sequence[_Job]) -> Callable[[], None]:
        self._connection.execute(f"PRAGMA busy_timeout = {_LOCK_MILLISECONDS}")
        outcomes = self._commit(batch, waiting=True) or ()
        self._connection.execute("PRAGMA busy_timeout = 0")
        return lambda: self._tell(batch, outcomes)

    def _end(self) -> Callable[[], None]:
        with contextlib.suppress(sqlite3.Error):  # the log is kept and read at the next start: nothing is lost
            self._connection.execute(f"PRAGMA busy_timeout = {_LOCK_MILLISECONDS}")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        return self._end_thread

    def _end_thread(self) -> None:
        self._thread.shutdown(wait=False)
        self._ended.set_result(None)

    def _commit(self, batch: Sequence[_Job], *, waiting: bool) -> list[Outcome[Any]] | None:
        """Run the works in one transaction; when one fails, run each in its own, so that it fails alone.

        None when another process has the lock and this is not the one to wait for it.
        """
        try:
            outcomes: list[Outcome[Any]] = [Done(result) for result in self._transaction(batch)]
        except Exception as error:  # noqa: BLE001 - a work may raise anything; its caller gets it, the writer lives on
            if not waiting and _is_locked(error):
                return None
            outcomes = [Failed(self._as_told(error))] if len(batch) == 1 else self._one_by_one(batch)
        stats = self.stats
        stats.batches += 1
        stats.works += len(batch)
        stats.failed_works += sum(isinstance(outcome, Failed) for outcome in outcomes)
        stats.last_batch_size = len(batch)
        return outcomes

    def _one_by_one(self, batch: Sequence[_Job]) -> list[Outcome[Any]]:
        outcomes: list[Outcome[Any]] = []
        for position, job in enumerate(batch):
            try:
                outcomes.append(Done(self._transaction([job])[0]))
            except Exception as error:  # noqa: BLE001 - as above
                outcomes.append(Failed(self._as_told(error)))
                if _is_locked(error):  # each further one would wait for the lock as long again
                    outcomes += [Failed(self._as_told(error)) for _ in batch[position + 1 :]]
                    break
        return outcomes

    def _transaction(self, batch: Sequence[_Job]) -> list[Any]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [_drive(connection, job.work()) for job in batch]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # a failed rollback is repeated by SQLite at the next BEGIN
                    connection.execute("ROLLBACK")
            raise
        return results

    def _as_told(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        told = explain(error, self._path)
        told.__cause__ = error
        return told

    def _tell(self, batch: Sequence[_Job], outcomes: Sequence[Outcome[Any]]) -> None:
        for job, outcome in zip(batch, outcomes, strict=True):
            try:
                job.done(outcome)
            except Exception as error:  # noqa: BLE001 - the others of the batch still wait to be told
                self._loop.call_exception_handler({"message": "what was written could not be told to its caller", "exception": error})

    def _checkpoint(self) -> Callable[[], None]:
        self._changes_at_checkpoint = self._connection.total_changes
        with contextlib.suppress(sqlite3.Error):  # the log stays and grows; the next turn tries again; a full disk is told by the writes
            _busy, log_pages, _copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if log_pages > _LOG_PAGES_TO_TRUNCATE:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.stats.checkpoints += 1
        return _nothing


def _nothing() -> None:
    """Follow a task that nobody waits for."""


def _drive(connection: sqlite3.Connection, work: Work[Any]) -> object:
    """Run the statements of a work and return its result."""
    try:
        statement = next(work)
        while True:
            statement = work.send(_execute(connection, statement))
    except StopIteration as stop:
        return stop.value
    finally:
        work.close()


def _execute(connection: sqlite3.Connection, statement: Sql | Many) -> list[Row]:
    if isinstance(statement, Many):
        connection.executemany(statement.text, statement.rows)
        return []
    return connection.execute(statement.text, statement.params).fetchall()


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
