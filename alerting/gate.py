"""Judging before a call is sent: rules, size, drift, rates, budgets; and the settling after it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Literal, Protocol

from alerting import parts
from alerting.baselines import Baselines
from alerting.book import AlertBook
from alerting.detectors.rate_limit import RateLimits
from alerting.detectors.upstream_limit import UpstreamLimits
from alerting.finding import Finding, Occurrence, Refusal, Verdict
from alerting.people import People
from alerting.policing import Policing
from alerting.policy import Policy
from alerting.prompt_checks import Detectors, PromptChecks
from alerting.reserving import Reserving
from alerting.rule_counts import RuleCounts
from alerting.rule_settings import RuleSettings
from alerting.tool_watch import ToolWatch
from alerting.trial import STATUS, Mode, Trial
from alerting.unfit import unfit
from alerting.watch import Watch
from metering.budgets import BudgetBook
from metering.call import Call, Reply
from metering.holds import Settled, Settlement
from metering.input_size import InputSize
from metering.learning import Learner
from metering.ledger import Ledger
from metering.meter import Meter
from metering.providers import ReplyReader
from metering.reading import Reading, ReplyFacts
from metering.spool import Spool
from metering.tokens import TokenCounter
from storage.database import StoreError, Work

type Clock = Callable[[], datetime]


class Onchain(Protocol):
    """Judges transactions for a blockchain; the module that does is imported only where the config asks for it."""

    async def check(self, call: Call, *, at: datetime, enforce: bool) -> Sequence[Finding]:
        """Return what is against the call; where that does not refuse it, its transactions count as sent."""
        ...


_AT_A_STRETCH = 64


class Gate:
    """Decides on every call, and hears how it ended. In `monitor` mode nothing is refused, and findings say what would have been."""

    def __init__(  # noqa: PLR0913 - the wiring names each
        self,
        *,
        mode: Mode,
        rules: Policy,
        rule_counts: RuleCounts,
        detectors: Detectors,
        rates: RateLimits,
        budgets: BudgetBook,
        ledger: Ledger,
        meter: Meter,
        counter: TokenCounter,
        book: AlertBook,
        baselines: Baselines,
        unknown_formats: Literal["pass", "refuse"],
        now: Clock,
        learner: Learner | None = None,
        gap_share: float = 0.05,
        upstream_limits: UpstreamLimits | None = None,
        people: People | None = None,
        tools: ToolWatch | None = None,
        onchain: Onchain | None = None,
        spool: Spool | None = None,
    ) -> None:
        self._enforces = mode == "enforce"
        self._policing = Policing(rules, rule_counts)
        self._tools = tools
        self._prompts = PromptChecks(
            detectors, rates=rates, baselines=baselines, unknown_formats=unknown_formats, enforces=self._enforces, now=now
        )
        self._rates = rates
        self._ledger = ledger
        self._meter = meter
        self._counter = counter
        self._book = book
        self._now = now
        self._learner = learner
        self._people = people
        self._onchain = onchain
        self._watch = Watch(
            book=book,
            now=now,
            spread=ledger.spread,
            gap_share=gap_share,
            enforces=self._enforces,
            upstream_limits=upstream_limits or UpstreamLimits(),
        )
        self._open: dict[str, InputSize] = {}
        self._reserving = reserving = Reserving(
            budgets=budgets, ledger=ledger, meter=meter, book=book, now=now, enforces=self._enforces, answers=self, spool=spool
        )
        tools_check = () if tools is None else (reserving.without_store(tools.check),)
        self._checks = (self._policing.check, *self._prompts.before(reserving.without_store), *tools_check, *self._prompts.after())
        self._sends = reserving.without_store(self._transactions)
        self._leases = self._reserving.leases
        self.on_cut: Callable[[str, Verdict], None] | None = None
        """Ends a running call; called with its id and the reason when a hard budget has nothing left for it."""
        self.on_hold_up: Callable[[str], bool] | None = None
        """Holds the answer of a running call up, by its id; returns whether that can be done."""
        self.on_go_on: Callable[[str], None] | None = None
        """Lets it go on."""

    @property
    def rates(self) -> RateLimits:
        """The rate limits, for the gate that comes after this one."""
        return self._rates

    @property
    def rules(self) -> Sequence[RuleSettings]:
        """The rules that it was given, in the order of the config."""
        return self._policing.rules.settings

    # --- before ----------------------------------------------------------------------------------------------------------

    async def admit(self, call: Call) -> Verdict:
        """Decide on a call. Its intent, or its refusal with the alert, is durable when this returns. Raises StoreError."""
        return await self._judge(self._trial(call))

    async def _judge(self, trial: Trial) -> Verdict:
        call = trial.call
        if self._people is not None and (found := self._people.check(call, at=trial.at)):
            for finding, refusal in found:
                trial.hear(finding, refusal)
            if trial.refused:
                return await self._refuse(trial)
        for check in self._checks:
            await check(trial)
            if trial.refused:
                return await self._refuse(trial)
        if call.parts:
            await self._inside(trial)
            if trial.refused:
                return await self._refuse(trial)
        if self._onchain is not None and call.rpc is not None:
            await self._sends(trial)
            if trial.refused:
                return await self._refuse(trial)
        return await self._reserve(trial)

    async def refuse(self, call: Call, *, refusal: Refusal, message: str) -> Verdict:
        """Record a call that the proxy cannot let through (unreadable, too large …). In monitor mode it passes, and the finding says so."""
        trial = self._trial(call)
        trial.hear(unfit(call, refusal, message), refusal)
        if trial.refused:
            return await self._refuse(trial)
        return await (self._judge(trial) if refusal is Refusal.CERTIFICATE else self._reserve(trial))  # what was read can be judged

    def leave(self, call_id: str) -> None:
        """Let a call wait no longer: its client is gone."""
        self._ledger.leave(call_id)

    def _trial(self, call: Call) -> Trial:
        return Trial(call, InputSize(call, self._counter), enforces=self._enforces, at=self._now())

    async def _inside(self, trial: Trial) -> None:
        """Judge what a call asks for beside its own (a request of a batch, another model) by the rules and the size of prompts."""
        for number, each in enumerate(parts.calls(trial.call)):
            inner = self._trial(each)
            for check in (self._policing.check, self._prompts.size):
                await check(inner)
            trial.take_in(inner)
            if trial.refused:
                return
            if number % _AT_A_STRETCH == _AT_A_STRETCH - 1:
                await asyncio.sleep(0)  # a file of 50,000 requests must not hold all others up

    async def _transactions(self, trial: Trial) -> None:
        """Judge what the call would send to a blockchain, after all else: what is let through counts as sent."""
        passed, onchain = False, self._onchain
        assert onchain is not None  # noqa: S101 - only then it is called; for the type checker
        try:
            trial.hear_all(await onchain.check(trial.call, at=trial.at, enforce=self._enforces), Refusal.ONCHAIN)
            passed = trial.refused is None
        finally:
            if not passed:
                self._rates.give_back(trial.call.id)

    async def _reserve(self, trial: Trial) -> Verdict:
        """Write the intent and hold the budgets."""
        call = trial.call
        self._open[call.id] = trial.size
        held = False
        try:
            held = await self._reserving.hold(trial)
        finally:
            if not held:
                del self._open[call.id]
                self._rates.give_back(call.id)
        if not held:
            return await self._refuse(trial)
        if not self._enforces and self._people is not None and trial.occurrences:
            trial.occurrences.extend(self._people.observed(call, trial.occurrences, at=trial.at))
        self._book.enqueue(trial.occurrences)
        return trial.verdict

    async def _refuse(self, trial: Trial) -> Verdict:
        """Record a refused call, its alerts and the lock that it may bring in one transaction."""
        verdict = trial.verdict
        occurrences: Sequence[Occurrence] = tuple(trial.occurrences)
        locking = self._people.locking(trial.call, occurrences, at=trial.at) if self._people else nullcontext()
        with locking as lock:

            def alerts() -> Work[None]:
                yield from self._book.work(occurrences)
                if lock is not None:
                    yield from lock()

            status = STATUS[verdict.refusal or Refusal.POLICY]
            await self._ledger.refuse(
                trial.call,
                rule_id=verdict.rule_id,
                status=status,
                more=alerts,
                estimated_input_tokens=trial.size.estimate,
                input_tokens_bound=trial.size.bound,
                denial=trial.denial,
            )
        return verdict

    # --- after -----------------------------------------------------------------------------------------------------------

    def reader(self, call: Call, *, content_type: str | None, headers: Mapping[str, str] | None = None) -> ReplyReader | None:
        """Return a reader for the answer of a call, or None for what is not read."""
        return self._meter.reader(call, content_type=content_type, headers=headers)

    def progress(self, call_id: str, *, output_tokens: int) -> None:
        """Hear how many tokens of a call's answer have passed (about); what it holds of budgets is topped up ahead of need."""
        lease = self._leases.get(call_id)
        if lease is None:
            return
        lease.passed = output_tokens  # noted each time: a denial that comes later is judged by it, though nothing more may pass
        if output_tokens >= lease.due_at:
            self._reserving.run_on(lease)

    def cut(self, call_id: str, verdict: Verdict) -> None:
        """End a running call."""
        if self.on_cut is not None:
            self.on_cut(call_id, verdict)

    def hold_up(self, call_id: str) -> bool:
        """Hold up the answer of a running call; return whether that is done."""
        return self.on_hold_up is not None and self.on_hold_up(call_id)

    def go_on(self, call_id: str) -> None:
        """Let the answer of a running call go on."""
        if self.on_go_on is not None:
            self.on_go_on(call_id)

    def give_up(self, call_id: str) -> None:
        """Hear that an answer can be held up no longer: it is ended."""
        if (lease := self._leases.get(call_id)) is not None:
            self._reserving.wait_no_longer(lease)

    def may_cut(self, call_id: str) -> bool:
        """Say whether a call holds a lease, which may come to be refused while the call runs."""
        return call_id in self._leases

    def settle(self, call: Call, reply: Reply, facts: ReplyFacts | None) -> Reading:
        """Record how an admitted call ended. A second time, or for a call that was not admitted, nothing is recorded."""
        size = self._open.pop(call.id, None)
        reading = self._meter.read(call, reply, facts, input_tokens=size.exact if size else None)
        if size is None:
            return reading
        self._reserving.settle(Settlement(call, reply, reading, size.counted))
        self._rates.settle(call.id, _tokens(reading))
        self._watch.settled(call, reply, facts, reading)
        if self._learner is not None:
            self._learner.hear(call, reading)
        return reading

    def on_settled(self, settled: Sequence[Settled]) -> None:
        """Judge what durable settlements did to budgets: the ledger's callback."""
        self._watch.moved(settled)

    def follow(self, rules: Policy) -> None:
        """Judge new calls by these rules."""
        self._policing.rules = rules

    # --- around ----------------------------------------------------------------------------------------------------------

    def orphaned(self, calls: int) -> None:
        """Say how many calls were open when an earlier run ended: the ledger charged them at their holds."""
        self._watch.orphaned(calls)

    def degraded(self, component: str, message: str) -> None:
        """Say that a part of the gateway (store, writer, canary, clock, prices …) does not do its work."""
        self._watch.degraded(component, message)

    def recovered(self, component: str) -> None:
        """Say that a part of the gateway is well."""
        self._watch.recovered(component)

    def on_health(self, failure: StoreError | None) -> None:
        """Hear from the ledger that the store began to fail, or is well again."""
        if failure is None:
            self._watch.recovered("store")
        else:
            self._watch.degraded("store", str(failure))


def _tokens(reading: Reading) -> int | None:
    usage = reading.usage
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    return (usage.input_tokens or 0) + (usage.output_tokens or 0)
