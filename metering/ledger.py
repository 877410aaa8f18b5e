"""The ledger: every call stands in it before it is sent, and once more when its outcome is known."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial

from metering.budgets import Budget
from metering.call import Call, Ending, Reply
from metering.holds import BudgetMove, BudgetState, Denied, Granted, Hold, Intent, Settled, Settlement, TopUp
from metering.ledger_batch import UNHEARD, OpenCall, Outcomes, Paused, Release, Request, Trim
from metering.ledger_flushing import SETTLE_WITHIN_SECONDS, Flushing
from metering.ledger_jobs import Job, Waiter
from metering.ledger_line import OnAnswer
from metering.ledger_rows import INSERT_REFUSED, LedgerRow, refused_values
from metering.ledger_stats import LedgerStats
from metering.reading import Reading, Source
from metering.recovery import recovery_work
from metering.rollups import ADD_LATE
from metering.spend import SpendRow
from metering.spread import Spread, Spreads
from metering.terms import NO_DENIAL, Denial
from storage.database import Database, Sql, StoreError, Work
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
    "TopUp",
]

type Clock = Callable[[], datetime]


class Ledger(Flushing):
    """Intents, settlements and budgets over a Database.

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
        super().__init__(database, instance=instance, now=now, on_health=on_health)
        self._instance = instance
        self._on_settled = on_settled
        self._budgets = tuple(budgets)
        self._spreads = Spreads()
        self.on_ended: Callable[[Sequence[str]], None] | None = None
        """Hears the ids of calls whose end is durable, refused ones too; None where nobody listens."""

    @property
    def pending(self) -> int:
        """Settlements that are not durable yet."""
        return len(self._queue.releases)

    @property
    def waiting(self) -> int:
        """Calls that wait for a budget."""
        return len(self._line)

    @property
    def waits(self) -> bool:
        """Whether anybody waits for a budget: calls before their intent, or running ones for more."""
        return self._line.waits

    @property
    def open_calls(self) -> Mapping[str, OpenCall]:
        """The calls that are under way, in the order in which they were let through."""
        return self._open

    def is_short_of(self, budgets: Iterable[Budget]) -> bool:
        """Say whether anybody waits for one of these budgets."""
        return self._line.waits and not self.short.isdisjoint(budget.id for budget in budgets)

    @property
    def short(self) -> frozenset[str]:
        """The ids of the budgets that somebody waits for."""
        return frozenset(budget_id for budget_id, _starts_at in self._line.blocked) if self._line.waits else frozenset()

    async def admit(self, intent: Intent, *, patient: bool = False) -> Granted | Denied:
        """Write the intent and make its holds, all or none; durable when it returns. Raises StoreError when the store fails.

        With `patient`, a call whose hold does not fit while others may come back waits for them, as long as its budget says, behind
        those that came before it; a caller that is cancelled leaves the line.
        """
        waiter: Waiter = asyncio.get_running_loop().create_future()
        waits = patient and any(hold.hard and hold.budget.settings.wait for hold in intent.holds)
        at = self._now()
        placed = self._periods.place(intent.holds, at)
        request = Request(intent.call.id, placed, intent, tokens=intent.quantum, placed_at=at, shrinks=patient and not waits, waits=waits)
        self._queue.requests.append((request, waiter))
        if self._in_flight is None and len(self._queue.requests) == 1:
            self._soon()
        return await waiter

    def leave(self, call_id: str) -> None:
        """Deny a call that waits, since its client is gone."""
        self._line.leave(call_id)

    def top_up(self, more: TopUp, on_answer: OnAnswer) -> None:
        """Ask for more of the budgets that a running call holds; `on_answer` is called in the loop.

        A denial that is not hopeless may be followed by a grant, when something came back before the call ended. Of a call that has
        ended nothing is told any more.
        """
        opened = self._open.get(more.call_id)
        if opened is None:
            return
        placed = tuple(
            replace(one, hold=replace(one.hold, amount=amount, flex=amount))
            for one in opened.placed
            if (amount := more.amounts.get(one.hold.budget.id))
        )
        request = Request(more.call_id, placed, opened=opened, tokens=more.tokens, least=more.least, shrinks=True, waits=True)
        self._queue.top_ups.append((request, on_answer))
        if self._in_flight is None and len(self._queue.top_ups) == 1 and not self._queue.requests:
            self._soon()

    def give_back(self, call_id: str, amounts: Mapping[str, int]) -> None:
        """Take so much from what an open call holds, by the ids of its budgets: it needs no more of it. Who waits is tried again."""
        opened = self._open.get(call_id)
        if opened is not None:
            self._queue.trims.append(Trim(call_id, opened, amounts))
            if self._in_flight is None:
                self._soon()

    def pause(self, call_id: str, denied: Denied, end: Callable[[], None]) -> None:
        """Hear that a running call is held up until its budget has more, or until `end` ends it."""
        if (opened := self._open.get(call_id)) is not None:
            opened.paused = Paused((denied.budget.id, to_micros(denied.state.period.starts_at)), end)

    def make_do(self, call_id: str, least: int) -> None:
        """Try a running call that waits for more again, which can do with fewer output tokens now."""
        self._line.make_do(call_id, least)

    def go_on(self, call_id: str) -> None:
        """Hear that a running call is held up no longer."""
        if (opened := self._open.get(call_id)) is not None:
            opened.paused = None

    async def refuse(  # noqa: PLR0913 - all keyword-only but the call: what its row says
        self,
        call: Call,
        *,
        rule_id: str | None,
        status: int,
        more: Callable[[], Work[None]] | None = None,
        estimated_input_tokens: int | None = None,
        input_tokens_bound: int | None = None,
        denial: Denial = NO_DENIAL,
    ) -> None:
        """Write a call that is not sent; `more` (its alert) is written in the same transaction. Durable when it returns.

        `denial` is what budgets denied it, and when.
        """
        values = refused_values(
            call,
            rule_id=rule_id,
            status=status,
            ended_at=self._now(),
            instance=self._instance,
            estimated_input_tokens=estimated_input_tokens,
            input_tokens_bound=input_tokens_bound,
            denial=denial,
        )

        def work() -> Work[None]:
            yield Sql(INSERT_REFUSED, values)
            yield Sql(ADD_LATE, (call.id,))
            if more is not None:
                yield from more()

        await self._database.write(work)
        if self.on_ended is not None:
            self.on_ended([call.id])

    def settle(self, settlement: Settlement) -> None:
        """Write what a call came to, once: a second settlement of a call is counted and ignored. Durable within 50 ms."""
        opened = self._open.pop(settlement.call.id, None)
        if opened is None:
            self.stats.ignored_settlements += 1
            return
        self._line.forget(settlement.call.id)
        self.stats.lost_settlements += self._queue.release(Release(settlement, opened))
        if self._in_flight is not None:
            return
        if self._line.waits:
            self._soon()
        elif self._timer is None:
            self._later(SETTLE_WITHIN_SECONDS)

    def ends(self, call_id: str) -> None:
        """Hear that a running answer is ended for want of the top-up that it was denied last."""
        if (opened := self._open.get(call_id)) is not None:
            opened.ended = True

    def placed(self, intent: Intent) -> OpenCall:
        """Return what a call would hold that is granted all it asks for."""
        held = {hold.budget.id: hold.amount for hold in intent.holds}
        return OpenCall(self._periods.place(intent.holds, self._now()), held, intent.hold_nano)

    def numbers(self, count: int) -> int:
        """Return the first of as many numbers for steps that are written by another way."""
        return self._queue.order.take(count, at=to_micros(self._now()))

    def take_over(self, calls: Mapping[str, OpenCall]) -> None:
        """Settle calls whose intents were written by another way than `admit`; the store is well."""
        self._open.update(calls)
        self._tell_health(None)

    async def recover(self) -> int:
        """At the start: turn intents that a crash left open into `unknown`, charged at their holds; return how many."""
        found = await self._database.write(
            partial(recovery_work, at=to_micros(self._now()), order=self._queue.order, alive=frozenset(self._open))
        )
        self._queue.hour = max(self._queue.hour, from_micros(await self.rolled_until()))
        for spread in await self.spreads(since=self._now() - timedelta(days=1)):
            self._spreads.add(spread)
        await self._periods.restore(self._database, self._budgets)
        return found

    def spread(self, provider: str, day: date) -> Spread:
        """Return how far apart the least and the most of a provider's day (UTC) lie, as far as it is settled."""
        return self._spreads.of(provider, day)

    def follow(self, budgets: Sequence[Budget]) -> None:
        """Tell the state of these budgets from now on (the config was read again)."""
        self._budgets = tuple(budgets)

    async def budgets(self) -> list[BudgetState]:
        """Return the state of every budget in its current period."""
        return await self._periods.states(self._database, self._budgets)

    def _succeeded(self, job: Job, outcomes: Outcomes) -> None:
        batch = job.batch
        self._periods.stored(batch.periods)
        self._line.blocked = outcomes.blocked
        for number, trim in enumerate(batch.trims, batch.first + len(batch.releases)):
            trim.opened.held = trim.opened.held_without(trim.amounts)
            trim.opened.top_ups = trim.opened.with_step(number)
        answered = zip(batch.top_ups, job.running, outcomes.top_ups, strict=True)
        for number, (request, on_answer, answer) in enumerate(answered, batch.first_top_up):
            self._topped_up(request, on_answer, answer, number)
        for waiting, answer in self._line.answered(job.in_line, batch.waiting, outcomes.waiting):
            self._answer(waiting.request, waiting.answer, answer)
        for request, waiter, answer in zip(batch.requests, job.waiters, outcomes.requests, strict=True):
            assert answer is not None  # noqa: S101 - only who waited before waits on without a word; for the type checker
            may_wait = isinstance(answer, Denied) and request.waits and not answer.hopeless and not waiter.done()
            if not (may_wait and isinstance(answer, Denied) and self._line.join(request, waiter, answer)):
                self._answer(request, waiter, answer)
        stats = self.stats
        stats.batches += 1
        stats.settled += len(outcomes.settled)
        self._tell_health(None)
        self._spreads.settled((release.settlement, release.opened.hold_nano) for release in batch.releases)
        if outcomes.settled:
            asyncio.get_running_loop().call_soon(self._on_settled, outcomes.settled)
            if self.on_ended is not None:
                self.on_ended([one.settlement.call.id for one in outcomes.settled])

    def _answer(self, request: Request, waiter: Waiter, answer: Granted | Denied) -> None:
        """Tell what became of an intent; a granted call is open from now on."""
        if isinstance(answer, Granted):
            assert request.intent is not None  # noqa: S101 - it is no top-up; for the type checker
            self.stats.granted += 1
            held = {placed.hold.budget.id: amount for placed, amount in zip(request.placed, answer.amounts, strict=True)}
            self._open[request.call_id] = OpenCall(request.placed, held, request.intent.hold_nano, size=request.intent.size)
            if waiter.done():
                self._abandon(request.intent.call)
        else:
            self.stats.denied += 1
        if not waiter.done():
            waiter.set_result(answer)

    def _topped_up(self, request: Request, on_answer: OnAnswer, answer: Granted | Denied | None, number: int) -> None:
        """Take in what became of a top-up. What its call holds counts also when the call ended meanwhile: its release waits."""
        opened = request.opened
        assert opened is not None  # noqa: S101 - it is a top-up; for the type checker
        assert answer is not None  # noqa: S101 - running calls are always answered; for the type checker
        runs = request.call_id in self._open
        if isinstance(answer, Granted):
            self.stats.topped_up += 1
            opened.held = opened.held_with(request, answer)
            opened.hold_nano = max(opened.hold_nano, opened.dollars)
            opened.top_ups = opened.with_step(number, request.tokens, answer.tokens) + ("" if runs else UNHEARD)
            self._line.forget(request.call_id)
        else:
            opened.denied = opened.denied if opened.ended else (number, request.tokens, request.least)
            if runs and not answer.hopeless:
                self._line.run_short(request, on_answer)
            else:
                self._line.forget(request.call_id)
        if runs:
            on_answer(answer)

    def _abandon(self, call: Call) -> None:
        """Settle a call whose caller was cancelled while its intent was written: it is never sent."""
        reply = Reply(ending=Ending.CLIENT_ABORT, status=None, first_byte_at=None, ended_at=self._now(), response_bytes=0)
        self.settle(Settlement(call, reply, Reading(source=Source.NONE)))
