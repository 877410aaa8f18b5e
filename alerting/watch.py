"""Judging after the answer: what a settled call shows, and the budgets that it carried over a threshold."""

from collections.abc import Callable, Sequence
from datetime import datetime

from alerting.book import AlertBook
from alerting.detectors import budget, gateway_degraded, meter_gap, unpriced_model
from alerting.finding import AlertKind, Finding, Occurrence, Taken
from alerting.fingerprint import fingerprint
from metering.call import Call, Reply
from metering.holds import Settled
from metering.reading import Reading, ReplyFacts

type Clock = Callable[[], datetime]


class Watch:
    """Turns what became of calls into alerts; it never holds a call up."""

    def __init__(self, *, book: AlertBook, now: Clock) -> None:
        self._book = book
        self._now = now
        self._well: dict[str, bool] = {}

    def settled(self, call: Call, reply: Reply, facts: ReplyFacts | None, reading: Reading) -> None:
        """Judge one call whose reading is known."""
        found = [finding for finding in (unpriced_model.check(call, reading), meter_gap.check(call, reply, facts)) if finding]
        self._tell(found, call_id=call.id)

    def moved(self, settled: Sequence[Settled]) -> None:
        """Judge what durable settlements did to budgets. The ledger calls this once a batch."""
        for one in settled:
            call = one.settlement.call
            for move in one.moves:
                self._tell(list(budget.crossings(call, move)), call_id=call.id)

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

    def _tell(self, findings: Sequence[Finding], *, call_id: str | None) -> None:
        if findings:
            at = self._now()
            self._book.enqueue([Occurrence(finding=finding, taken=Taken.ALERTED, at=at, call_id=call_id) for finding in findings])
