"""How the calls of a back-test are judged: as monitor mode does, to the call where the rows tell, or as enforce mode would."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from metering.call import Call
from metering.holds import BudgetState, Hold
from metering.leases import leased, top_up
from metering.ledger_grants import LEAST_TOKENS
from metering.recorded import Step
from metering.replay_accounts import Account, Held, Open
from metering.room import lacks, overdrawn, unbounded


class Judge(Protocol):
    """Judges calls in the order of the ledger's steps, and lets them hold what they do."""

    def begin(self, opened: Open, call: Call, most: Sequence[int]) -> bool:
        """Judge a call and make its holds, `most` at most; False where it is certainly not sent."""
        ...

    def top_up(self, opened: Open, step: Step, *, heard: bool) -> None:
        """Let a stream hold more. Where its call did not live to hear of it, nothing is said."""
        ...


class Observing:
    """As monitor mode does: everything passes and is spent, and what has no room is said."""

    def begin(self, opened: Open, call: Call, most: Sequence[int]) -> bool:
        """Judge a call and make its holds."""
        asked, terms = opened.asked, opened.recorded.terms
        judged = terms is None or terms.judged
        if judged and (budget := unbounded(call, asked.quote, opened.budgets)):
            opened.surely.add(budget.id)
        for held, sure, hold, amount, least, greatest in zip(
            opened.held, asked.held_least, asked.holds, most, asked.least, asked.most, strict=True
        ):
            account = held.account
            if judged and held.tested and _short(account.at_least(sure), sure, least):
                opened.surely.add(account.budget.id)
            elif judged and held.tested and _short(account.at_most(hold.amount), hold.amount, greatest):
                opened.maybe.add(account.budget.id)
            held.add(sure, amount, opened.number)
        return True

    def top_up(self, opened: Open, step: Step, *, heard: bool) -> None:
        """Let a stream hold more, and say once which budget would have ended it."""
        more = list(more_of(opened, step))
        for held, amount in more:
            held.add(amount, amount, step.number)
        if not heard or opened.ended:
            return
        for held, amount in more:
            name = held.account.budget.id
            if any(overdrawn([held.account.at_least()], [amount])):
                opened.ended = True
                (opened.maybe if opened.maybe_ended - {name} else opened.surely).add(name)
                return
            if any(overdrawn([held.account.at_most()], [amount])):
                opened.maybe.add(name)
                opened.maybe_ended.add(name)


class Enforcing:
    """As enforce mode would: what is refused is not spent.

    Rows do not tell how long a call would have waited, nor what the provider would have charged for an answer that is ended: what comes
    after is told as far as it is the same either way.
    """

    def begin(self, opened: Open, call: Call, most: Sequence[int]) -> bool:
        """Judge a call and make its holds."""
        asked = opened.asked
        if budget := unbounded(call, asked.quote, opened.budgets):
            opened.surely.add(budget.id)
            return False
        amounts: list[tuple[int, int]] = []
        for held, sure, amount, least, greatest in zip(opened.held, asked.held_least, most, asked.least, asked.most, strict=True):
            account = held.account
            if not held.tested or _fits(account.at_most(amount)):
                amounts.append((sure, amount))
            elif _refuses(account, least):
                (opened.maybe or opened.surely).add(account.budget.id)
                return False
            elif _fits(account.at_most(greatest.amount)) or (not account.budget.settings.wait and not lacks(account.at_most(), greatest)):
                amounts.append((min(sure, least.least), amount))
            else:
                opened.maybe.add(account.budget.id)
                amounts.append((0, amount))
        opened.sure = not opened.maybe
        for held, (sure, amount) in zip(opened.held, amounts, strict=True):
            held.add(sure if opened.sure else 0, amount, opened.number)
        return True

    def top_up(self, opened: Open, step: Step, *, heard: bool) -> None:
        """Let a stream hold more, as far as there is room."""
        if opened.ended:
            return
        last = step is opened.recorded.top_ups[-1]
        for held, amount in more_of(opened, step):
            account = held.account
            if held.tested and not _fits(account.at_most(amount)):
                worth = top_up(opened.asked.quote, account.budget, min(step.asked, LEAST_TOKENS), beyond=opened.level)
                sure = opened.sure and heard and not last and account.least.spent + worth > account.budget.limit.amount
                (opened.surely if sure else opened.maybe).add(account.budget.id)
                opened.ended, opened.sure = sure, False
                if sure:
                    return
            held.add(amount if opened.sure else 0, amount, step.number)


def more_of(opened: Open, step: Step) -> list[tuple[Held, int]]:
    """Return what a top-up holds of each budget that is topped up."""
    found: list[tuple[Held, int]] = []
    topped_up = leased(opened.budgets)
    for held in opened.held:
        budget = held.account.budget
        if budget in topped_up:
            asked = top_up(opened.asked.quote, budget, step.asked, beyond=opened.level)
            if amount := Hold(budget, asked, flex=asked).shrunk(step.granted, step.asked):
                found.append((held, amount))
    return found


def _short(after: BudgetState, amount: int, hold: Hold) -> bool:
    """Whether a budget had no room before this amount was held, for the least that the call needed."""
    return any(lacks(before, hold) for before in overdrawn([after], [amount]))


def _fits(after: BudgetState) -> bool:
    return after.spent + after.held <= after.budget.limit.amount


def _refuses(account: Account, least: Hold) -> bool:
    """Whether a budget certainly has no room for a call: at once where nobody waits, or not if all came back either."""
    before = account.at_least()
    if account.budget.settings.wait:
        before = replace(before, held=0)
    return lacks(before, least)
