"""Setting what a budget has spent in its period back to nothing: one more entry of its history, never a deletion."""

import json
from datetime import datetime
from functools import partial
from typing import cast

from metering.holds import BudgetState
from metering.ledger_work import ADD_HISTORY
from storage.audit import audit_row
from storage.database import Database, Many, Sql, Work
from storage.times import to_micros

_SPENT = "SELECT spent FROM budget_periods WHERE budget_id = ? AND starts_at = ?"
_TAKE_BACK = "UPDATE budget_periods SET spent = spent - ? WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"


def reset_work(state: BudgetState, *, at: datetime, actor: str) -> Work[int]:
    """Take back all that is spent in the period of `state`; what open calls hold stays held. Return how much it was."""
    budget, starts_at, moment = state.budget, to_micros(state.period.starts_at), to_micros(at)
    rows = cast("list[tuple[int]]", (yield Sql(_SPENT, (budget.id, starts_at))))
    amount = rows[0][0] if rows else 0
    if amount == 0:
        return 0
    ((spent, held),) = yield Sql(_TAKE_BACK, (amount, budget.id, starts_at))
    yield Many(ADD_HISTORY, [(moment, None, budget.id, starts_at, "reset", -amount, spent, held, budget.limit.amount, 0)])
    detail = {"amount": amount, "unit": "nano_usd" if budget.limit.unit == "usd" else "tokens", "period_start": starts_at}
    yield audit_row(at=at, actor=actor, action="budget.reset", subject=budget.id, detail=json.dumps(detail))
    return amount


async def reset(database: Database, state: BudgetState, *, at: datetime, actor: str) -> int:
    """Reset a budget in its period, with an entry in its history and in the audit trail; durable when it returns. Return what was spent."""
    return await database.write(partial(reset_work, state, at=at, actor=actor))
