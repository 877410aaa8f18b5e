"""The terms on which a call was let through: kept in its row, so that a back-test decides by what the gateway decided by."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metering.call import Call, Consumption
from metering.holds import Intent
from metering.quote import Quote, Rates, quoted

_MICROSECOND = timedelta(microseconds=1)
_HOLDING = frozenset({Consumption.METERED, Consumption.UNREAD})
_UNREAD, _UNPRICED, _UNJUDGED, _FLAT = "r", "p", "j", "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a call could use and cost at most when it was let through."""

    quote: Quote
    cap: int | None
    """The most output that the request allows, in all its choices; None where it sets no cap."""
    quantum: int
    """The output tokens that it asked to hold at first, as a stream; 0 for what holds all that it may need."""
    granted: int
    """Those that it was let through with."""
    placed_at: datetime
    """When the periods were chosen that it is held in."""
    unread: bool
    """Its format is not read."""
    judged: bool
    """Whether budgets were asked; not in monitor mode while the store failed."""

    @classmethod
    def parse(cls, text: str, *, started_at: datetime) -> "Terms":
        """Return what `terms_text` wrote."""
        *numbers, cap, flags = text.split(",")
        read, wrote, rate_in, rate_out, requests, quantum, granted, late = map(int, numbers)
        rates = Rates(rate_in, rate_out, requests, flat=_FLAT in flags)
        return cls(
            quote=quoted(rates, input_tokens=read, output_tokens=wrote, priced=_UNPRICED not in flags),
            cap=int(cap) if cap else None,
            quantum=quantum,
            granted=granted,
            placed_at=started_at + late * _MICROSECOND,
            unread=_UNREAD in flags,
            judged=_UNJUDGED not in flags,
        )

    def applied(self, call: Call) -> Call:
        """Return a call of the ledger with what its row alone does not tell."""
        consumption = Consumption.UNREAD if self.unread else Consumption.METERED
        return replace(call, consumption=consumption, max_output_tokens=self.cap, choices=1)


@dataclass(frozen=True, slots=True)
class Denial:
    """What budgets denied a call: its terms as its row keeps them, and the number of the ledger's step."""

    terms: str | None = None
    number: int | None = None


NO_DENIAL = Denial()


def terms_text(intent: Intent, *, granted: int, placed_at: datetime, judged: bool = True) -> str | None:
    """Return the terms of an intent as its row keeps them; None for a call that cannot cost anything, or is charged as it was ordered."""
    quote, call = intent.quote, intent.call
    if quote is None or call.consumption not in _HOLDING:
        return None
    rates = quote.rates
    late = (placed_at - call.started_at) // _MICROSECOND
    unread = _UNREAD if call.consumption is Consumption.UNREAD else ""
    flags = f"{unread}{'' if quote.priced else _UNPRICED}{'' if judged else _UNJUDGED}{_FLAT if rates.flat else ''}"
    cap = "" if call.max_output_tokens is None else call.max_output_tokens * call.choices
    return (
        f"{quote.input_tokens},{quote.output_tokens},{rates.input},{rates.output},{rates.requests},"
        f"{intent.quantum},{granted},{late},{cap},{flags}"
    )


def counted_text(quote: Quote) -> str:
    """Return what a prompt was counted to after its bound had no room, as its row keeps it."""
    rates = quote.rates
    return f"{quote.input_tokens},{rates.input},{rates.output},{rates.requests}"


def counted_quote(text: str, bounded: Quote) -> Quote:
    """Return the quote by the count that `counted_text` wrote; `bounded` is the one by the bound."""
    tokens, rate_in, rate_out, requests = map(int, text.split(","))
    rates = Rates(rate_in, rate_out, requests)
    return quoted(rates, input_tokens=tokens, output_tokens=bounded.output_tokens, priced=bounded.priced)
