"""Holding budgets: for a call before it is sent, and for its answer while it runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from alerting.book import AlertBook
from alerting.detectors import budget as budgets_detector
from alerting.finding import Action, Finding, Occurrence, Refusal, Taken, Verdict
from alerting.trial import Trial
from metering.budgets import Budget, BudgetBook
from metering.call import Consumption
from metering.holds import Denied, Granted, Intent, Settlement
from metering.leases import Lease, reserve
from metering.ledger import Ledger
from metering.meter import Meter
from metering.quote import Quote
from metering.room import lacks, overdrawn, unbounded
from metering.shortage import Shortage
from metering.spool import Spool
from metering.terms import Denial, terms_text
from storage.database import ConstraintError, StoreError

type Check = Callable[[Trial], Awaitable[None]]


class Answers(Protocol):
    """The answers that run, by the ids of their calls."""

    def cut(self, call_id: str, verdict: Verdict, /) -> None:
        """End one."""
        ...

    def hold_up(self, call_id: str, /) -> bool:
        """Let nothing more of one pass for now; return whether that can be done."""
        ...

    def go_on(self, call_id: str, /) -> None:
        """Let one pass again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a call asks for, and what the asking was reckoned from."""

    intent: Intent
    quote: Quote
    budgets: Sequence[Budget]


class Reserving:
    """Asks the ledger for holds and top-ups; in `monitor` mode nothing is refused or cut, and findings say what would have been."""

    def __init__(  # noqa: PLR0913 - the wiring names each
        self,
        *,
        budgets: BudgetBook,
        ledger: Ledger,
        meter: Meter,
        book: AlertBook,
        now: Callable[[], datetime],
        enforces: bool,
        answers: Answers,
        spool: Spool | None = None,
    ) -> None:
        self._budgets = budgets
        self._ledger = ledger
        self._meter = meter
        self._book = book
        self._now = now
        self._enforces = enforces
        self._answers = answers
        self._spool = None if enforces else spool
        self._shortage = Shortage(ledger, meter)
        ledger.on_short = self._shortage.relieve
        self.leases: dict[str, Lease] = {}
        """Of the answers that run, by call id."""

    async def hold(self, trial: Trial) -> bool:
        """Write the intent with its holds, and return whether it stands; else the trial has heard why not. Raises StoreError.

        Where the bound of a prompt does not fit its exact count has the last word; only then the call waits for others. Of a budget that
        others wait for nothing is held by a bound.
        """
        plan = self._plan(trial)
        if plan.budgets and trial.size.exact is None and self._ledger.waits and self._ledger.is_short_of(plan.budgets):
            await trial.size.count()
            plan = self._plan(trial)
        if budget := unbounded(trial.call, plan.quote, plan.budgets):
            trial.hear(budgets_detector.unbounded(trial.call, budget, at=trial.at), Refusal.BUDGET)
            if trial.refused:
                trial.denial = _denial(trial, plan, None)
                return False
        answer = await self._admit(plan.intent, patient=trial.size.exact is not None)
        if isinstance(answer, Denied) and trial.size.exact is None:
            await trial.size.count()
            plan = self._plan(trial)
            answer = await self._admit(plan.intent, patient=True)
        if isinstance(answer, Denied) and await self._make_room(answer):
            answer = await self._admit(plan.intent, patient=True)
        if isinstance(answer, Denied):
            trial.hear(budgets_detector.refused(trial.call, answer, waited=True), Refusal.BUDGET)
            trial.denial = _denial(trial, plan, answer.number)
            return False
        if plan.intent.quantum:
            self.leases[trial.call.id] = Lease(trial.call, plan.quote, plan.budgets, level=answer.tokens)
        if not self._enforces:
            await self._observe(trial, answer)
        return True

    def run_on(self, lease: Lease) -> None:
        """Ask for more ahead of need; end the answer when there is none and what was held has passed."""
        if lease.short is None:
            self._ledger.top_up(lease.ask(), partial(self._topped_up, lease))
        else:
            self._run_out(lease, lease.short)

    def wait_no_longer(self, lease: Lease) -> None:
        """End an answer that is held up. One whose last request is not answered yet goes on, as it would had it not been held up."""
        if lease.short is None:
            self._go_on(lease)
        else:
            self._end(lease)

    def settle(self, settlement: Settlement) -> None:
        """Write what a call came to where its intent stands."""
        lease = self.leases.pop(settlement.call.id, None)
        if lease is not None and lease.timer is not None:
            lease.timer.cancel()
        if self._spool is None or not self._spool.settle(settlement):
            self._ledger.settle(settlement)

    def without_store(self, check: Check) -> Check:
        """Return a check that monitor mode goes without while what it must write cannot be written; as it is in enforce mode."""
        spool = self._spool
        if spool is None:
            return check

        async def checked(trial: Trial) -> None:
            if spool.active:
                return
            try:
                await check(trial)
            except ConstraintError:
                raise
            except StoreError:
                return  # the intent of the call meets the same failure, which tells it

        return checked

    async def _admit(self, intent: Intent, *, patient: bool) -> Granted | Denied:
        """Write the intent; in monitor mode into the spool while the ledger cannot be written. Raises StoreError."""
        spool = self._spool
        if spool is None:
            return await self._ledger.admit(intent, patient=patient)
        if not spool.active:
            try:
                return await self._ledger.admit(intent, patient=patient)
            except ConstraintError:
                raise
            except StoreError:
                pass  # the ledger has told it
        return await spool.admit(intent)

    async def _make_room(self, denied: Denied) -> bool:
        """Count prompts of open calls for a call that does not wait; for one that does the ledger has asked for it."""
        if denied.hopeless or denied.budget.settings.wait:
            return False
        state = denied.state
        return await self._shortage.make_room(denied.budget.id, denied.needed - (denied.budget.limit.amount - state.spent - state.held))

    def _plan(self, trial: Trial) -> _Plan:
        call = trial.call
        quote = self._meter.quote(call, input_tokens=trial.size.best)
        budgets = self._budgets.matching(call)
        holds, quantum = reserve(call, quote, budgets, enforces=self._enforces)
        intent = Intent(
            call=call,
            verdict=(Action.ALERT if trial.occurrences else Action.ALLOW).value,
            rule_id=trial.rule_id,
            holds=holds,
            quantum=quantum,
            hold_nano=0 if call.consumption is Consumption.UNREAD else quote.cost_nano,  # its cost is not known, nor guessed at
            hold_tokens=quote.input_tokens + quote.output_tokens,
            estimated_input_tokens=trial.size.estimate,
            input_tokens_bound=trial.size.bound,
            quote=quote,
            size=trial.size if trial.size.exact is None else None,
        )
        return _Plan(intent=intent, quote=quote, budgets=budgets)

    async def _observe(self, trial: Trial, granted: Granted) -> None:
        """In monitor mode: find the blocking budgets that have no room for this call. `granted` holds it by its bound."""
        over = list(overdrawn(granted.states, granted.amounts))
        if not over:
            return
        bounded = trial.size.exact is None
        await trial.size.count()
        plan = self._plan(trial)
        if bounded:
            trial.size.counted = plan.quote
        needed = {hold.budget.id: hold for hold in plan.intent.holds}
        for before in over:
            hold = needed[before.budget.id]
            if lacks(before, hold):
                denied = Denied(before.budget, before, hold.amount, before.spent + hold.least > before.budget.limit.amount)
                trial.hear(budgets_detector.refused(trial.call, denied, waited=False), Refusal.BUDGET)

    def _topped_up(self, lease: Lease, answer: Granted | Denied) -> None:
        if isinstance(answer, Denied):
            lease.denied(answer)
            if lease.used_up:
                self._run_out(lease, answer)
            return
        lease.granted(answer.tokens)
        if lease.timer is not None and lease.may_go_on:
            self._go_on(lease)
        if not lease.observed and not self._enforces:
            self._observe_cut(lease, answer)
        if lease.passed >= lease.due_at and lease.call.id in self.leases:  # more passed meanwhile; it may have been the last for long
            self.run_on(lease)

    def _observe_cut(self, lease: Lease, answer: Granted) -> None:
        """In monitor mode: say once that enforce would have ended the answer."""
        before = next(overdrawn(answer.states, answer.amounts), None)
        if before is not None:
            lease.observed = True
            needed = next(amount for state, amount in zip(answer.states, answer.amounts, strict=True) if state.budget is before.budget)
            finding = budgets_detector.used_up(lease.call, before, needed=needed, passed=lease.passed)
            self._tell(lease, budgets_detector.observed_cut(finding), Taken.OBSERVED)

    def _run_out(self, lease: Lease, denied: Denied) -> None:
        """Hold an answer up that has used up what it holds, where its budget may have more within its `wait`; else end it."""
        held_up = lease.timer is not None
        wait = denied.budget.settings.wait.total_seconds()
        if denied.hopeless or not (held_up or (wait and self._answers.hold_up(lease.call.id))):
            self._end(lease)
            return
        loop = asyncio.get_running_loop()
        lease.timer = lease.timer or loop.call_later(wait, self.wait_no_longer, lease)
        self._ledger.pause(lease.call.id, denied, partial(self._end, lease))
        if not held_up:
            self._ledger.make_do(lease.call.id, lease.least)
            loop.call_soon(self._shortage.relieve)

    def _go_on(self, lease: Lease) -> None:
        self._wake(lease)
        self._answers.go_on(lease.call.id)

    def _wake(self, lease: Lease) -> None:
        """Note that an answer is held up no longer."""
        if lease.timer is not None:
            lease.timer.cancel()
            lease.timer = None
            self._ledger.go_on(lease.call.id)

    def _end(self, lease: Lease) -> None:
        denied = lease.short
        if denied is None or self.leases.pop(lease.call.id, None) is None:
            return
        self._wake(lease)
        self._ledger.ends(lease.call.id)
        finding = budgets_detector.used_up(lease.call, denied.state, needed=denied.needed, passed=lease.passed)
        self._tell(lease, finding, Taken.BLOCKED)
        verdict = Verdict(
            action=Action.BLOCK,
            findings=(finding,),
            refusal=Refusal.BUDGET,
            message=f"{finding.message} {finding.remedy}",
            rule_id=denied.budget.id,
        )
        self._answers.cut(lease.call.id, verdict)

    def _tell(self, lease: Lease, finding: Finding, taken: Taken) -> None:
        self._book.enqueue([Occurrence(finding=finding, taken=taken, at=self._now(), call_id=lease.call.id)])


def _denial(trial: Trial, plan: _Plan, number: int | None) -> Denial:
    return Denial(terms_text(plan.intent, granted=plan.intent.quantum, placed_at=trial.at), number)
