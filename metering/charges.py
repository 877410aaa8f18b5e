"""What a settled call takes of a budget that held it: unknown is never free."""

from metering.budgets import Budget
from metering.reading import Reading, Source
from metering.usage import Usage

_UNCHARGED = frozenset({Source.NONE, Source.DEFERRED})


def charge(budget: Budget, held: int, reading: Reading) -> tuple[int, str]:
    """Return the amount in the budget's unit, and the event of the budget's history: settle, release or charge_unknown."""
    if reading.source in _UNCHARGED:
        return 0, "release"
    known = reading.cost_nano if budget.limit.unit == "usd" else _tokens(reading)
    if known is None:
        return held, "charge_unknown"
    return known, "settle"


def untold_tokens(reading: Reading) -> int | None:
    """Return the tokens that are charged where the counts in the row of a call do not tell: other models', or none for all that came."""
    usage = reading.usage
    if usage.other_models or usage.billed_input_tokens == 0 or usage.billed_output_tokens == 0:
        return _tokens(reading)
    return None


def _tokens(reading: Reading) -> int | None:
    """Return input and output tokens, or None where a part may be missing. A provider that reports one has no other (embeddings)."""
    usage = reading.usage.charged
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    partly = usage.input_tokens is None or usage.output_tokens is None
    if partly and reading.source in {Source.ESTIMATED, Source.BILLED_UNSEEN}:
        return None
    return _sum(usage) + sum(_sum(other) for _model, other in usage.other_models)


def _sum(usage: Usage) -> int:
    return (usage.input_tokens or 0) + (usage.output_tokens or 0)
