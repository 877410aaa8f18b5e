"""Whether refusing budgets have room for what a call needs, where nothing is refused: monitor mode and back-tests decide by it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from metering.budgets import Budget
from metering.call import Call, Consumption
from metering.holds import BudgetState, Hold
from metering.quote import Quote


def overdrawn(states: Sequence[BudgetState], amounts: Sequence[int]) -> Iterator[BudgetState]:
    """Yield the refusing budgets that are held beyond their limits, each as it was before the last hold; `states` are those after it."""
    for state, amount in zip(states, amounts, strict=True):
        budget = state.budget
        if budget.hard and state.spent + state.held > budget.limit.amount:
            yield replace(state, held=state.held - amount)


def lacks(before: BudgetState, hold: Hold) -> bool:
    """Whether a budget has no room for the least that a call is let through with. What is owed already asks for nothing."""
    return hold.amount > 0 and before.spent + before.held + hold.least > before.budget.limit.amount


def unbounded(call: Call, quote: Quote, budgets: Sequence[Budget]) -> Budget | None:
    """Return the first budget that refuses the call since nothing bounds its cost. A model without a price is bounded in tokens."""
    if quote.priced:
        return None
    unread = call.consumption is Consumption.UNREAD
    return next((each for each in budgets if each.settings.unpriced == "refuse" and (unread or each.limit.unit == "usd")), None)
