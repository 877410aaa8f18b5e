"""What a call holds of its budgets before it is sent, and what its running answer holds: a quantum of output at a time."""

import sys
from asyncio import TimerHandle
from collections.abc import Sequence

from metering.budgets import Budget
from metering.call import Call, Consumption
from metering.holds import LEAST_TOKENS, Denied, Hold, TopUp
from metering.ledger_batch import PlacedHold
from metering.quote import Quote

_NEVER = sys.maxsize


def reserve(call: Call, quote: Quote, budgets: Sequence[Budget], *, enforces: bool) -> tuple[tuple[Hold, ...], int]:
    """Return what a call asks of its budgets, and for how many output tokens the part that may shrink is (0: nothing may).

    A free call needs nothing. One of unknown cost at least needs a budget with something left.
    """
    if not budgets or call.consumption is Consumption.FREE:
        return (), 0
    if call.consumption is Consumption.RESULT:
        return tuple(Hold(budget, 0, hard=False) for budget in budgets), 0  # what is ordered is owed
    quantum = _quantum(call, budgets)
    return tuple(_hold(quote, budget, quantum, hard=budget.hard and enforces) for budget in budgets), quantum


def excess(placed: Sequence[PlacedHold], call: Call, counted: Quote) -> dict[str, int]:
    """Return what a call holds of its budgets for input that its prompt does not have, by their ids.

    `placed` are its holds as they were asked for, by the bound of the prompt; `counted` is the quote by its count.
    """
    budgets = [one.hold.budget for one in placed]
    needed, _quantum = reserve(call, counted, budgets, enforces=True)
    found: dict[str, int] = {}
    for one, hold in zip(placed, needed, strict=True):
        if (much := (one.hold.amount - one.hold.flex) - (hold.amount - hold.flex)) > 0:
            found[hold.budget.id] = much
    return found


def _quantum(call: Call, budgets: Sequence[Budget]) -> int:
    """Return the output that a stream holds at first: the smallest quantum of its budgets, or less where it may not write as much.

    Answers on a WebSocket (its request is a GET) are not followed as they run, so they hold all their output.
    """
    if not call.streamed or call.consumption is not Consumption.METERED or call.method == "GET":
        return 0
    smallest = min((budget.settings.quantum for budget in budgets if budget.settings.reserve == "lease"), default=0)
    return smallest if (cap := _cap(call)) is None else min(smallest, cap)


def _hold(quote: Quote, budget: Budget, quantum: int, *, hard: bool) -> Hold:
    way = budget.settings.reserve
    read = _amount(quote, budget, 0)
    if way == "input_only":
        return Hold(budget, max(1, read), hard)
    if way == "lease" and quantum:
        amount = max(1, _amount(quote, budget, quantum))
        return Hold(budget, amount, hard, flex=max(0, amount - max(1, read)))
    return Hold(budget, max(1, _amount(quote, budget, quote.output_tokens)), hard)


def _amount(quote: Quote, budget: Budget, output_tokens: int) -> int:
    if budget.limit.unit == "tokens":
        return quote.input_tokens + output_tokens
    return quote.cost_nano if output_tokens == quote.output_tokens else quote.with_output(output_tokens)


def _cap(call: Call) -> int | None:
    return None if call.max_output_tokens is None else call.max_output_tokens * call.choices


def leased(budgets: Sequence[Budget]) -> list[Budget]:
    """Return the budgets that are topped up for a running answer."""
    return [budget for budget in budgets if budget.settings.reserve == "lease"]


def top_up(quote: Quote, budget: Budget, tokens: int, *, beyond: int) -> int:
    """Return what `tokens` more of output take of a budget, to the nano-dollar; output `beyond` which they are is held already.

    So all that is held of an answer comes to what the whole of it costs, in however many steps it was asked for.
    """
    if budget.limit.unit == "tokens":
        return tokens
    return quote.with_output(beyond + tokens) - quote.with_output(beyond)


class Lease:
    """The output that one running answer may write before its budgets have nothing left for it."""

    __slots__ = ("_cap", "_leased", "_quantum", "_quote", "call", "due_at", "level", "observed", "passed", "short", "timer")

    def __init__(self, call: Call, quote: Quote, budgets: Sequence[Budget], *, level: int) -> None:
        """Begin with the output tokens that are held."""
        cap = _cap(call)
        self._cap = _NEVER if cap is None else cap
        self._leased = leased(budgets)
        self._quantum = min(budget.settings.quantum for budget in self._leased)
        self._quote = quote
        self.call = call
        self.level = level
        """Output tokens that are held."""
        self.passed = 0
        """Output tokens that have passed (about)."""
        self.short: Denied | None = None
        """Why there is no more, as long as there is none."""
        self.timer: TimerHandle | None = None
        """Set while the answer is held up: it ends that."""
        self.observed = False
        """Whether it was told that enforce would have ended the answer."""
        self.due_at = self._ahead()
        """Output tokens from which something is to be done."""

    @property
    def used_up(self) -> bool:
        """Whether more has passed than is held, and nothing more comes. Just what is held may be all of the answer."""
        return self.short is not None and self.passed > self.level

    @property
    def may_go_on(self) -> bool:
        """Whether all that has passed is held, or all of its cap is."""
        return self.passed <= self.level or self.level >= self._cap

    @property
    def least(self) -> int:
        """The output tokens that it can do something with: those that passed beyond what is held, and some more.

        For an answer that is held up the former will do: it may have come to its end.
        """
        beyond = self.passed - self.level
        return max(0, beyond) + LEAST_TOKENS if self.timer is None else max(1, beyond)

    def ask(self) -> TopUp:
        """Return what is needed next; until it is answered nothing is due."""
        self.due_at = _NEVER
        tokens = min(max(self._quantum, self.passed - self.level + self._quantum), self._cap - self.level)
        amounts = {budget.id: top_up(self._quote, budget, tokens, beyond=self.level) for budget in self._leased}
        return TopUp(self.call.id, amounts, tokens, least=self.least)

    def granted(self, tokens: int) -> None:
        """Take in more."""
        self.level += tokens
        self.short = None
        self.due_at = self._ahead()

    def denied(self, denied: Denied) -> None:
        """Take in that there is no more for now: what is held may still be used up."""
        self.short = denied
        self.due_at = self.level + 1

    def _ahead(self) -> int:
        """Return from where on more is needed soon: half a quantum before the end, or never where the cap is held."""
        return _NEVER if self.level >= self._cap else max(1, self.level - self._quantum // 2)
