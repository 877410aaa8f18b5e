"""Calls whose tokens are known and whose price is not."""

from alerting.finding import Action, AlertKind, Finding
from alerting.kinds import KINDS
from alerting.subjects import shown, subject_of
from metering.call import Call
from metering.reading import Reading, Source


def check(call: Call, reading: Reading) -> Finding | None:
    """Return the finding when a reading could not be priced."""
    if reading.source is not Source.UNPRICED:
        return None
    model = shown(reading.model or call.model) or "unknown"
    return Finding(
        kind=AlertKind.UNPRICED_MODEL,
        action=Action.ALERT,
        severity=KINDS[AlertKind.UNPRICED_MODEL].severity_of(blocked=False),
        title=f"No price for {model}",
        message=f"Cannot price {model!r} of {call.provider}: not in the price book; its usage is recorded without cost.",
        episode=(call.provider, model),
        subject=subject_of(call),
        evidence={"model": model, "input_tokens": reading.usage.input_tokens, "output_tokens": reading.usage.output_tokens},
        remedy="Add it under pricing.overrides.",
    )
