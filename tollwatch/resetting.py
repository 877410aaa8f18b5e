"""A budget begins anew: what it has spent is taken back, and the alerts that told of it end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerting.book import AlertBook
from alerting.detectors.budget import episode
from alerting.finding import AlertKind
from alerting.fingerprint import fingerprint
from metering.budget_reset import reset
from metering.holds import BudgetState
from metering.ledger import Ledger
from storage.database import Database
from tollwatch.control import Command


@dataclass(frozen=True, slots=True)
class BudgetReset:
    """Resets the budgets that the ledger follows."""

    database: Database
    ledger: Ledger
    alerts: AlertBook
    now: Callable[[], datetime]

    async def __call__(self, name: str, *, actor: str) -> dict[str, Any]:
        """Reset one in its current period; return what had been spent. Raises ValueError when there is no such budget."""
        states = {state.budget.id: state for state in await self.ledger.budgets()}
        if name not in states:
            known = ", ".join(sorted(states)) or "none"
            raise ValueError(f"There is no budget {name!r} in the config in force; it has: {known}")
        state = states[name]
        amount = await reset(self.database, state, at=self.now(), actor=actor)
        ended = await self._end_alerts(state) if amount else 0
        return {"reset": name, "amount": amount, "unit": state.budget.limit.unit, "alerts": ended}

    async def _end_alerts(self, state: BudgetState) -> int:
        shares = [(AlertKind.BUDGET_WARNING, share) for share in state.budget.settings.warn_at]
        ended = 0
        for kind, share in (*shares, (AlertKind.BUDGET_EXCEEDED, 1.0)):
            ended += await self.alerts.clear(fingerprint(kind, episode(state, share=share)))
        return ended


def budget_commands(resets: BudgetReset) -> Mapping[str, Command]:
    """Return the commands that change budgets."""

    async def reset_one(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        return await resets(given["name"], actor=given["actor"])

    return {"budgets.reset": reset_one}
