"""A batch of the ledger as one unit of work: first what gives back, settlements before others, then what is asked for.

Running calls come before calls that wait, those before new ones; nobody is granted what somebody before him waits for. Each step of a
budget is one conditional UPDATE: what was read before it only chooses the amount. The holds of new calls on one budget period are
granted by one UPDATE with their sum; when the sum does not fit, they are tried one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metering.charges import charge
from metering.holds import BudgetMove, BudgetState, Denied, Granted, Settled, Settlement
from metering.ledger_batch import Answer, Batch, Key, OpenCall, Outcomes, PlacedHold, Release, Request, most_dollars
from metering.ledger_grants import deny_behind, give_back, grant_alone, grant_together, pair
from metering.ledger_rows import INSERT_INTENT, KEEP_HOLDS, SETTLE_CALL, intent_values, kept_holds, settled_values
from metering.rollups import ADD_LATE, ADD_LATE_ENDPOINT
from metering.terms import terms_text
from storage.database import Many, Sql, Value, Work

ADD_PERIOD = (
    "INSERT INTO budget_periods (budget_id, starts_at, ends_at, spent, held) VALUES (?, ?, ?, 0, 0) "
    "ON CONFLICT (budget_id, starts_at) DO UPDATE SET ends_at = excluded.ends_at"
)
SETTLE_PERIOD = (
    "UPDATE budget_periods SET spent = spent + ?, held = held - ?, overshoot = overshoot + ? "
    "WHERE budget_id = ? AND starts_at = ? RETURNING spent, held"
)
ADD_HISTORY = (
    "INSERT INTO budget_history (at, call_id, budget_id, starts_at, event, amount, spent, held, "
    '"limit", overshoot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'
)

type _Values = tuple[Value, ...]
type Charge = tuple[PlacedHold, int, int, str]
"""A hold, what it came to with its top-ups, what is charged instead, and the event."""


@dataclass(slots=True)
class _Run:
    """One run of a batch: a rerun starts from a new one."""

    batch: Batch
    blocked: set[Key]
    history: list[_Values] = field(default_factory=list[_Values])
    trimmed: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """What calls hold that have given something back, by their ids."""

    def note(self, placed: PlacedHold, *, call_id: str, event: str, amount: int, state: BudgetState, overshoot: int = 0) -> None:
        budget = placed.hold.budget
        row = (self.batch.at, call_id, *placed.key, event, amount, state.spent, state.held, budget.limit.amount, overshoot)
        self.history.append(row)

    def note_grant(self, request: Request, granted: Granted) -> None:
        """Note what was granted. Events without `_untested` are those that were tested against the limit."""
        event = "hold" if request.opened is None else "topup"
        for placed, amount, state in zip(request.placed, granted.amounts, granted.states, strict=True):
            told = event if placed.hold.hard else f"{event}_untested"
            self.note(placed, call_id=request.call_id, event=told, amount=amount, state=state)


def batch_work(batch: Batch) -> Work[Outcomes]:
    """Write a batch; return what became of everything in it."""
    run = _Run(batch, blocked=set(batch.blocked))
    if batch.periods:
        yield Many(ADD_PERIOD, batch.periods)
    settled = yield from _settle(run)
    yield from _trim(run)
    top_ups = yield from _top_up(run)
    number = batch.first_top_up + len(batch.top_ups)
    waiting = yield from _one_by_one(run, batch.waiting, first=number, again=True)
    requests = yield from _admit(run, first=number + len(batch.waiting))
    intents = [
        *_granted(run, batch.waiting, waiting, first=number),
        *_granted(run, batch.requests, requests, first=number + len(batch.waiting)),
    ]
    if intents:
        yield Many(INSERT_INTENT, intents)
    if run.history:
        yield Many(ADD_HISTORY, run.history)
    return Outcomes(settled=settled, top_ups=top_ups, waiting=waiting, requests=requests, blocked=frozenset(run.blocked))


# --- settlements ---------------------------------------------------------------------------------------------------------


def _settle(run: _Run) -> Work[list[Settled]]:
    releases = run.batch.releases
    if not releases:
        return []
    charges = [charges_of(release.settlement, release.opened) for release in releases]
    running = yield from _apply(charges)
    settled = [
        Settled(release.settlement, tuple(_moves(run, release, of_one, running))) for release, of_one in zip(releases, charges, strict=True)
    ]
    yield Many(
        SETTLE_CALL,
        [
            settled_values(release.settlement, beyond(of_one), number=number, top_ups=release.steps)
            for number, (release, of_one) in enumerate(zip(releases, charges, strict=True), run.batch.first)
        ],
    )
    late = [(release.settlement.call.id,) for release in releases if release.settlement.call.started_at < run.batch.hour]
    if late:
        yield Many(ADD_LATE, late)
        yield Many(ADD_LATE_ENDPOINT, late)
    return settled


def charges_of(settlement: Settlement, opened: OpenCall) -> list[Charge]:
    """Return what a settlement charges to each budget that its call held."""
    reading = settlement.reading
    found: list[Charge] = []
    for placed in opened.placed:
        budget = placed.hold.budget
        held = opened.held[budget.id]
        found.append((placed, held, *charge(budget, held, reading)))
    return found


def beyond(charges: Sequence[Charge]) -> int | None:
    """Return by how many nano-dollars a call exceeded what it held of a budget; None where none held it."""
    beyond: int | None = None
    for placed, held, charged, _event in charges:
        if placed.hold.budget.limit.unit == "usd":
            beyond = max(beyond or 0, charged - held)
    return beyond


def _apply(charges: Sequence[Sequence[Charge]]) -> Work[dict[Key, list[int]]]:
    """Charge and release each budget period once; return its spent and held from before, to be walked along."""
    sums: dict[Key, list[int]] = {}
    for of_one in charges:
        for placed, held, charged, _event in of_one:
            total = sums.setdefault(placed.key, [0, 0, 0])
            total[0] += charged
            total[1] += held
            total[2] += max(0, charged - held)
    for key, (charged, released, beyond) in sums.items():
        rows = yield Sql(SETTLE_PERIOD, (charged, released, beyond, *key))
        spent, held = pair(rows[0])
        sums[key] = [spent - charged, held + released]
    return sums


def _moves(run: _Run, release: Release, charges: Sequence[Charge], running: dict[Key, list[int]]) -> list[BudgetMove]:
    moves: list[BudgetMove] = []
    for placed, held, charged, event in charges:
        budget = placed.hold.budget
        now = running[placed.key]
        before = now[0]
        now[0] += charged
        now[1] -= held
        beyond = max(0, charged - held)
        state = BudgetState(budget, placed.period, now[0], now[1])
        run.note(placed, call_id=release.settlement.call.id, event=event, amount=charged, state=state, overshoot=beyond)
        moves.append(BudgetMove(state, spent_before=before, spent_after=now[0], overshoot=beyond))
    return moves


# --- running calls -------------------------------------------------------------------------------------------------------


def _trim(run: _Run) -> Work[None]:
    """Take from holds what they need no more."""
    rows: list[_Values] = []
    for number, trim in enumerate(run.batch.trims, run.batch.first + len(run.batch.releases)):
        held = run.trimmed[trim.call_id] = trim.opened.held_without(trim.amounts)
        for placed in trim.opened.placed:
            budget = placed.hold.budget
            if amount := trim.opened.held[budget.id] - held[budget.id]:
                spent, left = pair((yield give_back(placed, amount))[0])
                state = BudgetState(budget, placed.period, spent, left)
                run.note(placed, call_id=trim.call_id, event="trim", amount=amount, state=state)
        rows.append(_kept(trim.opened, held, top_ups=trim.opened.with_step(number), call_id=trim.call_id))
    if rows:
        yield Many(KEEP_HOLDS, rows)


# --- holds ---------------------------------------------------------------------------------------------------------------


def _top_up(run: _Run) -> Work[list[Answer]]:
    """Answer running calls. They come first: who waits has lost nothing yet."""
    requests = run.batch.top_ups
    answers: list[Answer] = []
    rows: list[_Values] = []
    for number, request in enumerate(requests, run.batch.first_top_up):
        answer, short = yield from grant_alone(request)
        answers.append(answer)
        run.blocked.update(short)
        if isinstance(answer, Granted):
            run.note_grant(request, answer)
            rows.append(_topped_up(request, answer, number, run.trimmed.get(request.call_id)))
    if rows:
        yield Many(KEEP_HOLDS, rows)
    return answers


def _topped_up(request: Request, granted: Granted, number: int, trimmed: Mapping[str, int] | None) -> _Values:
    opened = request.opened
    assert opened is not None  # noqa: S101 - it is a top-up; for the type checker
    held = opened.held_with(request, granted, trimmed)
    return _kept(opened, held, top_ups=opened.with_step(number, request.tokens, granted.tokens), call_id=request.call_id)


def _kept(opened: OpenCall, held: Mapping[str, int], *, top_ups: str, call_id: str) -> _Values:
    """Return the parameters of KEEP_HOLDS."""
    most = most_dollars(opened.placed, held)
    return kept_holds([(placed, held[placed.hold.budget.id]) for placed in opened.placed]), most, most, top_ups, call_id


def _admit(run: _Run, *, first: int) -> Work[list[Answer]]:
    """Answer new calls: all by one UPDATE a budget period where nobody waits and the sum fits."""
    requests = run.batch.requests
    if not requests:
        return []
    if not run.blocked:
        granted = yield from grant_together(requests)
        if granted is not None:
            for request, answer in zip(requests, granted, strict=True):
                run.note_grant(request, answer)
            return list(granted)
    return (yield from _one_by_one(run, requests, first=first, again=False))


def _one_by_one(run: _Run, requests: Sequence[Request], *, first: int, again: bool) -> Work[list[Answer]]:
    """Answer calls in their order, the first by the step of the number `first`; `again` for those that were denied before."""
    answers: list[Answer] = []
    for number, request in enumerate(requests, first):
        answer: Answer = None
        if run.blocked.isdisjoint([placed.key for placed in request.placed if placed.hold.hard]):
            answer, short = yield from grant_alone(request)
            if request.waits:
                run.blocked.update(short)
        elif not (again and request.waits):
            answer = yield from deny_behind(request, run.blocked)
        if isinstance(answer, Granted):
            run.note_grant(request, answer)
        elif isinstance(answer, Denied):
            answer = replace(answer, number=number)
        answers.append(answer)
    return answers


def _granted(run: _Run, requests: Sequence[Request], answers: Sequence[Answer], *, first: int) -> Iterator[_Values]:
    """Yield the rows of the intents that are granted; `first` is the number of the first."""
    for number, (request, answer) in enumerate(zip(requests, answers, strict=True), first):
        if isinstance(answer, Granted) and request.intent is not None:
            holds = kept_holds(list(zip(request.placed, answer.amounts, strict=True)))
            placed_at = request.placed_at or request.intent.call.started_at
            terms = terms_text(request.intent, granted=answer.tokens, placed_at=placed_at)
            yield intent_values(request.intent, holds=holds, instance=run.batch.instance, terms=terms, number=number)
