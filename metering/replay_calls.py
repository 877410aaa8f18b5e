"""What a call of the ledger asked of budgets: to the unit where its row keeps the terms, else between bounds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metering.budgets import Budget
from metering.call import Call, Consumption
from metering.charges import charge
from metering.holds import Hold
from metering.leases import reserve
from metering.quote import NO_COST, Quote, quoted
from metering.reading import Reading, Source
from metering.recorded import Recorded
from metering.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The holds of a call, in the order of its budgets."""

    quote: Quote
    holds: tuple[Hold, ...]
    """What it held when it was let through, or more."""
    held_least: tuple[int, ...]
    """The amounts that it certainly held then."""
    least: tuple[Hold, ...]
    """What it would hold by the exact count of its prompt, or less."""
    most: tuple[Hold, ...]
    """The same, or more."""
    quantum: int = 0
    """The output tokens that it held at first, as a stream."""
    grows: bool = False
    """Whether it held more and more as it ran, and the row does not tell when."""


def asked_of(recorded: Recorded, call: Call, budgets: Sequence[Budget]) -> Asked:
    """Return what a call asked of its budgets."""
    if (terms := recorded.terms) is None:
        return _without_terms(recorded, call, budgets)
    holds, quantum = reserve(call, terms.quote, budgets, enforces=True)
    same = quantum == terms.quantum
    counted = _counted(recorded, call, holds, budgets)
    least = _uncounted(call, terms.quote, budgets) if counted is None else counted
    held = _shrunk(holds, terms.granted, quantum) if same and terms.granted < quantum else holds
    return Asked(
        quote=terms.quote,
        holds=held,
        held_least=tuple(hold.amount for hold in held),
        least=least,
        most=counted or holds,
        quantum=quantum,
        grows=bool(quantum) and not same,
    )


def most_held(asked: Asked, hold: Hold, reading: Reading) -> int:
    """Return the most that a call held of a budget; of a stream whose row does not tell when it held more, all that it could need."""
    budget, quote = hold.budget, asked.quote
    if not asked.grows or budget.settings.reserve != "lease":
        return hold.amount
    whole = quote.input_tokens + quote.output_tokens if budget.limit.unit == "tokens" else quote.cost_nano
    return max(hold.amount, whole, charge(budget, 0, reading)[0])


def reading_of(recorded: Recorded) -> Reading:
    """Return what a settled call came to, as far as budgets are charged by it."""
    row = recorded.row
    if recorded.charged_tokens is not None:
        usage = Usage(input_tokens=recorded.charged_tokens, output_tokens=0)
    else:
        units: Mapping[str, int] = json.loads(row.units) if row.units else {}
        usage = Usage(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            billed_input_tokens=units.get("billed_input_tokens"),
            billed_output_tokens=units.get("billed_output_tokens"),
        )
    return Reading(source=Source(row.source) if row.source else Source.BILLED_UNSEEN, usage=usage, cost_nano=row.cost_nano)


def _counted(recorded: Recorded, call: Call, holds: tuple[Hold, ...], budgets: Sequence[Budget]) -> tuple[Hold, ...] | None:
    """Return the holds by the exact count; None where nobody counted."""
    if recorded.row.input_tokens_bound is None or call.consumption is Consumption.UNREAD:  # nothing is read of it: no count changes it
        return holds
    if recorded.counted is None:
        return None
    return reserve(call, recorded.counted, budgets, enforces=True)[0]


def _uncounted(call: Call, quote: Quote, budgets: Sequence[Budget]) -> tuple[Hold, ...]:
    """Return less than any count gives: the holds of an empty prompt, where a shorter one has no other rates."""
    empty = quoted(quote.rates, input_tokens=0, output_tokens=quote.output_tokens, priced=quote.priced)
    holds, _quantum = reserve(call, empty, budgets, enforces=True)
    return tuple(
        hold if quote.rates.flat or hold.budget.limit.unit == "tokens" else Hold(hold.budget, min(1, hold.amount), hold.hard)
        for hold in holds
    )


def _shrunk(holds: Sequence[Hold], tokens: int, of: int) -> tuple[Hold, ...]:
    return tuple(replace(hold, amount=(amount := hold.shrunk(tokens, of)), flex=amount - hold.amount + hold.flex) for hold in holds)


def _without_terms(recorded: Recorded, call: Call, budgets: Sequence[Budget]) -> Asked:
    """Return what a call asked that costs nothing, is owed already, or stood in the ledger before terms were kept."""
    if call.consumption is Consumption.FREE:
        budgets = ()
    if recorded.admitted is not None or call.consumption in {Consumption.FREE, Consumption.RESULT}:
        nothing = tuple(Hold(budget, 0, hard=False) for budget in budgets)
        return Asked(quote=NO_COST, holds=nothing, held_least=(0,) * len(nothing), least=nothing, most=nothing)
    most = tuple(Hold(budget, max(1, _dearest(recorded, budget)), budget.hard) for budget in budgets)
    return Asked(
        quote=NO_COST,
        holds=most,
        held_least=tuple(hold.amount if _held_all(recorded, hold.budget) else 1 for hold in most),
        least=tuple(Hold(hold.budget, 1, hold.hard) for hold in most),
        most=most,
    )


def _held_all(recorded: Recorded, budget: Budget) -> bool:
    """Whether a call without terms held all that it could need, and no quantum of it."""
    row = recorded.row
    return not row.streamed and budget.settings.reserve != "input_only" and row.source != Source.UNMETERED.value


def _dearest(recorded: Recorded, budget: Budget) -> int:
    row = recorded.row
    if budget.limit.unit == "tokens":
        return row.hold_tokens
    if row.source == Source.UNMETERED.value:
        return budget.limit.amount  # what it could cost is kept no more than what it did
    return row.hold_nano
