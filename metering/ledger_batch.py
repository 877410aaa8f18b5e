"""What the ledger gives to the store at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from metering.call import Ending
from metering.holds import LEAST_TOKENS, Denied, Granted, Hold, Intent, Settled, Settlement
from metering.input_size import InputSize
from metering.periods import Period

type Key = tuple[str, int]
"""A budget's period: its id and the start of the period in microseconds."""
UNHEARD = "-"
"""Behind a top-up of which its call did not live to hear."""
type Answer = Granted | Denied | None
"""None: it waits on, since others wait before it."""


@dataclass(frozen=True, slots=True)
class PlacedHold:
    """A hold in the period that it is made in, and settled in."""

    hold: Hold
    period: Period
    key: Key
    """The budget's period, as the store keeps it."""


@dataclass(frozen=True, slots=True)
class Paused:
    """A running answer that is held up until its budget has more for it."""

    key: Key
    """What it waits for."""
    end: Callable[[], None]
    """Ends it instead."""


@dataclass(slots=True)
class OpenCall:
    """What a call that is under way holds. It changes only once a batch is durable that changes it, never while one is written."""

    placed: tuple[PlacedHold, ...]
    held: dict[str, int]
    """By the budget's id, top-ups included."""
    hold_nano: int
    """The dearest that the call could cost, as its intent says."""
    top_ups: str = ""
    """What was granted while it ran, as its row keeps it."""
    denied: tuple[int, int, int] | None = None
    """The number of its last top-up that was denied before it was ended, the tokens that it asked for, and the least of use."""
    ended: bool = False
    """Whether its answer is being ended for want of a top-up."""
    size: InputSize | None = None
    """Of a prompt that is held by its bound."""
    paused: Paused | None = None

    @property
    def dollars(self) -> int:
        """The most nano-dollars that it holds of one budget."""
        return most_dollars(self.placed, self.held)

    def held_with(self, request: "Request", granted: Granted, held: Mapping[str, int] | None = None) -> dict[str, int]:
        """Return what it holds with a top-up; `held` is what it holds before it, where that has just changed."""
        more = {placed.hold.budget.id: amount for placed, amount in zip(request.placed, granted.amounts, strict=True)}
        return {budget_id: amount + more.get(budget_id, 0) for budget_id, amount in (held or self.held).items()}

    def held_without(self, amounts: Mapping[str, int]) -> dict[str, int]:
        """Return what it holds when it gives so much back, never less than nothing."""
        return {budget_id: max(0, amount - amounts.get(budget_id, 0)) for budget_id, amount in self.held.items()}

    def with_step(self, number: int, asked: int = 0, granted: int = 0) -> str:
        """Return what was granted while it ran with a top-up more; one of nothing is a trim."""
        return f"{self.top_ups}{',' if self.top_ups else ''}{number}:{asked}:{granted}"


def most_dollars(placed: Sequence[PlacedHold], held: Mapping[str, int]) -> int:
    """Return the most nano-dollars that are held of one budget."""
    return max((held[one.hold.budget.id] for one in placed if one.hold.budget.limit.unit == "usd"), default=0)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Holds that are asked for, all or none: those of an intent, or more for a call that runs."""

    call_id: str
    placed: tuple[PlacedHold, ...]
    intent: Intent | None = None
    opened: OpenCall | None = None
    """Of the call that runs."""
    tokens: int = 0
    """The output tokens that the `flex` of the holds is for."""
    placed_at: datetime | None = None
    """When the periods of an intent's holds were chosen."""
    least: int = LEAST_TOKENS
    """The output tokens that a running call can do something with."""
    shrinks: bool = False
    """The quantum shrinks to what is left; else only when the whole of it could never fit."""
    waits: bool = False
    """What does not fit now is tried again when something came back; until then nobody overtakes it."""


@dataclass(frozen=True, slots=True)
class Trim:
    """What a call that goes on gives back of its holds."""

    call_id: str
    opened: OpenCall
    amounts: Mapping[str, int]
    """By the budget's id."""


@dataclass(frozen=True, slots=True)
class Release:
    """A settlement that waits to be written, and what its call held."""

    settlement: Settlement
    opened: OpenCall

    @property
    def steps(self) -> str:
        """Return what was granted while it ran; with the denial that ended it, where one did."""
        opened = self.opened
        if opened.denied is None or self.settlement.reply.ending is not Ending.CUT:
            return opened.top_ups
        number, asked, least = opened.denied
        return f"{opened.with_step(number, asked)}:{least}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is written together, in this order."""

    at: int
    first: int
    """The number of its first step: each settlement, trim, top-up and intent has the next, in this order."""
    hour: datetime
    """The latest hour that was ever begun: calls from before may already be rolled up."""
    instance: str
    periods: tuple[tuple[str, int, int], ...] = ()
    """Budget, start and end of periods that may not be in the store yet."""
    releases: Sequence[Release] = ()
    trims: Sequence[Trim] = ()
    """At most one of a call."""
    top_ups: Sequence[Request] = ()
    waiting: Sequence[Request] = ()
    """Intents that did not fit before, the oldest first."""
    requests: Sequence[Request] = ()
    blocked: frozenset[Key] = frozenset()
    """What others wait for: nobody overtakes them."""

    @property
    def first_top_up(self) -> int:
        """The number of the first top-up."""
        return self.first + len(self.releases) + len(self.trims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of a batch: one answer for each request, in its order."""

    settled: list[Settled]
    top_ups: list[Answer]
    waiting: list[Answer]
    requests: list[Answer]
    blocked: frozenset[Key]
    """What is waited for now."""
