"""The accounts of a back-test: what is spent and held of each budget's period, at least and at most."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from metering.budgets import Budget
from metering.holds import BudgetState
from metering.ledger_batch import PlacedHold
from metering.periods import Period
from metering.recorded import Recorded
from metering.replay_calls import Asked


@dataclass(slots=True)
class Sums:
    """What is spent and held."""

    spent: int = 0
    held: int = 0


@dataclass(slots=True, eq=False)
class Account:
    """One budget in one period. The two sums differ by what the rows do not tell."""

    budget: Budget
    period: Period
    least: Sums = field(default_factory=Sums)
    most: Sums = field(default_factory=Sums)
    slack: int = 0
    """What of the least is held by bounds of prompts that may be counted to less."""
    full_at: int = -1
    """The number of the last step after which it may have been beyond its limit."""

    def at_least(self, more: int = 0) -> BudgetState:
        """Return the least of it, with so much more held."""
        return BudgetState(self.budget, self.period, self.least.spent, self.least.held + more)

    def at_most(self, more: int = 0) -> BudgetState:
        """Return the most of it, with so much more held."""
        return BudgetState(self.budget, self.period, self.most.spent, self.most.held + more)

    def note(self, number: int) -> None:
        """Take in that it was changed by the step of this number."""
        if self.most.spent + self.most.held > self.budget.limit.amount:
            self.full_at = number


@dataclass(slots=True, eq=False)
class Held:
    """What one call holds of an account."""

    account: Account
    tested: bool
    """Whether the budget could refuse it."""
    least: int = 0
    most: int = 0
    slack: int = 0

    def may_give_back(self, amount: int) -> None:
        """Take in how much less it may hold once its prompt is counted."""
        self.account.slack += amount - self.slack
        self.slack = amount

    def add(self, least: int, most: int, number: int) -> None:
        """Hold more, by the step of this number."""
        self.least += least
        self.most += most
        self.account.least.held += least
        self.account.most.held += most
        self.account.note(number)

    def settle(self, least: int, most: int, number: int) -> None:
        """Charge what it came to, at least and at most, instead of what is held."""
        account = self.account
        self.may_give_back(0)
        account.least.held -= self.least
        account.most.held -= self.most
        account.least.spent += least
        account.most.spent += most
        account.note(number)


@dataclass(slots=True, eq=False)
class Open:
    """A call between its admission and its settlement."""

    recorded: Recorded
    asked: Asked
    budgets: Sequence[Budget]
    held: list[Held]
    number: int
    """Of its admission."""
    placed: Sequence[PlacedHold] = ()
    """What it asked for at first."""
    level: int = 0
    """The output tokens that its stream holds."""
    sure: bool = True
    """Whether it certainly ran to the end that its row tells of."""
    ended: bool = False
    """Whether its answer was certainly ended, or said to be; it is told once."""
    surely: set[str] = field(default_factory=set[str])
    """The budgets that certainly refuse it or end its answer."""
    maybe: set[str] = field(default_factory=set[str])
    """Those that may."""
    maybe_ended: set[str] = field(default_factory=set[str])
    """Those of these that may have ended its answer."""
