"""What a budget would have done to the calls of the ledger: thresholds to the unit, refusals as far as the rows tell."""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

from metering.budgets import Budget
from metering.call import Consumption
from metering.ledger_rows import LedgerRow
from metering.reading import Source
from metering.recall import call_of

type ReplayMode = Literal["enforce", "monitor"]
"""`enforce`: what would have been refused was not spent. `monitor`: all was spent, refused or not."""

_UNCHARGED = frozenset({Source.NONE.value, Source.DEFERRED.value})
_SEEN_LATER = frozenset({Source.ESTIMATED.value, Source.BILLED_UNSEEN.value})
_BUDGET_REFUSED = 402
_FULL = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A settlement that carried a period over a share of the limit."""

    at: datetime
    starts_at: datetime
    call_id: str
    share: float
    spent: int


@dataclass(slots=True)
class _Period:
    """What is certainly spent and held in a period, and what is at most: they differ by calls whose refusal cannot be told."""

    spent: int = 0
    most_spent: int = 0
    most_held: int = 0


@dataclass(frozen=True, slots=True)
class _Open:
    """A call between its admission and its settlement. `sure`: it was certainly let through."""

    row: LedgerRow
    starts_at: datetime
    held: int
    least: int
    most: int
    """What it is charged; the two differ where its cost is unknown, since it is then charged at what it held."""
    sure: bool


class BudgetReplay:
    """One budget over rows in the order in which their calls began. What happened before `told_since` counts and is not told.

    A row keeps the dearest that its call could cost; what a stream really held at each moment is less, and not kept. So a call is
    certainly refused when nothing is left, certainly let through when the dearest of all open calls fits, and unknown in between.
    """

    def __init__(self, budget: Budget, *, mode: ReplayMode, told_since: datetime, most_samples: int = 10) -> None:
        self.budget = budget
        self.mode: ReplayMode = mode
        self.calls = 0
        self.refused = 0
        self.unknown = 0
        self.refused_live = 0
        self.uncertain = 0
        """Calls of unknown cost: what they held, and so were charged, is not kept."""
        self.crossings: list[Crossing] = []
        self.samples: list[LedgerRow] = []
        self.by: Mapping[str, Counter[str]] = MappingProxyType({name: Counter[str]() for name in ("day", "user", "model")})
        self._since = told_since
        self._most_samples = most_samples
        self._periods: dict[datetime, _Period] = {}
        self._open: list[tuple[datetime, int, _Open]] = []
        self._number = 0

    def add(self, rows: Iterable[LedgerRow]) -> None:
        """Take the next calls in."""
        for row in rows:
            self._settle(until=row.started_at)
            call = call_of(row)
            if not self.budget.matches(call):
                continue
            told = row.started_at >= self._since
            self.calls += told
            if row.state == "refused":
                self.refused_live += told and row.status == _BUDGET_REFUSED
            elif call.consumption is not Consumption.FREE:
                self._admit(row, result=call.consumption is Consumption.RESULT, told=told)

    def end(self) -> None:
        """Settle what is still open, as far as it was."""
        self._settle(until=None)

    def _admit(self, row: LedgerRow, *, result: bool, told: bool) -> None:
        starts_at = self.budget.period(row.started_at).starts_at
        period = self._periods.setdefault(starts_at, _Period())
        held = 0 if result else max(1, self._held(row))
        limit = self.budget.limit.amount
        is_tested = self.budget.hard and not result
        if is_tested and period.spent >= limit:
            self._tell_refused(row, told=told)
            if self.mode == "enforce":
                return
        sure = not is_tested or self.mode == "monitor" or period.most_spent + period.most_held + held <= limit
        if is_tested and period.spent < limit < period.most_spent + period.most_held + held:
            self.unknown += told
        period.most_held += held
        if row.state != "intent" and row.ended_at is not None:
            self._number += 1
            least, most = self._charge(row, held)
            opened = _Open(row, starts_at, held, least, most, sure)
            heapq.heappush(self._open, (row.ended_at, self._number, opened))

    def _tell_refused(self, row: LedgerRow, *, told: bool) -> None:
        if not told:
            return
        self.refused += 1
        self.by["day"][f"{row.started_at:%Y-%m-%d}"] += 1
        self.by["user"][row.user or "-"] += 1
        self.by["model"][row.request_model or "-"] += 1
        if len(self.samples) < self._most_samples:
            self.samples.append(row)

    def _settle(self, *, until: datetime | None) -> None:
        while self._open and (until is None or self._open[0][0] <= until):
            at, _number, one = heapq.heappop(self._open)
            period = self._periods[one.starts_at]
            period.most_held -= one.held
            period.most_spent += one.most
            before = period.spent
            period.spent += one.least if one.sure else 0
            self.uncertain += one.least != one.most and at >= self._since
            if at >= self._since:
                self._crossed(one, at, before=before, after=period.spent)

    def _crossed(self, one: _Open, at: datetime, *, before: int, after: int) -> None:
        for share in (*self.budget.settings.warn_at, _FULL):
            threshold = Decimal(str(share)) * self.budget.limit.amount
            if before < threshold <= after:
                self.crossings.append(Crossing(at=at, starts_at=one.starts_at, call_id=one.row.id, share=share, spent=after))

    def _held(self, row: LedgerRow) -> int:
        """Return the most that a call held; all of it, where it was not streamed."""
        return row.hold_nano if self.budget.limit.unit == "usd" else row.hold_tokens

    def _charge(self, row: LedgerRow, held: int) -> tuple[int, int]:
        """Return the least and the most that a call was charged."""
        if row.source in _UNCHARGED:
            return 0, 0
        known = row.cost_nano if self.budget.limit.unit == "usd" else _tokens(row)
        if known is not None:
            return known, known
        if row.source == Source.UNMETERED.value and self.budget.limit.unit == "usd":
            return 0, self.budget.limit.amount  # what it could cost is kept no more than what it did
        return (0 if row.streamed else held), held


def _tokens(row: LedgerRow) -> int | None:
    """Return the tokens that are charged; None where a part may be missing."""
    units: Mapping[str, int] = json.loads(row.units) if row.units else {}
    counts = (units.get("billed_input_tokens", row.input_tokens), units.get("billed_output_tokens", row.output_tokens))
    if counts == (None, None) or (None in counts and row.source in _SEEN_LATER):
        return None
    return (counts[0] or 0) + (counts[1] or 0)
