"""What a crash left open: intents without an outcome. They may have been billed, so they are charged at their holds."""

import json
from collections.abc import Collection
from typing import cast

from metering.event_order import LAST_NUMBERS, EventOrder
from metering.ledger_work import ADD_HISTORY
from metering.rollups import ADD_LATE, ADD_LATE_ENDPOINT
from storage.database import Many, Sql, Value, Work

_OPEN = "SELECT id, holds FROM calls WHERE state = 'intent'"
_CHARGE = "UPDATE budget_periods SET spent = spent + ?, held = held - ? WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"
_UNKNOWN = (
    "UPDATE calls SET state = 'unknown', ending = 'unknown', source = 'billed_unseen', floor_nano = 0, ceiling_nano = hold_nano, "
    "holds = NULL, settled_seq = ? WHERE id = ? AND state = 'intent'"
)


def recovery_work(*, at: int, order: EventOrder, alive: Collection[str]) -> Work[int]:
    """Make every open intent but those `alive` unknown and charge its holds; return how many there were. `order` goes on from the last."""
    ((admitted, settled),) = cast("list[tuple[int | None, int | None]]", (yield Sql(LAST_NUMBERS)))
    order.follow(max(admitted or 0, settled or 0))
    rows = yield Sql(_OPEN)
    left = [row for row in rows if row[0] not in alive]
    history: list[tuple[Value, ...]] = []
    for call_id, holds in left:
        for budget_id, starts_at, amount, limit in json.loads(str(holds)) if holds else ():
            rows = yield Sql(_CHARGE, (amount, amount, budget_id, starts_at))
            history.append((at, call_id, budget_id, starts_at, "charge_unknown", amount, *rows[0], limit, 0))
    yield Many(ADD_HISTORY, history)
    ended = [(call_id,) for call_id, _holds in left]
    yield Many(_UNKNOWN, [(number, call_id) for number, (call_id,) in enumerate(ended, order.take(len(ended), at=at))])
    yield Many(ADD_LATE, ended)
    yield Many(ADD_LATE_ENDPOINT, ended)
    return len(left)
