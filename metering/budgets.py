"""Budgets: which calls they are about, in what unit, over which periods."""

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from metering.call import Call
from metering.periods import Period, period_at
from metering.scope import compile_scope
from metering.settings import BudgetSettings
from metering.units import Limit

_FROM_WIDE_TO_NARROW = ("provider", "department", "service", "model", "agent", "user", "key_id")
"""What a scope speaks of: many calls first, few last."""
_WHOLE = 1.0
_REMEMBERED = 4_096
"""Combinations of caller and model whose budgets are remembered."""


class Budget:
    """One budget of the config. Its `id` is its name; two budgets are the same when their ids are."""

    __slots__ = ("_current", "id", "limit", "matches", "settings", "thresholds", "zone")

    def __init__(self, settings: BudgetSettings) -> None:
        self.id: str = settings.name
        self.settings = settings
        self.limit: Limit = settings.limit
        self.thresholds = tuple((share, self._reached_at(share)) for share in (*settings.warn_at, _WHOLE))
        """The shares that are told when they are reached, the whole included, and the least spending that reaches each."""
        self.matches = compile_scope(settings.scope)
        self.zone = ZoneInfo(settings.timezone)
        self._current: Period | None = None

    def __repr__(self) -> str:
        return f"Budget({self.id!r}, {self.limit}, {self.settings.period})"

    def _reached_at(self, share: float) -> int:
        return math.ceil(Decimal(str(share)) * self.limit.amount)  # as written in the config: 0.55 of 100 is 55

    @property
    def narrowness(self) -> tuple[list[int], int]:
        """How narrow the scope is: by its narrowest field first, then the next; of equal scopes the smaller limit is the narrower."""
        given = [rank for rank, name in enumerate(_FROM_WIDE_TO_NARROW) if getattr(self.settings.scope, name) is not None]
        return given[::-1], -self.limit.amount

    @property
    def hard(self) -> bool:
        """Whether it refuses, rather than only telling."""
        return self.settings.on_exceed == "block"

    def amount(self, *, cost_nano: int, tokens: int) -> int:
        """Return what a call takes of this budget, in the budget's unit."""
        return cost_nano if self.limit.unit == "usd" else tokens

    def period(self, at: datetime) -> Period:
        """Return the period that `at` falls in."""
        if self._current is None or at not in self._current:
            self._current = period_at(self.settings.period, self.zone, at, week_start=self.settings.week_start)
        return self._current


class BudgetBook:
    """All budgets of the config. Raises ValueError when two have one name."""

    def __init__(self, budgets: Sequence[BudgetSettings]) -> None:
        self.all: tuple[Budget, ...] = tuple(map(Budget, budgets))
        names = [budget.id for budget in self.all]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two budgets are called {twice[0]!r}: give each its own name, their spending is kept by it")
        self._remembered: dict[tuple[str | None, ...], tuple[Budget, ...]] = {}

    def matching(self, call: Call) -> tuple[Budget, ...]:
        """Return the budgets that this call counts against, the one of the narrowest scope first: refusals name it."""
        if not self.all:
            return ()
        caller = call.caller
        key = (call.provider, call.service, call.model, caller.user, caller.department, caller.agent, caller.key_id)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            matching = [budget for budget in self.all if budget.matches(call)]
            found = self._remembered[key] = tuple(sorted(matching, key=lambda budget: budget.narrowness, reverse=True))
        return found
