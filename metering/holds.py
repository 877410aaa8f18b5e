"""The words between the gate and the ledger: intents with their holds, answers, settlements."""

from dataclasses import dataclass

from metering.budgets import Budget
from metering.call import Call, Reply
from metering.periods import Period
from metering.reading import Reading


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation that a call asks of one budget, in the budget's unit."""

    budget: Budget
    amount: int
    hard: bool = True
    """False: recorded, never a reason to refuse (alert budgets, monitor mode)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A call that is about to be sent. `hold_nano` is the dearest it may cost, known or not whether a budget holds it."""

    call: Call
    verdict: str
    rule_id: str | None = None
    holds: tuple[Hold, ...] = ()
    hold_nano: int = 0
    estimated_input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What is spent and held of a budget in one period, in the budget's unit."""

    budget: Budget
    period: Period
    spent: int
    held: int


@dataclass(frozen=True, slots=True)
class Granted:
    """The intent is durable and its holds are made; one state a hold, just after it."""

    states: tuple[BudgetState, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """The hold of `needed` did not fit into `budget`; nothing was written."""

    budget: Budget
    state: BudgetState
    needed: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call came to."""

    call: Call
    reply: Reply
    reading: Reading


@dataclass(frozen=True, slots=True)
class BudgetMove:
    """What a settlement did to one budget: `state` is the one after it."""

    state: BudgetState
    spent_before: int
    spent_after: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement that is durable, with what it did to each budget that its call held."""

    settlement: Settlement
    moves: tuple[BudgetMove, ...] = ()
