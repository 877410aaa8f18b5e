"""The holds of one request, or of many: granted by conditional UPDATEs, all or none."""

from collections.abc import Collection, Sequence

from metering.holds import LEAST_SHARE, BudgetState, Denied, Granted
from metering.ledger_batch import Key, PlacedHold, Request
from storage.database import Row, Sql, Work

_GRANT = "UPDATE budget_periods SET held = held + ? WHERE budget_id = ? AND starts_at = ? AND spent + held + ? <= ? RETURNING spent, held"
_HOLD = "UPDATE budget_periods SET held = held + ? WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"
_STATE = "SELECT spent, held FROM budget_periods WHERE budget_id = ? AND starts_at = ?"


def grant_together(requests: Sequence[Request]) -> Work[list[Granted] | None]:
    """Grant all holds by one UPDATE a budget period; return each request's answer, or None (nothing changed) when a sum does not fit."""
    groups: dict[tuple[Key, bool], list[tuple[int, PlacedHold]]] = {}
    for position, request in enumerate(requests):
        for placed in request.placed:
            groups.setdefault((placed.key, placed.hold.hard), []).append((position, placed))
    done: list[tuple[list[tuple[int, PlacedHold]], int, int, int]] = []
    for members in groups.values():
        total = sum(placed.hold.amount for _position, placed in members)
        rows = yield _take(members[0][1], total)
        if not rows:
            for others, sum_of_others, _spent, _held in done:
                yield give_back(others[0][1], sum_of_others)
            return None
        spent, held = pair(rows[0])
        done.append((members, total, spent, held))
    states: list[dict[str, BudgetState]] = [{} for _ in requests]
    for members, total, spent, held in done:
        running = held - total
        for position, placed in members:
            running += placed.hold.amount
            states[position][placed.hold.budget.id] = _state(placed, spent, running)
    return [
        Granted(
            tuple(of_one[placed.hold.budget.id] for placed in request.placed),
            tuple(placed.hold.amount for placed in request.placed),
            request.tokens,
        )
        for request, of_one in zip(requests, states, strict=True)
    ]


def grant_alone(request: Request) -> Work[tuple[Granted | Denied, list[Key]]]:
    """Grant the holds of one request, or deny them; return with it the budgets that have no room now.

    The quantum shrinks to what is left when this is the last chance, or when the whole of it could not fit if all came back.
    """
    amounts = tuple(placed.hold.amount for placed in request.placed)
    taken = yield from _take_all(request, amounts)
    if taken is not None:
        return Granted(taken, amounts, request.tokens), []
    states = yield from _states(request.placed)
    tokens = _fitting(request, states)
    if tokens:
        amounts = tuple(placed.hold.shrunk(tokens, request.tokens) for placed in request.placed)
        taken = yield from _take_all(request, amounts)
        if taken is not None:
            return Granted(taken, amounts, tokens), []
    return _denied(request, states)


def deny_behind(request: Request, blocked: Collection[Key]) -> Work[Denied]:
    """Return the denial of a request that others wait before."""
    states = yield from _states(request.placed)
    denied, _short = _denied(request, states, blocked=blocked)
    return denied


def pair(row: Row) -> tuple[int, int]:
    """Return spent and held."""
    spent, held = row
    assert isinstance(spent, int)  # noqa: S101 - BIGINT NOT NULL; for the type checker
    assert isinstance(held, int)  # noqa: S101 - as above
    return spent, held


def _take_all(request: Request, amounts: Sequence[int]) -> Work[tuple[BudgetState, ...] | None]:
    """Make the holds one after the other, or give back those already made."""
    taken: list[BudgetState] = []
    for placed, amount in zip(request.placed, amounts, strict=True):
        rows = yield _take(placed, amount)
        if not rows:
            for earlier, given in zip(request.placed[: len(taken)], amounts, strict=False):
                yield give_back(earlier, given)
            return None
        taken.append(_state(placed, *pair(rows[0])))
    return tuple(taken)


def _states(holds: Sequence[PlacedHold]) -> Work[list[BudgetState]]:
    """Read what the budgets that refuse have now."""
    states: list[BudgetState] = []
    for placed in holds:
        if placed.hold.hard:
            rows = yield Sql(_STATE, placed.key)
            states.append(_state(placed, *pair(rows[0])))
    return states


def _fitting(request: Request, states: Sequence[BudgetState]) -> int:
    """Return the output tokens that the quantum may be shrunk to; 0 where it may not, or what is left is not worth it."""
    if not request.tokens:
        return 0
    hard = [placed for placed in request.placed if placed.hold.hard]
    hope = all(_room(state) + state.held >= placed.hold.amount for placed, state in zip(hard, states, strict=True))
    if hope and not request.shrinks:
        return 0
    tokens = request.tokens
    for placed, state in zip(hard, states, strict=True):
        hold = placed.hold
        left = _room(state) - (hold.amount - hold.flex)
        if left < 0:
            return 0
        if hold.flex:
            tokens = min(tokens, left * request.tokens // hold.flex)
    return tokens if tokens >= _least(request) else 0


def _least(request: Request) -> int:
    if request.opened is not None:
        return min(request.tokens, request.least)
    return max(1, request.tokens // LEAST_SHARE)


def _denied(request: Request, states: Sequence[BudgetState], *, blocked: Collection[Key] = ()) -> tuple[Denied, list[Key]]:
    """Return the denial; it names the first budget that can never fit the hold, else the first without room now.

    Where the quantum would have been shrunk that is the first without room for the least of it.
    """
    hard = [placed for placed in request.placed if placed.hold.hard]
    short: list[tuple[PlacedHold, BudgetState]] = []
    lacking: list[tuple[PlacedHold, BudgetState]] = []
    for placed, state in zip(hard, states, strict=True):
        least = placed.hold.shrunk(_least(request), request.tokens) if request.tokens else placed.hold.amount
        if _room(state) + state.held < least:
            return Denied(state.budget, state, placed.hold.amount, hopeless=True), []
        if _room(state) < placed.hold.amount or placed.key in blocked:
            short.append((placed, state))
        if _room(state) < (least if request.shrinks else placed.hold.amount) or placed.key in blocked:
            lacking.append((placed, state))
    known = [*lacking, *short, (hard[0], states[0])]  # the last: another gateway on the same store may have given back meanwhile
    placed, state = known[0]
    return Denied(state.budget, state, placed.hold.amount), [each.key for each, _state_of in short]


def _room(state: BudgetState) -> int:
    return state.budget.limit.amount - state.spent - state.held


def _state(placed: PlacedHold, spent: int, held: int) -> BudgetState:
    return BudgetState(placed.hold.budget, placed.period, spent, held)


def _take(placed: PlacedHold, amount: int) -> Sql:
    if placed.hold.hard:
        return Sql(_GRANT, (amount, *placed.key, amount, placed.hold.budget.limit.amount))
    return Sql(_HOLD, (amount, *placed.key))


def give_back(placed: PlacedHold, amount: int) -> Sql:
    """Return the statement that takes from a hold; it answers with spent and held after it."""
    return Sql(_HOLD, (-amount, *placed.key))
