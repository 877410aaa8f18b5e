"""The words between the gate and the ledger: intents with their holds, top-ups, answers, settlements."""

from collections.abc import Mapping
from dataclasses import dataclass

from metering.budgets import Budget
from metering.call import Call, Reply
from metering.input_size import InputSize
from metering.periods import Period
from metering.quote import Quote
from metering.reading import Reading

LEAST_SHARE = 8
"""A call is not let through with less than this part of its first quantum."""
LEAST_TOKENS = 16
"""Output tokens that a top-up is worth its while for."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation that a call asks of one budget, in the budget's unit."""

    budget: Budget
    amount: int
    hard: bool = True
    """False: recorded, never a reason to refuse (alert budgets, monitor mode)."""
    flex: int = 0
    """The part of the amount that is for a quantum of output: it may shrink to what is left."""

    @property
    def least(self) -> int:
        """The least that the call is let through with; with still less of its quantum it would only be cut at once."""
        return self.amount - self.flex + -(-self.flex // LEAST_SHARE)

    def shrunk(self, tokens: int, of: int) -> int:
        """Return what it comes to when its quantum is `tokens` instead of `of`; rounded up, which still fits."""
        return self.amount - self.flex + -(-self.flex * tokens // of) if of else self.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A call that is about to be sent. `hold_nano` is the dearest it may cost, known or not whether a budget holds it."""

    call: Call
    verdict: str
    rule_id: str | None = None
    holds: tuple[Hold, ...] = ()
    """The budget of the narrowest scope first: it is the one that a refusal names."""
    quantum: int = 0
    """The output tokens that the `flex` of the holds is for."""
    hold_nano: int = 0
    hold_tokens: int = 0
    """The most tokens that it may use."""
    estimated_input_tokens: int | None = None
    input_tokens_bound: int | None = None
    """The most that the prompt can have; None where it was counted, and the estimate is the count."""
    quote: Quote | None = None
    """What its holds were reckoned from."""
    size: InputSize | None = None
    """Set where the holds are for a bound of the prompt, which may be counted later."""


@dataclass(frozen=True, slots=True)
class TopUp:
    """More that a running call asks of budgets which it holds already: for `tokens` of output, or as many of them as are left for."""

    call_id: str
    amounts: Mapping[str, int]
    """By the budget's id."""
    tokens: int
    least: int = LEAST_TOKENS
    """Less of them is of no use."""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What is spent and held of a budget in one period, in the budget's unit."""

    budget: Budget
    period: Period
    spent: int
    held: int
    overshoot: int = 0
    """What of the spent was taken beyond holds; known only where it was asked for."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The holds are made, and with them the intent is durable; one state a hold, just after it."""

    states: tuple[BudgetState, ...] = ()
    amounts: tuple[int, ...] = ()
    """What each hold came to: less than was asked for where a quantum shrank."""
    tokens: int = 0
    """The output tokens that the quantum came to."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The hold of `needed` did not fit into `budget`; nothing was written."""

    budget: Budget
    state: BudgetState
    needed: int
    hopeless: bool = False
    """It would not fit if every open hold came back either."""
    number: int | None = None
    """Of the ledger's step that it was denied at."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call came to."""

    call: Call
    reply: Reply
    reading: Reading
    counted: Quote | None = None
    """What it was quoted by the exact count of its prompt, where the bound that it holds had no room and somebody asked."""


@dataclass(frozen=True, slots=True)
class BudgetMove:
    """What a settlement did to one budget: `state` is the one after it."""

    state: BudgetState
    spent_before: int
    spent_after: int
    overshoot: int = 0
    """What the call took beyond its hold."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement that is durable, with what it did to each budget that its call held."""

    settlement: Settlement
    moves: tuple[BudgetMove, ...] = ()
