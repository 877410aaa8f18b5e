"""Judging after the answer: what a settled call shows, and the budgets that it carried over a threshold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime

from alerting.book import AlertBook
from alerting.detectors import budget, gateway_degraded, meter_gap, unpriced_model
from alerting.detectors.upstream_limit import Cleared, UpstreamLimits
from alerting.finding import AlertKind, Finding, Occurrence, Taken
from alerting.fingerprint import fingerprint
from metering.call import Call, Reply
from metering.holds import BudgetMove, Settled
from metering.reading import Reading, ReplyFacts
from metering.spread import Spread

type Clock = Callable[[], datetime]


_WOULD = "Monitor mode let the calls pass; in enforce mode it would refuse them until then."


class Watch:
    """Turns what became of calls into alerts; it never holds a call up."""

    def __init__(
        self,
        *,
        book: AlertBook,
        now: Clock,
        spread: Callable[[str, date], Spread],
        gap_share: float,
        enforces: bool,
        upstream_limits: UpstreamLimits,
    ) -> None:
        self._enforces = enforces
        self._upstream_limits = upstream_limits
        self._book = book
        self._now = now
        self._spread = spread
        self._gap_share = gap_share
        self._wide: dict[tuple[str, date], bool] = {}
        self._well: dict[str, bool] = {}

    def settled(self, call: Call, reply: Reply, facts: ReplyFacts | None, reading: Reading) -> None:
        """Judge one call whose reading is known."""
        found = [finding for finding in (unpriced_model.check(call, reading), meter_gap.check(call, reply, facts)) if finding]
        limited = self._upstream_limits.heard(call, reply, facts)
        if isinstance(limited, Cleared):
            self._book.enqueue_clear(limited.fingerprint)
        elif limited is not None:
            found.append(limited)
        self._tell(found, call_id=call.id)

    def moved(self, settled: Sequence[Settled]) -> None:
        """Judge what durable settlements did to budgets and to the certainty of the day's cost. The ledger calls this once a batch."""
        self._gaps({(one.settlement.call.provider, one.settlement.call.started_at.date()) for one in settled})
        for one in settled:
            call = one.settlement.call
            for move in one.moves:
                self._crossed(call, move)

    def _crossed(self, call: Call, move: BudgetMove) -> None:
        """Tell the thresholds that were reached; in monitor mode also that a blocking budget which is spent would refuse from here on."""
        for finding in budget.crossings(call, move):
            if self._enforces or not move.state.budget.hard or finding.kind is not AlertKind.BUDGET_EXCEEDED:
                self._tell([finding], call_id=call.id)
                continue
            told = replace(finding, message=f"{finding.message} {_WOULD}")
            self._tell([told], call_id=call.id, taken=Taken.OBSERVED)

    def _gaps(self, days: Iterable[tuple[str, date]]) -> None:
        """Say once of a provider's day that its cost became too uncertain, and again when it did so anew."""
        for provider, day in days:
            finding = meter_gap.wide(self._spread(provider, day), share=self._gap_share)
            if finding is not None and not self._wide.get((provider, day)):
                self._tell([finding], call_id=None)
            if finding is not None or (provider, day) in self._wide:
                self._wide[provider, day] = finding is not None

    def orphaned(self, calls: int) -> None:
        """Judge what a crash left open."""
        if calls:
            self._tell([meter_gap.orphaned(calls, at=self._now())], call_id=None)

    def degraded(self, component: str, message: str) -> None:
        """Say that a part of the gateway does not do its work; again raises the count of its alert."""
        self._well[component] = False
        self._tell([gateway_degraded.degraded(component, message)], call_id=None)

    def recovered(self, component: str) -> None:
        """Say that a part of the gateway is well: its alert ends. To be said at start too, for an alert that an earlier run left."""
        if self._well.get(component):
            return
        self._well[component] = True
        self._book.enqueue_clear(fingerprint(AlertKind.GATEWAY_DEGRADED, gateway_degraded.degraded_episode(component)))

    def _tell(self, findings: Sequence[Finding], *, call_id: str | None, taken: Taken = Taken.ALERTED) -> None:
        if findings:
            at = self._now()
            self._book.enqueue([Occurrence(finding=finding, taken=taken, at=at, call_id=call_id) for finding in findings])
