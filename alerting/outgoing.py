"""The way of enqueued findings into the store: one batch at a time, none lost while the store fails."""

import asyncio
from collections.abc import Callable, Sequence

from alerting.finding import Occurrence
from alerting.pending import Pending, Step
from storage.database import ConstraintError, Database, Done, Outcome, StoreError, Work

FLUSH_AFTER_SECONDS = 0.05
RETRY_AFTER_SECONDS = 1.0


class Outgoing:
    """Gathers findings for 50 ms, then writes them together. What the store refuses stays and is tried again."""

    def __init__(self, database: Database, work: Callable[[Sequence[Step]], Work[None]]) -> None:
        self._database = database
        self._work = work
        self._pending = Pending()
        self._in_flight: Sequence[Step] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drains: list[asyncio.Future[None]] = []
        self.last_error: Exception | None = None
        """Why findings still wait; None when the last write succeeded."""
        self.lost = 0
        """Batches that the store was well enough to read and would not take."""

    def add(self, occurrence: Occurrence, fingerprint: str) -> None:
        """Write a finding soon."""
        self._pending.add(occurrence, fingerprint)
        self._schedule(FLUSH_AFTER_SECONDS)

    def clear(self, fingerprint: str) -> None:
        """Write the end of a condition soon, after the findings that came before it."""
        self._pending.clear(fingerprint)
        self._schedule(FLUSH_AFTER_SECONDS)

    async def drain(self) -> None:
        """Wait until all is written; raise StoreError (and keep what waits) when the store cannot."""
        while self._pending or self._in_flight is not None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drains.append(waiter)
            self._flush()
            await waiter

    def _schedule(self, seconds: float) -> None:
        if self._timer is None and self._in_flight is None and self._pending:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight is not None:
            return
        steps = self._in_flight = self._pending.take()
        try:
            self._database.submit(lambda: self._work(steps), self._done)
        except StoreError as error:
            self._failed(steps, error)

    def _done(self, outcome: Outcome[None]) -> None:
        steps = self._in_flight or ()
        if not isinstance(outcome, Done):
            self._failed(steps, outcome.error)
            return
        self._in_flight = self.last_error = None
        self._wake(None)
        self._schedule(FLUSH_AFTER_SECONDS)

    def _failed(self, steps: Sequence[Step], error: Exception) -> None:
        """Keep the findings while the store is ill; drop a batch that a well store refuses, so that it blocks no other."""
        self._in_flight, self.last_error = None, error
        if isinstance(error, StoreError) and not isinstance(error, ConstraintError):
            self._pending.put_back(steps)
        else:
            self.lost += 1
        self._wake(error)
        self._schedule(RETRY_AFTER_SECONDS)

    def _wake(self, error: Exception | None) -> None:
        drains, self._drains = self._drains, []
        for waiter in drains:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(StoreError(str(error)))
