"""What a call came to: its usage, its price, and where each of them is from."""

from dataclasses import dataclass
from enum import StrEnum

from metering.usage import NO_USAGE, Usage


class Source(StrEnum):
    """Where the money of a reading is from (DESIGN.md, decision 7)."""

    PROVIDER_REPORTED = "provider_reported"
    """Usage reported by the provider, priced by us."""
    PROVIDER_PRICED = "provider_priced"
    """The provider's own cost field."""
    ESTIMATED = "estimated"
    """No usage came (a stream broken off, none asked for): counted from what passed."""
    BILLED_UNSEEN = "billed_unseen"
    """Probably charged, nothing seen: an abort before the first byte, `unknown` after a crash. The most is the hold."""
    UNPRICED = "unpriced"
    """Usage is known, the price is not. The most is the hold."""
    DEFERRED = "deferred"
    """Ordered, to be done in the background or in a batch: this call costs nothing, the one that fetches the result is charged."""
    UNMETERED = "unmetered"
    """A format that is not read: neither is known."""
    NONE = "none"
    """Nothing was consumed: refused, failed before sending, an error answer, a free endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One answer on a page of results: it may be fetched again on another page, and counts once by its id."""

    id: str
    model: str | None
    usage: Usage
    cost_nano: int | None = None
    """The provider's own price of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFacts:
    """What a reader found in the answer of a provider. All of it may be missing."""

    usage: Usage | None = None
    model: str | None = None
    complete: bool = False
    """The answer came to its own end (a last event, a whole JSON body)."""
    error: str | None = None
    """The provider's error type, when the answer is or contains an error."""
    output_text: str = ""
    """The visible output, gathered only when no usage was reported: for estimates."""
    reported_cost_nano: int | None = None
    also: Usage | None = None
    """The same call as another place of the answer counts it, where the two differ: the provider charges one of them."""
    service_tier: str | None = None
    """The tier that served the call, as the provider says; it may differ from the one asked for."""
    variant: str | None = None
    """What else the price goes by, where the answer says it: the size of a film whose order passed long before."""
    running: bool = False
    """The counts are those of a moment in the middle of the answer: more may have come after them."""
    unseen: bool = False
    """The answer is no text (sound, pictures) and reports nothing: no estimate can be made of what passed."""
    job: str | None = None
    """The id by which the same result can be asked for again (a background response, a run, a batch)."""
    results: tuple[Result, ...] = ()
    """The answers on a page of them, each of which counts the first time that it is seen."""
    deferred: bool = False
    """The work goes on after this answer: its usage comes with the result, when that is fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The priced entry of one call: what it cost at least, probably and at most, in nano-dollars; None is unknown."""

    source: Source
    usage: Usage = NO_USAGE
    model: str | None = None
    cost_nano: int | None = None
    floor_nano: int | None = None
    """What was certainly consumed, where that is not the cost itself."""
    ceiling_nano: int | None = None
    """What cannot be exceeded, where that is not the cost itself."""
    our_cost_nano: int | None = None
    """What our price table makes of the usage, beside a cost that the provider reported."""
    price_source: str | None = None
    """`genai-prices`, `unit-prices`, `override` or `provider`."""
    price_version: str | None = None
    job: str | None = None
    """The ids (with commas between) of the results that are charged here, where they can be fetched again: then they cost nothing."""

    @property
    def interval(self) -> tuple[int | None, int | None]:
        """The least and the most that the call cost; both are the cost where that is known to the point."""
        if self.source is Source.NONE:
            return 0, 0
        floor = self.cost_nano if self.floor_nano is None else self.floor_nano
        ceiling = self.cost_nano if self.ceiling_nano is None else self.ceiling_nano
        return floor, ceiling
