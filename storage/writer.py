"""One thread that writes: all works that wait share a transaction, so that a commit is paid once for many."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from storage.database import Done, Failed, Many, Outcome, Row, Sql, StoreError, Work
from storage.failures import explain

_CHANGES_PER_CHECKPOINT = 4_000
"""Changed rows after which the log is copied into the database: about 4 to 16 MiB of log."""
_LOG_PAGES_TO_TRUNCATE = 8_192
"""A log of so many pages (32 MiB) was kept from starting over by a long read: it is then cut off."""
_MOST_WORKS = 1_000
"""Works in one transaction at most, so that no caller waits for an endless one."""


@dataclass(frozen=True, slots=True)
class WriterStats:
    """What the writer did so far."""

    batches: int = 0
    works: int = 0
    failed_works: int = 0
    checkpoints: int = 0
    last_batch_size: int = 0
    last_commit_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Work[Any]]
    done: Callable[[Outcome[Any]], None]


class Writer:
    """The writing end of one SQLite file; the only connection that writes and the only one that checkpoints.

    SQLite 3.7.0 to 3.51.2 can corrupt a file whose log two connections write or checkpoint at once.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.stats = WriterStats()
        self._connection = connection
        self._path = path
        self._loop = loop
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        self._changes_at_checkpoint = connection.total_changes
        self._thread = threading.Thread(target=self._run, name="tollwatch-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Work[Any]], done: Callable[[Outcome[Any]], None]) -> None:
        """Queue a work; `done` is called in the loop once the work is durable or has failed. Loop thread only."""
        if self._closed:
            raise StoreError(f"Cannot write to {self._path}: the store is closed, the gateway is ending")
        self._queue.put(_Job(work, done))

    async def close(self) -> None:
        """Write what is queued, copy the log into the database and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while batch := self._next_batch():
            outcomes = self._commit(batch)
            self._deliver(batch, outcomes)
            if self._connection.total_changes - self._changes_at_checkpoint > _CHANGES_PER_CHECKPOINT:
                self._checkpoint()
        with contextlib.suppress(sqlite3.Error):  # the log is kept and read at the next start: nothing is lost
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _next_batch(self) -> list[_Job]:
        """Wait for a job and take all that are queued behind it; empty at the end."""
        batch: list[_Job] = []
        job = self._queue.get()
        while job is not None and len(batch) < _MOST_WORKS:
            batch.append(job)
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch
        # Taken but not for this batch: the end mark (which is then last, nothing is queued behind it) or the job past the cap.
        if job is None:
            if batch:
                self._queue.put(None)
            return batch
        return [*batch, job]

    def _commit(self, batch: Sequence[_Job]) -> list[Outcome[Any]]:
        """Run the works in one transaction; when one fails, run each in its own, so that it fails alone."""
        try:
            outcomes: list[Outcome[Any]] = [Done(result) for result in self._transaction(batch)]
        except Exception as error:  # noqa: BLE001 - a work may raise anything; its caller gets it, the writer lives on
            outcomes = [Failed(self._as_told(error))] if len(batch) == 1 else self._one_by_one(batch)
        failed = sum(isinstance(outcome, Failed) for outcome in outcomes)
        self.stats = replace(
            self.stats,
            batches=self.stats.batches + 1,
            works=self.stats.works + len(batch),
            failed_works=self.stats.failed_works + failed,
            last_batch_size=len(batch),
        )
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
            before = time.perf_counter()
            connection.execute("COMMIT")
            self.stats = replace(self.stats, last_commit_seconds=time.perf_counter() - before)
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

    def _deliver(self, batch: Sequence[_Job], outcomes: Sequence[Outcome[Any]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, batch, outcomes)

    def _tell(self, batch: Sequence[_Job], outcomes: Sequence[Outcome[Any]]) -> None:
        for job, outcome in zip(batch, outcomes, strict=True):
            try:
                job.done(outcome)
            except Exception as error:  # noqa: BLE001 - the others of the batch still wait to be told
                self._loop.call_exception_handler({"message": "what was written could not be told to its caller", "exception": error})

    def _checkpoint(self) -> None:
        self._changes_at_checkpoint = self._connection.total_changes
        try:
            _busy, log_pages, _copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if log_pages > _LOG_PAGES_TO_TRUNCATE:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            return  # the log stays and grows; the next turn tries again, and a full disk is told by the writes themselves
        self.stats = replace(self.stats, checkpoints=self.stats.checkpoints + 1)


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
