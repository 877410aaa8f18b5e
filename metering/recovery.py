"""What a crash left open: intents without an outcome. They may have been billed, so they are charged at their holds."""

from collections.abc import Collection

from metering.ledger_work import ADD_HISTORY
from storage.database import Many, Sql, Value, Work

_OPEN = "SELECT id FROM calls WHERE state = 'intent'"
_HOLDS = (
    "SELECT h.call_id, h.budget_id, h.starts_at, h.amount FROM holds h JOIN calls c ON c.id = h.call_id "
    "WHERE c.state = 'intent' ORDER BY h.call_id"
)
_CHARGE = "UPDATE budget_periods SET spent = spent + ?, held = held - ? WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"
_LIMIT = 'SELECT "limit" FROM budget_history WHERE budget_id = ? AND starts_at = ? ORDER BY seq DESC LIMIT 1'
_UNKNOWN = "UPDATE calls SET state = 'unknown', ending = 'unknown', source = 'billed_unseen' WHERE id = ? AND state = 'intent'"


def recovery_work(*, at: int, alive: Collection[str]) -> Work[int]:
    """Make every open intent but those `alive` unknown and charge its holds; return how many there were."""
    rows = yield Sql(_OPEN)
    ids = [row[0] for row in rows if row[0] not in alive]
    holds = yield Sql(_HOLDS)
    history: list[tuple[Value, ...]] = []
    for call_id, budget_id, starts_at, amount in holds:
        if call_id in alive:
            continue
        rows = yield Sql(_CHARGE, (amount, amount, budget_id, starts_at))
        limit = yield Sql(_LIMIT, (budget_id, starts_at))
        history.append((at, call_id, budget_id, starts_at, "charge_unknown", amount, *rows[0], *limit[0]))
    yield Many(ADD_HISTORY, history)
    yield Many("DELETE FROM holds WHERE call_id = ?", [(call_id,) for call_id in ids])
    yield Many(_UNKNOWN, [(call_id,) for call_id in ids])
    return len(ids)
