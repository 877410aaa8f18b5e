"""The ledger: every call stands in it before it is sent, and once more when its outcome is known."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial

from metering.budgets import Budget
from metering.call import Call, Ending, Reply
from metering.charges import charge
from metering.holds import BudgetMove, BudgetState, Denied, Granted, Hold, Intent, Settled, Settlement
from metering.ledger_reads import LedgerReads
from metering.ledger_rows import INSERT_REFUSED, LedgerRow, refused_values
from metering.ledger_stats import LedgerStats
from metering.ledger_work import Batch, OpenCall, PlacedHold, Release, Request, batch_work
from metering.periods import Period
from metering.reading import Reading, Source
from metering.recovery import recovery_work
from metering.rollups import ADD_LATE, hour_of
from metering.spend import SpendRow
from metering.spread import Spread, Spreads
from storage.database import ConstraintError, Database, Done, Failed, Outcome, Sql, StoreError, Work
from storage.times import from_micros, to_micros

__all__ = [
    "BudgetMove",
    "BudgetState",
    "Clock",
    "Denied",
    "Granted",
    "Hold",
    "Intent",
    "Ledger",
    "LedgerRow",
    "LedgerStats",
    "Settled",
    "Settlement",
    "SpendRow",
]

type Clock = Callable[[], datetime]
type Answers = tuple[list[Settled], list[Granted | Denied]]
type Waiter = asyncio.Future[Granted | Denied]

_HOUR = timedelta(hours=1)
_SETTLE_WITHIN_SECONDS = 0.05
_LONGEST_BACKOFF_SECONDS = 5.0
_MOST_IN_A_BATCH = 100
"""Intents, and settlements, of one batch: about 10 ms of work."""
_MOST_PENDING = 100_000
"""Settlements kept while the store fails. One that is dropped stays an open intent: the next start charges it at its hold."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What is in the hands of the store, and who waits for it."""

    batch: Batch
    waiters: tuple[Waiter, ...]


class Ledger(LedgerReads):
    """Intents, settlements and budgets over a Database. One batch at a time is with the store; what comes meanwhile makes the next.

    `on_settled` is called with each batch of durable settlements, `on_health` when the store begins to fail or is well again.
    `budgets` are those whose state `budgets()` tells.
    """

    def __init__(
        self,
        database: Database,
        *,
        instance: str,
        now: Clock,
        on_settled: Callable[[Sequence[Settled]], None],
        budgets: Sequence[Budget] = (),
        on_health: Callable[[StoreError | None], None] | None = None,
    ) -> None:
        super().__init__(database)
        self.stats = LedgerStats()
        self.failure: StoreError | None = None
        self._instance = instance
        self._now = now
        self._on_settled = on_settled
        self._on_health = on_health
        self._budgets = tuple(budgets)
        self._requests: list[tuple[Request, Waiter]] = []
        self._releases: deque[Release] = deque()
        self._open: dict[str, OpenCall] = {}
        self._spreads = Spreads()
        self._hour = hour_of(now())
        self._latest: dict[str, Period] = {}
        self._known_periods: set[tuple[str, int]] = set()
        self._in_flight: _Job | None = None
        self._suspects: deque[_Job] = deque()
        self._timer: asyncio.Handle | None = None
        self._backoff = _SETTLE_WITHIN_SECONDS
        self._drains: list[asyncio.Future[None]] = []

    @property
    def healthy(self) -> bool:
        """Whether the store took what it was last given."""
        return self.failure is None

    @property
    def pending(self) -> int:
        """Settlements that are not durable yet."""
        return len(self._releases)

    async def admit(self, intent: Intent) -> Granted | Denied:
        """Write the intent and make its holds, all or none; durable when it returns. Raises StoreError when the store fails."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._requests.append((Request(intent, self._place(intent.holds)), waiter))
        if self._in_flight is None and len(self._requests) == 1:
            self._soon()
        return await waiter

    async def refuse(self, call: Call, *, rule_id: str | None, status: int, more: Callable[[], Work[None]] | None = None) -> None:
        """Write a call that is not sent; `more` (its alert) is written in the same transaction. Durable when it returns."""
        values = refused_values(call, rule_id=rule_id, status=status, ended_at=self._now(), instance=self._instance)

        def work() -> Work[None]:
            yield Sql(INSERT_REFUSED, values)
            yield Sql(ADD_LATE, (call.id,))
            if more is not None:
                yield from more()

        await self._database.write(work)

    def settle(self, settlement: Settlement) -> None:
        """Write what a call came to, once: a second settlement of a call is counted and ignored. Durable within 50 ms."""
        opened = self._open.pop(settlement.call.id, None)
        if opened is None:
            self.stats.ignored_settlements += 1
            return
        charges = tuple(charge(one.hold, settlement.reading) for one in opened.placed)
        self._releases.append(Release(settlement, opened.placed, charges, opened.hold_nano))
        if len(self._releases) > _MOST_PENDING:
            self._releases.popleft()
            self.stats.lost_settlements += 1
        if self._in_flight is None and self._timer is None:
            self._later(_SETTLE_WITHIN_SECONDS)

    async def drain(self) -> None:
        """Wait until every settlement is durable. Raises StoreError when the store fails; what is not written stays queued."""
        while self._in_flight or self._requests or self._releases or self._suspects:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drains.append(waiter)
            self._flush()
            await waiter

    async def recover(self) -> int:
        """At the start: turn intents that a crash left open into `unknown`, charged at their holds; return how many."""
        found = await self._database.write(partial(recovery_work, at=to_micros(self._now()), alive=frozenset(self._open)))
        self._hour = max(self._hour, from_micros(await self.rolled_until()))
        for spread in await self.spreads(since=self._now() - timedelta(days=1)):
            self._spreads.add(spread)
        stored = await self._database.read("SELECT budget_id, MAX(starts_at), ends_at FROM budget_periods GROUP BY budget_id")
        ends = {str(budget_id): (starts_at, ends_at) for budget_id, starts_at, ends_at in stored}
        for budget in self._budgets:
            starts_at, ends_at = ends.get(budget.id, (None, None))
            if not isinstance(starts_at, int) or not isinstance(ends_at, int):
                continue
            period = Period(from_micros(starts_at), from_micros(ends_at))
            if budget.period(period.starts_at) == period:  # else the budget was given another period or zone since
                self._latest[budget.id] = period
        return found

    def spread(self, provider: str, day: date) -> Spread:
        """Return how far apart the least and the most of a provider's day (UTC) lie, as far as it is settled."""
        return self._spreads.of(provider, day)

    def follow(self, budgets: Sequence[Budget]) -> None:
        """Tell the state of these budgets from now on (the config was read again)."""
        self._budgets = tuple(budgets)

    async def budgets(self) -> list[BudgetState]:
        """Return the state of every budget in its current period."""
        states: list[BudgetState] = []
        for budget in self._budgets:
            period = self._current(budget)
            rows = await self._database.read(
                "SELECT spent, held FROM budget_periods WHERE budget_id = ? AND starts_at = ?", (budget.id, to_micros(period.starts_at))
            )
            spent, held = rows[0] if rows else (0, 0)
            states.append(BudgetState(budget, period, int(spent or 0), int(held or 0)))
        return states

    def _place(self, holds: Sequence[Hold]) -> tuple[PlacedHold, ...]:
        return tuple(PlacedHold(hold, period, to_micros(period.starts_at)) for hold in holds for period in (self._current(hold.budget),))

    def _current(self, budget: Budget) -> Period:
        """Return the period of now. Periods only advance: a clock set back does not open an earlier one again."""
        period = budget.period(self._now())
        latest = self._latest.get(budget.id)
        if latest is not None and period.starts_at <= latest.starts_at:
            return latest
        self._latest[budget.id] = period
        return period

    def _soon(self) -> None:
        """Flush at the end of this turn of the loop, so that its intents share a batch."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_soon(self._flush)

    def _later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._flush)

    def _flush(self) -> None:
        """Give the store the next batch, unless it has one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight is not None:
            return
        job = self._next_job()
        if job is None:
            return
        self._in_flight = job
        try:
            self._database.submit(partial(batch_work, job.batch), self._done, quick=True)
        except StoreError as error:
            self._done(Failed(error))

    def _next_job(self) -> _Job | None:
        if self._suspects:
            return self._suspects.popleft()
        taken = self._requests[:_MOST_IN_A_BATCH]
        del self._requests[:_MOST_IN_A_BATCH]
        taken = [(request, waiter) for request, waiter in taken if not waiter.done()]
        releases = [self._releases.popleft() for _ in range(min(len(self._releases), _MOST_IN_A_BATCH))]
        if not taken and not releases:
            return None
        now = self._now()
        self._hour = self._hour if now - self._hour < _HOUR else hour_of(now)
        batch = Batch(
            at=to_micros(now),
            hour=self._hour,
            instance=self._instance,
            periods=self._new_periods([request for request, _waiter in taken]),
            releases=releases,
            requests=[request for request, _waiter in taken],
        )
        return _Job(batch, tuple(waiter for _request, waiter in taken))

    def _new_periods(self, requests: Sequence[Request]) -> tuple[tuple[str, int, int], ...]:
        return tuple(
            {
                (placed.hold.budget.id, placed.starts_at, to_micros(placed.period.ends_at)): None
                for request in requests
                for placed in request.placed
                if (placed.hold.budget.id, placed.starts_at) not in self._known_periods
            }
        )

    def _done(self, outcome: Outcome[Answers]) -> None:
        job = self._in_flight
        assert job is not None  # noqa: S101 - the store answers each batch once; for the type checker
        self._in_flight = None
        if isinstance(outcome, Done):
            self._succeeded(job, *outcome.result)
        elif isinstance(outcome.error, StoreError) and not isinstance(outcome.error, ConstraintError):
            self._store_failed(job, outcome.error)
            return
        else:
            self._contradicted(job, outcome.error)
        self._wake_drains(None)
        if self._requests or self._suspects:
            self._flush()
        elif self._releases and self._timer is None:
            self._later(_SETTLE_WITHIN_SECONDS)

    def _succeeded(self, job: _Job, settled: Sequence[Settled], answers: Sequence[Granted | Denied]) -> None:
        batch = job.batch
        self._known_periods.update((budget_id, starts_at) for budget_id, starts_at, _ends_at in batch.periods)
        self._backoff = _SETTLE_WITHIN_SECONDS
        granted = 0
        for request, waiter, answer in zip(batch.requests, job.waiters, answers, strict=True):
            if isinstance(answer, Granted):
                granted += 1
                self._open[request.intent.call.id] = OpenCall(request.placed, request.intent.hold_nano)
            if not waiter.done():
                waiter.set_result(answer)
            elif isinstance(answer, Granted):
                self._abandon(request.intent.call)
        stats = self.stats
        stats.batches += 1
        stats.granted += granted
        stats.denied += len(answers) - granted
        stats.settled += len(settled)
        self._tell_health(None)
        self._spreads.settled((release.settlement, release.hold_nano) for release in batch.releases)
        if settled:
            asyncio.get_running_loop().call_soon(self._on_settled, settled)

    def _abandon(self, call: Call) -> None:
        """Settle a call whose caller was cancelled while its intent was written: it is never sent."""
        reply = Reply(ending=Ending.CLIENT_ABORT, status=None, first_byte_at=None, ended_at=self._now(), response_bytes=0)
        self.settle(Settlement(call, reply, Reading(source=Source.NONE)))

    def _store_failed(self, job: _Job, error: StoreError) -> None:
        """Refuse the intents, keep the settlements, and try those again later."""
        self.stats.store_failures += 1
        self._releases.extendleft(reversed(job.batch.releases))
        for waiter in job.waiters:
            if not waiter.done():
                waiter.set_exception(_again(error))
        self._tell_health(error)
        self._wake_drains(error)
        if self._requests or self._suspects:
            self._soon()
        elif self._releases:
            self._later(self._backoff)
            self._backoff = min(self._backoff * 2, _LONGEST_BACKOFF_SECONDS)

    def _contradicted(self, job: _Job, error: Exception) -> None:
        """One item of the batch is bad (an id used twice, say): try each alone, so that only the bad one fails."""
        batch = job.batch
        if len(batch.requests) + len(batch.releases) > 1:
            for release in batch.releases:
                self._suspects.append(_Job(replace(batch, releases=[release], requests=()), ()))
            for request, waiter in zip(batch.requests, job.waiters, strict=True):
                self._suspects.append(_Job(replace(batch, releases=(), requests=[request]), (waiter,)))
            return
        self.stats.lost_settlements += len(batch.releases)
        for waiter in job.waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _tell_health(self, failure: StoreError | None) -> None:
        changed = (failure is None) != (self.failure is None)
        self.failure = failure
        if changed and self._on_health is not None:
            asyncio.get_running_loop().call_soon(self._on_health, failure)

    def _wake_drains(self, error: StoreError | None) -> None:
        drains, self._drains = self._drains, []
        for waiter in drains:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(_again(error))


def _again(error: StoreError) -> StoreError:
    """Return the same failure for one more waiter: an exception raised in two tasks would gather the traces of both."""
    told = type(error)(str(error))
    told.__cause__ = error.__cause__
    return told
