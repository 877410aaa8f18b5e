"""The lines of the spool, and the work that writes them into the ledger: each call once, however often it is run."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from metering.holds import Intent, Settlement
from metering.ledger_batch import OpenCall
from metering.ledger_rows import INSERT_INTENT, SETTLE_CALL, intent_values, kept_holds, settled_values
from metering.ledger_work import ADD_HISTORY, ADD_PERIOD, SETTLE_PERIOD, beyond, charges_of
from metering.rollups import ADD_LATE, ADD_LATE_ENDPOINT
from metering.terms import terms_text
from storage.database import Sql, Work
from storage.times import to_micros

type Line = dict[str, Any]
type Moved = dict[str, list[tuple[int, int]]]
"""By call id: spent and held of each of its budgets after its settlement, in the order of its holds."""

_INSERT = f"{INSERT_INTENT} ON CONFLICT (id) DO NOTHING RETURNING id"
_HOLD = "UPDATE budget_periods SET held = held + ? WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"
_SETTLE = f"{SETTLE_CALL} RETURNING id"


def intent_line(intent: Intent, opened: OpenCall, *, instance: str, at: datetime) -> bytes:
    """Return the intent as a line: the columns of its row, and the periods that it holds; no prompt, no key."""
    amounts = [(placed, opened.held[placed.hold.budget.id]) for placed in opened.placed]
    return _line(
        {
            "intent": intent_values(
                intent,
                holds=kept_holds(amounts),
                instance=instance,
                terms=terms_text(intent, granted=intent.quantum, placed_at=at, judged=False),
                number=None,
            ),
            "holds": [
                (*placed.key, to_micros(placed.period.ends_at), amount, placed.hold.budget.limit.amount) for placed, amount in amounts
            ],
        }
    )


def settlement_line(settlement: Settlement, opened: OpenCall) -> bytes:
    """Return the settlement as a line: the columns that it fills, and what it charges."""
    charges = charges_of(settlement, opened)
    return _line(
        {
            "settled": settled_values(settlement, beyond(charges), number=None, top_ups=""),
            "charges": [(*placed.key, charged, held, event, placed.hold.budget.limit.amount) for placed, held, charged, event in charges],
        }
    )


def parsed(text: bytes) -> Line | None:
    """Return a line, or None for one that cannot be read."""
    try:
        line: object = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.keys().isdisjoint(("intent", "settled")):
        return None
    return cast("Line", line)


def replay_work(lines: Sequence[Line], *, at: int, first: int) -> Work[Moved]:
    """Write lines into the ledger: what stands there already is left as it is. Return what was moved by those settled here.

    Their steps are numbered from `first`.
    """
    moved: Moved = {}
    for number, line in enumerate(lines, first):
        if "intent" in line:
            yield from _intend(line, at, number)
        elif (moves := (yield from _settle(line, at, number))) is not None:
            moved[line["settled"][-1]] = moves
    return moved


def _intend(line: Line, at: int, number: int) -> Work[None]:
    values = (*line["intent"][:-1], number)
    if not (yield Sql(_INSERT, values)):
        return
    for budget_id, starts_at, ends_at, amount, limit in line["holds"]:
        yield Sql(ADD_PERIOD, (budget_id, starts_at, ends_at))
        ((spent, held),) = yield Sql(_HOLD, (amount, budget_id, starts_at))
        yield Sql(ADD_HISTORY, (at, values[0], budget_id, starts_at, "hold_untested", amount, spent, held, limit, 0))


def _settle(line: Line, at: int, number: int) -> Work[list[tuple[int, int]] | None]:
    values = (number, *line["settled"][1:])
    call_id = values[-1]
    if not (yield Sql(_SETTLE, values)):
        return None
    moves: list[tuple[int, int]] = []
    for budget_id, starts_at, charged, held, event, limit in line["charges"]:
        over = max(0, charged - held)
        ((spent, still_held),) = yield Sql(SETTLE_PERIOD, (charged, held, over, budget_id, starts_at))
        yield Sql(ADD_HISTORY, (at, call_id, budget_id, starts_at, event, charged, spent, still_held, limit, over))
        moves.append((int(spent or 0), int(still_held or 0)))
    yield Sql(ADD_LATE, (call_id,))
    yield Sql(ADD_LATE_ENDPOINT, (call_id,))
    return moves


def _line(content: Line) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
