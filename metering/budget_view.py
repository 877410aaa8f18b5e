"""A budget as people and programs see it: what is spent, held and left in its period, and where that leads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, cast

from metering import budget_hours
from metering.budgets import Budget
from metering.forecast import HOUR, WINDOW, Forecast, forecast
from metering.holds import BudgetState
from metering.ledger_rows import Json, usd
from metering.periods import Period
from storage.database import Database
from storage.times import from_micros, to_micros

type Status = Literal["ok", "warning", "exceeded"]

_RESETS = "SELECT at, actor, detail FROM audit WHERE action = 'budget.reset' AND subject = ? AND at >= ? AND at < ? ORDER BY seq"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A share of the limit that is told when it is reached."""

    share: float
    amount: int
    reached: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """Somebody set what was spent back to nothing."""

    at: datetime
    actor: str
    amount: int
    """What had been spent, in the budget's unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """One budget in its current period; amounts are in its unit (nano-dollars or tokens)."""

    budget: Budget
    period: Period
    spent: int
    held: int
    overshoot: int
    """What of the spent was taken beyond what was held for it."""
    forecast: Forecast | None
    """None: too little is known to make one."""
    resets: tuple[Reset, ...] = ()

    @property
    def left(self) -> int:
        """What is neither spent nor held by open calls; nothing where more than the limit is."""
        return max(0, self.budget.limit.amount - self.spent - self.held)

    @property
    def used(self) -> float:
        """The share of the limit that is spent."""
        return self.spent / self.budget.limit.amount

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The shares of `warn_at` and the whole, as the alerts count them."""
        limit = self.budget.limit.amount
        amounts = [(share, Decimal(str(share)) * limit) for share in (*self.budget.settings.warn_at, 1.0)]
        return tuple(Threshold(share, int(amount), self.spent >= amount) for share, amount in amounts)

    @property
    def status(self) -> Status:
        """How it stands."""
        *warnings, whole = self.thresholds
        if whole.reached:
            return "exceeded"
        return "warning" if any(threshold.reached for threshold in warnings) else "ok"

    def as_json(self) -> Json:
        """Return the one shape of a budget in commands and API. USD are decimal strings, tokens are numbers, moments RFC 3339."""
        settings = self.budget.settings
        return {
            "name": self.budget.id,
            "scope": settings.scope.model_dump(exclude_none=True),
            "unit": self.budget.limit.unit,
            "limit": self._amount(self.budget.limit.amount),
            "period": settings.period,
            "timezone": settings.timezone,
            "period_start": _moment(self.period.starts_at),
            "period_end": _moment(self.period.ends_at),
            "spent": self._amount(self.spent),
            "held": self._amount(self.held),
            "overshoot": self._amount(self.overshoot),
            "left": self._amount(self.left),
            "used": round(self.used, 6),
            "status": self.status,
            "on_exceed": settings.on_exceed,
            "thresholds": [
                {"share": threshold.share, "amount": self._amount(threshold.amount), "reached": threshold.reached}
                for threshold in self.thresholds
            ],
            "forecast": self._forecast(),
            "resets": [{"at": _moment(reset.at), "actor": reset.actor, "amount": self._amount(reset.amount)} for reset in self.resets],
        }

    def _forecast(self) -> Json | None:
        ahead = self.forecast
        if ahead is None:
            return None
        return {
            "method": ahead.method,
            "expected": self._amount(ahead.expected),
            "low": self._amount(ahead.low),
            "high": self._amount(ahead.high),
            "exceeds_at": None if ahead.exceeds_at is None else _moment(ahead.exceeds_at),
            "observed_hours": ahead.observed_hours,
        }

    def _amount(self, amount: int) -> str | int | None:
        return usd(amount) if self.budget.limit.unit == "usd" else amount


async def budget_views(database: Database, states: Sequence[BudgetState], *, now: datetime) -> list[BudgetView]:
    """Return how budgets stand, from what the ledger says of them, with their forecasts."""
    return [await _view(database, state, now) for state in states]


async def _view(database: Database, state: BudgetState, now: datetime) -> BudgetView:
    budget, period = state.budget, state.period
    hours = await budget_hours.charged(database, budget.id, since=now - WINDOW - HOUR)
    ahead = forecast(period=period, zone=budget.zone, now=now, spent=state.spent, limit=budget.limit.amount, charged=hours)
    rows = await database.read(_RESETS, (budget.id, to_micros(period.starts_at), to_micros(period.ends_at)))
    resets = tuple(Reset(from_micros(at), actor, _reset_amount(detail)) for at, actor, detail in cast("list[tuple[int, str, str]]", rows))
    return BudgetView(
        budget=budget,
        period=period,
        spent=state.spent,
        held=state.held,
        overshoot=state.overshoot,
        forecast=ahead,
        resets=resets,
    )


def _reset_amount(detail: str) -> int:
    return int(json.loads(detail)["amount"])


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
