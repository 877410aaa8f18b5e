"""In which period of its budget a hold is made: the current one, and never an earlier one again."""

from collections.abc import Callable, Sequence
from datetime import datetime

from metering.budgets import Budget
from metering.holds import BudgetState, Hold
from metering.ledger_batch import Key, PlacedHold, Request
from metering.periods import Period
from storage.database import Database, Row
from storage.times import from_micros, to_micros


class Periods:
    """The current period of each budget. A clock that is set back does not open an earlier one again."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._latest: dict[str, Period] = {}
        self._stored: set[Key] = set()

    def place(self, holds: Sequence[Hold], at: datetime) -> tuple[PlacedHold, ...]:
        """Return the holds in the periods of a moment, which is now."""
        placed: list[PlacedHold] = []
        for hold in holds:
            period = self.current(hold.budget, at)
            placed.append(PlacedHold(hold, period, (hold.budget.id, to_micros(period.starts_at))))
        return tuple(placed)

    def current(self, budget: Budget, at: datetime) -> Period:
        """Return the period of a moment, or the latest that was ever current."""
        period = budget.period(at)
        latest = self._latest.get(budget.id)
        if latest is not None and (period is latest or period.starts_at <= latest.starts_at):
            return latest
        self._latest[budget.id] = period
        return period

    def to_store(self, requests: Sequence[Request]) -> tuple[tuple[str, int, int], ...]:
        """Return budget, start and end of the periods that may not be in the store yet."""
        return tuple(
            {
                (*placed.key, to_micros(placed.period.ends_at)): None
                for request in requests
                for placed in request.placed
                if placed.key not in self._stored
            }
        )

    def stored(self, periods: Sequence[tuple[str, int, int]]) -> None:
        """Hear that these are in the store."""
        self._stored.update((budget_id, starts_at) for budget_id, starts_at, _ends_at in periods)

    async def restore(self, database: Database, budgets: Sequence[Budget]) -> None:
        """Take in the latest period that an earlier run knew of each budget."""
        rows: list[Row] = await database.read("SELECT budget_id, MAX(starts_at), ends_at FROM budget_periods GROUP BY budget_id")
        ends = {str(budget_id): (starts_at, ends_at) for budget_id, starts_at, ends_at in rows}
        for budget in budgets:
            starts_at, ends_at = ends.get(budget.id, (None, None))
            if not isinstance(starts_at, int) or not isinstance(ends_at, int):
                continue
            period = Period(from_micros(starts_at), from_micros(ends_at))
            if budget.period(period.starts_at) == period:  # else the budget was given another period or zone since
                self._latest[budget.id] = period

    async def states(self, database: Database, budgets: Sequence[Budget]) -> list[BudgetState]:
        """Return the state of every budget in its current period."""
        found: list[BudgetState] = []
        for budget in budgets:
            period = self.current(budget, self._now())
            rows = await database.read(
                "SELECT spent, held, overshoot FROM budget_periods WHERE budget_id = ? AND starts_at = ?",
                (budget.id, to_micros(period.starts_at)),
            )
            spent, held, overshoot = rows[0] if rows else (0, 0, 0)
            found.append(BudgetState(budget, period, int(spent or 0), int(held or 0), int(overshoot or 0)))
        return found
