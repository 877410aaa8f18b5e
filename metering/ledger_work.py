"""A batch of the ledger as one unit of work: settlements first, since they give back what they held, then the intents.

Each step of a budget is one conditional UPDATE, never a read and a write after it. The holds of a batch on one budget period are
granted by one UPDATE with their sum; when the sum does not fit, they are tried one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from metering.holds import BudgetMove, BudgetState, Denied, Granted, Hold, Intent, Settled, Settlement
from metering.ledger_rows import INSERT_INTENT, SETTLE_CALL, intent_values, settled_values
from metering.periods import Period
from metering.rollups import ADD_LATE
from storage.database import Many, Sql, Value, Work

_ADD_PERIOD = (
    "INSERT INTO budget_periods (budget_id, starts_at, ends_at, spent, held) VALUES (?, ?, ?, 0, 0) "
    "ON CONFLICT (budget_id, starts_at) DO UPDATE SET ends_at = excluded.ends_at"
)
_GRANT = "UPDATE budget_periods SET held = held + ? WHERE budget_id = ? AND starts_at = ? AND spent + held + ? <= ? RETURNING spent, held"
_HOLD = "UPDATE budget_periods SET held = held + ? WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"
_SETTLE = "UPDATE budget_periods SET spent = spent + ?, held = held - ? WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"
_STATE = "SELECT spent, held FROM budget_periods WHERE budget_id = ? AND starts_at = ?"
ADD_HISTORY = (
    'INSERT INTO budget_history (at, call_id, budget_id, starts_at, event, amount, spent, held, "limit") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)'
)

type _Values = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class PlacedHold:
    """A hold in the period that it is made in, and settled in."""

    hold: Hold
    period: Period
    starts_at: int
    """Microseconds, as the store keeps it."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """What a call that is under way holds."""

    placed: tuple[PlacedHold, ...]
    hold_nano: int


@dataclass(frozen=True, slots=True)
class Request:
    """An intent that waits for its answer."""

    intent: Intent
    placed: tuple[PlacedHold, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A settlement that waits to be written; `charges` are amount and event for each placed hold."""

    settlement: Settlement
    placed: tuple[PlacedHold, ...]
    charges: tuple[tuple[int, str], ...]
    hold_nano: int = 0
    """The dearest that the call could cost, as its intent says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is written together."""

    at: int
    hour: datetime
    """The latest hour that was ever begun: calls from before may already be rolled up."""
    instance: str
    periods: tuple[tuple[str, int, int], ...] = ()
    """Budget, start and end of periods that may not be in the store yet."""
    releases: Sequence[Release] = ()
    requests: Sequence[Request] = ()


@dataclass(slots=True)
class _Run:
    """One run of a batch: a rerun starts from a new one."""

    batch: Batch
    history: list[_Values] = field(default_factory=list[_Values])

    def note(self, placed: PlacedHold, *, call_id: str, event: str, amount: int, spent: int, held: int) -> None:
        budget = placed.hold.budget
        row = (self.batch.at, call_id, budget.id, placed.starts_at, event, amount, spent, held, budget.limit.amount)
        self.history.append(row)


def batch_work(batch: Batch) -> Work[tuple[list[Settled], list[Granted | Denied]]]:
    """Write a batch; return what became of each release and each request, in their order."""
    run = _Run(batch)
    if batch.periods:
        yield Many(_ADD_PERIOD, batch.periods)
    settled = yield from _settle(run)
    answers = yield from _admit(run)
    if run.history:
        yield Many(ADD_HISTORY, run.history)
    return settled, answers


def _settle(run: _Run) -> Work[list[Settled]]:
    releases = run.batch.releases
    if not releases:
        return []
    running = yield from _apply(releases)
    settled = [Settled(release.settlement, tuple(_moves(run, release, running))) for release in releases]
    yield Many(SETTLE_CALL, [settled_values(release.settlement) for release in releases])
    late = [(release.settlement.call.id,) for release in releases if release.settlement.call.started_at < run.batch.hour]
    if late:
        yield Many(ADD_LATE, late)
    return settled


def _apply(releases: Sequence[Release]) -> Work[dict[tuple[str, int], list[int]]]:
    """Charge and release each budget period once; return its spent and held from before, to be walked along."""
    sums: dict[tuple[str, int], list[int]] = {}
    for release in releases:
        for placed, (amount, _event) in zip(release.placed, release.charges, strict=True):
            total = sums.setdefault((placed.hold.budget.id, placed.starts_at), [0, 0])
            total[0] += amount
            total[1] += placed.hold.amount
    for (budget_id, starts_at), (charged, released) in sums.items():
        rows = yield Sql(_SETTLE, (charged, released, budget_id, starts_at))
        spent, held = _pair(rows[0])
        sums[budget_id, starts_at] = [spent - charged, held + released]
    return sums


def _moves(run: _Run, release: Release, running: dict[tuple[str, int], list[int]]) -> list[BudgetMove]:
    moves: list[BudgetMove] = []
    for placed, (amount, event) in zip(release.placed, release.charges, strict=True):
        budget = placed.hold.budget
        now = running[budget.id, placed.starts_at]
        before = now[0]
        now[0] += amount
        now[1] -= placed.hold.amount
        run.note(placed, call_id=release.settlement.call.id, event=event, amount=amount, spent=now[0], held=now[1])
        moves.append(BudgetMove(BudgetState(budget, placed.period, now[0], now[1]), spent_before=before, spent_after=now[0]))
    return moves


def _admit(run: _Run) -> Work[list[Granted | Denied]]:
    requests = run.batch.requests
    if not requests:
        return []
    states = yield from _grant_together(run, requests)
    answers: list[Granted | Denied] = []
    if states is not None:
        answers.extend(map(Granted, states))
    else:
        for request in requests:
            answers.append((yield from _grant_alone(run, request)))  # noqa: PERF401 - a comprehension cannot yield from
    granted = [request for request, answer in zip(requests, answers, strict=True) if isinstance(answer, Granted)]
    if granted:
        instance = run.batch.instance
        yield Many(INSERT_INTENT, [intent_values(request.intent, holds=_kept(request.placed), instance=instance) for request in granted])
    return answers


def _grant_together(run: _Run, requests: Sequence[Request]) -> Work[list[tuple[BudgetState, ...]] | None]:
    """Grant all holds by one UPDATE a budget period; return each request's states, or None (nothing changed) when a sum does not fit."""
    groups: dict[tuple[str, int, bool], list[tuple[int, PlacedHold]]] = {}
    for position, request in enumerate(requests):
        for placed in request.placed:
            groups.setdefault((placed.hold.budget.id, placed.starts_at, placed.hold.hard), []).append((position, placed))
    done: list[tuple[list[tuple[int, PlacedHold]], int, int, int]] = []
    for members in groups.values():
        total = sum(placed.hold.amount for _position, placed in members)
        rows = yield _take(members[0][1], total)
        if not rows:
            for others, sum_of_others, _spent, _held in done:
                yield _give_back(others[0][1], sum_of_others)
            return None
        spent, held = _pair(rows[0])
        done.append((members, total, spent, held))
    states: list[list[BudgetState]] = [[] for _ in requests]
    for members, total, spent, held in done:
        running = held - total
        for position, placed in members:
            running += placed.hold.amount
            states[position].append(_note_hold(run, placed, requests[position], spent=spent, held=running))
    return [tuple(of_one) for of_one in states]


def _grant_alone(run: _Run, request: Request) -> Work[Granted | Denied]:
    """Grant the holds of one request, or give back those already made."""
    taken: list[tuple[PlacedHold, int, int]] = []
    for placed in request.placed:
        rows = yield _take(placed, placed.hold.amount)
        if not rows:
            for earlier, _spent, _held_after in taken:
                yield _give_back(earlier, earlier.hold.amount)
            rows = yield Sql(_STATE, (placed.hold.budget.id, placed.starts_at))
            spent, held = _pair(rows[0])
            return Denied(placed.hold.budget, BudgetState(placed.hold.budget, placed.period, spent, held), placed.hold.amount)
        taken.append((placed, *_pair(rows[0])))
    return Granted(tuple(_note_hold(run, placed, request, spent=spent, held=held) for placed, spent, held in taken))


def _note_hold(run: _Run, placed: PlacedHold, request: Request, *, spent: int, held: int) -> BudgetState:
    """Note a granted hold. `hold` rows are those that were tested against the limit; alert budgets write `hold_untested`."""
    event = "hold" if placed.hold.hard else "hold_untested"
    run.note(placed, call_id=request.intent.call.id, event=event, amount=placed.hold.amount, spent=spent, held=held)
    return BudgetState(placed.hold.budget, placed.period, spent, held)


def _take(placed: PlacedHold, amount: int) -> Sql:
    budget = placed.hold.budget
    if placed.hold.hard:
        return Sql(_GRANT, (amount, budget.id, placed.starts_at, amount, budget.limit.amount))
    return Sql(_HOLD, (amount, budget.id, placed.starts_at))


def _give_back(placed: PlacedHold, amount: int) -> Sql:
    return Sql(_HOLD, (-amount, placed.hold.budget.id, placed.starts_at))


def _kept(holds: Sequence[PlacedHold]) -> str | None:
    """Return the holds as the row keeps them while its call is open: what recovery needs to charge them."""
    if not holds:
        return None
    kept = [(placed.hold.budget.id, placed.starts_at, placed.hold.amount, placed.hold.budget.limit.amount) for placed in holds]
    return orjson.dumps(kept).decode()


def _pair(row: _Values) -> tuple[int, int]:
    """Return spent and held."""
    spent, held = row
    assert isinstance(spent, int)  # noqa: S101 - BIGINT NOT NULL; for the type checker
    assert isinstance(held, int)  # noqa: S101 - as above
    return spent, held
