"""A batch that is in the hands of the store, with those who wait for its answers."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from metering.holds import Denied, Granted
from metering.ledger_batch import Batch
from metering.ledger_line import OnAnswer, Waiting
from storage.database import StoreError

type Waiter = asyncio.Future[Granted | Denied]


@dataclass(frozen=True, slots=True)
class Job:
    """What is in the hands of the store, and who waits for it, each in the order of the batch."""

    batch: Batch
    waiters: tuple[Waiter, ...] = ()
    in_line: tuple[Waiting, ...] = ()
    running: tuple[OnAnswer, ...] = ()
    """Who asked for top-ups."""

    @property
    def size(self) -> int:
        """How many things are in it."""
        batch = self.batch
        return len(batch.releases) + len(batch.trims) + len(batch.top_ups) + len(batch.waiting) + len(batch.requests)

    def apart(self) -> Iterator["Job"]:
        """Yield each thing in a job of its own."""
        numbers = itertools.count(self.batch.first)
        bare = replace(self.batch, releases=(), trims=(), top_ups=(), waiting=(), requests=())
        for release in self.batch.releases:
            yield Job(replace(bare, first=next(numbers), releases=[release]))
        for trim in self.batch.trims:
            yield Job(replace(bare, first=next(numbers), trims=[trim]))
        for top_up, on_answer in zip(self.batch.top_ups, self.running, strict=True):
            yield Job(replace(bare, first=next(numbers), top_ups=[top_up]), running=(on_answer,))
        for request, waiting in zip(self.batch.waiting, self.in_line, strict=True):
            yield Job(replace(bare, first=next(numbers), waiting=[request]), in_line=(waiting,))
        for request, waiter in zip(self.batch.requests, self.waiters, strict=True):
            yield Job(replace(bare, first=next(numbers), requests=[request]), waiters=(waiter,))

    def fail(self, error: Exception) -> None:
        """Tell those whose calls wait for it."""
        for waiter in (*self.waiters, *(waiting.answer for waiting in self.in_line)):
            if not waiter.done():
                waiter.set_exception(again(error) if isinstance(error, StoreError) else error)


def again(error: StoreError) -> StoreError:
    """Return the same failure for one more waiter: an exception raised in two tasks would gather the traces of both."""
    told = type(error)(str(error))
    told.__cause__ = error.__cause__
    return told


def wake(waiters: Sequence[asyncio.Future[None]], error: StoreError | None) -> None:
    """Tell those who wait for everything to be written."""
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(again(error))
