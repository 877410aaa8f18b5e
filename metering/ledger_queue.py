"""What waits to be written by the ledger, and the batches that are made of it."""

from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from metering.event_order import EventOrder
from metering.ledger_batch import Batch, Release, Request, Trim
from metering.ledger_jobs import Job, Waiter
from metering.ledger_line import Line, OnAnswer, Waiting
from metering.ledger_periods import Periods
from metering.rollups import hour_of
from storage.times import to_micros

_HOUR = timedelta(hours=1)
_MOST_IN_A_BATCH = 100
"""Intents, and settlements, of one batch: about 10 ms of work."""
_MOST_PENDING = 100_000
"""Settlements kept while the store fails. One that is dropped stays an open intent: the next start charges it at its hold."""


class Queue:
    """What is asked of the ledger and not yet with the store."""

    def __init__(self, line: Line, periods: Periods, *, instance: str, now: Callable[[], datetime]) -> None:
        self._line = line
        self._periods = periods
        self._instance = instance
        self._now = now
        self.order = EventOrder()
        self.hour = hour_of(now())
        """The latest hour that was ever begun."""
        self.requests: list[tuple[Request, Waiter]] = []
        self.top_ups: list[tuple[Request, OnAnswer]] = []
        self.releases: deque[Release] = deque()
        self.trims: list[Trim] = []
        self.suspects: deque[Job] = deque()
        """The parts of a batch that the store refused, to be tried each alone."""

    @property
    def pressing(self) -> bool:
        """Whether somebody waits for what is in it; settlements may wait for company, unless others wait for what they give back."""
        return bool(
            self.requests or self.suspects or self.top_ups or self.trims or self._line.stirred or (self.releases and self._line.waits)
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.releases or self.pressing)

    def release(self, release: Release) -> int:
        """Take a settlement; return how many were dropped for it."""
        self.releases.append(release)
        if len(self.releases) <= _MOST_PENDING:
            return 0
        self.releases.popleft()
        return 1

    def put_back(self, job: Job) -> None:
        """Keep what a failing store did not take and must not be lost. Who waits for an answer is told of the failure instead."""
        self.releases.extendleft(reversed(job.batch.releases))
        self.trims = [*job.batch.trims, *self.trims]
        self.top_ups = [*zip(job.batch.top_ups, job.running, strict=True), *self.top_ups]

    def next_job(self, running: Collection[str]) -> Job | None:
        """Return the next batch, or None; `running` are the calls that may be topped up."""
        if self.suspects:
            return self.suspects.popleft()
        taken = self.requests[:_MOST_IN_A_BATCH]
        del self.requests[:_MOST_IN_A_BATCH]
        taken = [(request, waiter) for request, waiter in taken if not waiter.done()]
        releases = [self.releases.popleft() for _ in range(min(len(self.releases), _MOST_IN_A_BATCH))]
        top_ups, self.top_ups = self.top_ups, []
        trims, self.trims = [trim for trim in self.trims if trim.call_id in running], []
        in_line: list[Waiting] = []
        again = self._line.waits and (bool(releases or trims) or self._line.stirred)
        if again:
            short, in_line = self._line.turn()
            top_ups = [*short, *top_ups]
        top_ups = list({one[0].call_id: one for one in top_ups if one[0].call_id in running}.values())
        if not (taken or releases or trims or top_ups or in_line):
            return None
        now = self._now()
        self.hour = self.hour if now - self.hour < _HOUR else hour_of(now)
        at = to_micros(now)
        batch = Batch(
            at=at,
            first=self.order.take(len(releases) + len(trims) + len(top_ups) + len(in_line) + len(taken), at=at),
            hour=self.hour,
            instance=self._instance,
            periods=self._periods.to_store([request for request, _waiter in taken]),
            releases=releases,
            trims=trims,
            top_ups=[request for request, _on_answer in top_ups],
            waiting=[one.request for one in in_line],
            requests=[request for request, _waiter in taken],
            blocked=self._line.blocked if self._line.waits and not again else frozenset(),
        )
        waiters = tuple(waiter for _request, waiter in taken)
        return Job(batch, waiters, tuple(in_line), tuple(on_answer for _request, on_answer in top_ups))
