"""How often each rule was tested and what came out, by day: counted in memory, written in batches."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import accumulate
from typing import cast

from alerting.finding import Action
from alerting.rule import Rule
from storage.database import Database, Done, Failed, Many, Outcome, StoreError, Work
from storage.times import from_micros, to_micros

FLUSH_AFTER_SECONDS = 5.0
"""Counts wait so long at most: what a crash (never a clean stop) may lose."""

_ADD = """
INSERT INTO rule_counts (rule_id, day, outcome, evaluations, last_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (rule_id, day, outcome) DO UPDATE SET
    evaluations = rule_counts.evaluations + excluded.evaluations,
    last_at = CASE WHEN excluded.last_at > rule_counts.last_at THEN excluded.last_at ELSE rule_counts.last_at END
"""
_SELECT = "SELECT rule_id, day, outcome, evaluations, last_at FROM rule_counts WHERE day >= ? ORDER BY rule_id, day, outcome"


class RuleOutcome(StrEnum):
    """What came of one rule and one call in its scope."""

    ALLOW = "allow"
    """It matched and allowed."""
    ALERT = "alert"
    BLOCK = "block"
    UNMATCHED = "unmatched"
    """Its conditions were tested and did not hold."""
    PASSED_OVER = "passed_over"
    """A rule before it decided: its conditions were not tested, so that this is no evaluation."""


_OF_ACTION = {Action.ALLOW: RuleOutcome.ALLOW, Action.ALERT: RuleOutcome.ALERT, Action.BLOCK: RuleOutcome.BLOCK}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCount:
    """How often a rule came to one outcome on one day (UTC)."""

    rule_id: str
    day: date
    outcome: RuleOutcome
    number: int
    last_at: datetime

    @property
    def is_evaluation(self) -> bool:
        """Whether the rule's conditions were tested."""
        return self.outcome is not RuleOutcome.PASSED_OVER


class Tally:
    """The calls that are in the scope of the same rules, counted by who decided: one addition a call, however many rules there are."""

    __slots__ = ("_decided", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        """Those in whose scope the calls are, in the order in which they are asked."""
        self._decided: dict[tuple[int, int], list[int | datetime]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted since it was last emptied."""
        return not self._decided

    def add(self, position: int, at: datetime) -> None:
        """Count a call that the rule at this position decided."""
        key = (at.toordinal(), position)
        seen = self._decided.get(key)
        if seen is None:
            self._decided[key] = [1, at]
        else:
            seen[0] = cast("int", seen[0]) + 1
            seen[1] = at

    def empty(self) -> list[RuleCount]:
        """Return what each rule came to, and begin anew."""
        decided, self._decided = self._decided, {}
        days: dict[int, dict[int, _Sum]] = {}
        for (ordinal, position), (number, at) in decided.items():
            days.setdefault(ordinal, {})[position] = (cast("int", number), cast("datetime", at))
        return [count for ordinal, by_position in days.items() for count in self._of_day(date.fromordinal(ordinal), by_position)]

    def _of_day(self, day: date, decided: Mapping[int, "_Sum"]) -> Iterator[RuleCount]:
        """Yield the counts of one day, in one pass over the rules: a thousand rules that decide must not make a million steps."""
        positions = sorted(decided)
        before = list(accumulate((decided[position] for position in positions), _plus))
        after = list(accumulate((decided[position] for position in reversed(positions)), _plus))
        for rule in self.rules:
            index = bisect_left(positions, rule.position)
            decides = index < len(positions) and positions[index] == rule.position
            later = len(positions) - index - decides
            sums = (
                (RuleOutcome.PASSED_OVER, before[index - 1] if index else None),
                (_OF_ACTION[rule.settings.action], decided[rule.position] if decides else None),
                (RuleOutcome.UNMATCHED, after[later - 1] if later else None),
            )
            for outcome, found in sums:
                if found is not None:
                    yield RuleCount(rule_id=rule.id, day=day, outcome=outcome, number=found[0], last_at=found[1])


type _Sum = tuple[int, datetime]


def _plus(one: _Sum, other: _Sum) -> _Sum:
    return one[0] + other[0], max(one[1], other[1])


class RuleCounts:
    """All counts, in memory and in the store. What the store refuses stays and is tried again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._touched: list[Tally] = []
        self._waiting: dict[tuple[str, date, RuleOutcome], RuleCount] = {}
        self._in_flight: Sequence[RuleCount] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._drains: list[asyncio.Future[None]] = []

    def add(self, tally: Tally, position: int, at: datetime) -> None:
        """Count one call, started at this moment, that the rule at this position decided."""
        if tally.is_empty:
            self._touched.append(tally)
            self._schedule()
        tally.add(position, at)

    async def since(self, day: date) -> list[RuleCount]:
        """Return the counts of this day (UTC) and later, those of the last moment included."""
        await self.flush()
        return [_count_of(row) for row in await self._database.read(_SELECT, (_day_micros(day),))]

    async def flush(self) -> None:
        """Write what was counted until now. Raises StoreError (and keeps what waits) when the store cannot."""
        for _ in range(2):  # what is on its way, and what came since
            if self._touched or self._waiting or self._in_flight is not None:
                await self._written()

    async def drain(self) -> None:
        """Wait until all is written. Raises StoreError (and keeps what waits) when the store cannot."""
        while self._touched or self._waiting or self._in_flight is not None:
            await self._written()

    async def _written(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drains.append(waiter)
        self._flush()
        await waiter

    def _schedule(self) -> None:
        if self._timer is None and self._in_flight is None and (self._touched or self._waiting):
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER_SECONDS, self._flush)

    def _fold(self) -> None:
        """Turn what was counted into rows."""
        tallies, self._touched = self._touched, []
        for tally in tallies:
            self._wait_for(tally.empty())

    def _wait_for(self, counts: Iterable[RuleCount]) -> None:
        for count in counts:
            self._waiting[count_key(count)] = _sum(count, self._waiting.get(count_key(count)))

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight is not None:
            return
        self._fold()
        counts = self._in_flight = tuple(self._waiting.values())
        self._waiting = {}

        def work() -> Work[None]:
            yield Many(_ADD, [(c.rule_id, _day_micros(c.day), c.outcome.value, c.number, to_micros(c.last_at)) for c in counts])

        try:
            self._database.submit(work, self._done)
        except StoreError as error:
            self._done(Failed(error))

    def _done(self, outcome: Outcome[None]) -> None:
        counts, self._in_flight = self._in_flight or (), None
        failure = None if isinstance(outcome, Done) else outcome.error
        if failure is not None:
            self._wait_for(counts)
        drains, self._drains = self._drains, []
        for waiter in drains:
            if waiter.done():
                continue
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(StoreError(f"Cannot write the counts of rules: {failure}"))
        self._schedule()


def count_key(count: RuleCount) -> tuple[str, date, RuleOutcome]:
    """Return what tells one count from another."""
    return (count.rule_id, count.day, count.outcome)


def _sum(count: RuleCount, other: RuleCount | None) -> RuleCount:
    if other is None:
        return count
    return RuleCount(
        rule_id=count.rule_id,
        day=count.day,
        outcome=count.outcome,
        number=count.number + other.number,
        last_at=max(count.last_at, other.last_at),
    )


def _count_of(row: Sequence[object]) -> RuleCount:
    rule_id, day, outcome, number, last_at = cast("tuple[str, int, str, int, int]", tuple(row))
    return RuleCount(
        rule_id=rule_id, day=from_micros(day).date(), outcome=RuleOutcome(outcome), number=number, last_at=from_micros(last_at)
    )


def _day_micros(day: date) -> int:
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=UTC))
