"""How the calls of a back-test are judged: as monitor mode does, to the call where the rows tell, or as enforce mode would."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from metering.call import Call
from metering.holds import LEAST_TOKENS, BudgetState, Hold
from metering.leases import leased, top_up
from metering.recorded import Step
from metering.replay_accounts import Account, Held, Open
from metering.room import lacks, overdrawn, unbounded


class Judge(Protocol):
    """Judges calls in the order of the ledger's steps, and lets them hold what they do."""

    def begin(self, opened: Open, call: Call, most: Sequence[int]) -> bool:
        """Judge a call and make its holds, `most` at most; False where it is certainly not sent."""
        ...

    def deny(self, opened: Open, call: Call) -> None:
        """Judge a call that was refused when it came, at the step that refused it."""
        ...

    def top_up(self, opened: Open, step: Step) -> None:
        """Let a stream hold more. Where its call did not live to hear of it, nothing is said."""
        ...

    def cut(self, opened: Open, step: Step) -> None:
        """Judge a stream that was ended for want of this step, which was denied."""
        ...


class Observing:
    """As monitor mode does: everything passes and is spent, and what has no room is said."""

    def begin(self, opened: Open, call: Call, most: Sequence[int]) -> bool:
        """Judge a call and make its holds."""
        terms = opened.recorded.terms
        if terms is None or terms.judged:
            self.deny(opened, call)
        for held, sure, amount in zip(opened.held, opened.asked.held_least, most, strict=True):
            held.add(sure, amount, opened.number)
        return True

    def deny(self, opened: Open, call: Call) -> None:
        """Say which budgets have no room for a call."""
        asked = opened.asked
        if budget := unbounded(call, asked.quote, opened.budgets):
            opened.surely.add(budget.id)
        for held, sure, hold, least, greatest in zip(opened.held, asked.held_least, asked.holds, asked.least, asked.most, strict=True):
            account = held.account
            if held.tested and _short(account.at_least(sure), sure, least):
                opened.surely.add(account.budget.id)
            elif held.tested and _short(account.at_most(hold.amount), hold.amount, greatest):
                opened.maybe.add(account.budget.id)

    def top_up(self, opened: Open, step: Step) -> None:
        """Let a stream hold more, and say once which budget would have ended it."""
        more = more_of(opened, step.asked, step.granted)
        for held, amount in more:
            held.add(amount, amount, step.number)
        if step.heard:
            self._end(opened, more, held=True)

    def cut(self, opened: Open, step: Step) -> None:
        """Say which budget would have ended an answer that one ended."""
        self._end(opened, more_of(opened, step.asked, step.asked), held=False)

    @staticmethod
    def _end(opened: Open, more: Sequence[tuple[Held, int]], *, held: bool) -> None:
        if opened.ended:
            return
        for one, amount in more:
            name, rest = one.account.budget.id, 0 if held else amount
            if any(overdrawn([one.account.at_least(rest)], [amount])):
                opened.ended = True
                (opened.maybe if opened.maybe_ended - {name} else opened.surely).add(name)
                return
            if any(overdrawn([one.account.at_most(rest)], [amount])):
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
        for held, (sure, amount), least in zip(opened.held, amounts, asked.least, strict=True):
            held.add(sure if opened.sure else 0, amount, opened.number)
            held.may_give_back(max(0, held.least - least.amount))
        return True

    def deny(self, opened: Open, call: Call) -> None:
        """Say which budget would have refused a call that one refused, when its time to wait was over."""
        asked = opened.asked
        if budget := unbounded(call, asked.quote, opened.budgets):
            opened.surely.add(budget.id)
            return
        tested = [
            (held.account, least, most) for held, least, most in zip(opened.held, asked.least, asked.most, strict=True) if held.tested
        ]
        hopeless = (account.budget.id for account, least, _most in tested if lacks(replace(account.at_least(), held=0), least))
        short = [account.budget.id for account, least, _most in tested if not _fits(account.at_least(least.amount))]
        lacking = [account.budget.id for account, least, _most in tested if lacks(account.at_least(), least)]
        then = opened.recorded.row.rule_id
        waited_behind_others = then not in short and any(account.budget.id == then for account, _least, _most in tested)
        if not waited_behind_others and lacking:
            opened.surely.add(next(itertools.chain(hopeless, (name for name in short if name == then), lacking)))
        else:  # in a line a call is refused for those who wait before it, of whom rows do not tell, though there is room for it
            opened.maybe.update(account.budget.id for account, _least, most in tested if not _fits(account.at_most(most.amount)))
            opened.maybe.update([then] if waited_behind_others and then is not None else [])

    def cut(self, opened: Open, step: Step) -> None:
        """Say which budget would have ended an answer that one ended. What was charged for it is known then."""
        if opened.ended:
            return
        worth = dict(more_of(opened, step.asked, min(step.asked, step.least)))
        whole = [(held, amount) for held, amount in more_of(opened, step.asked, step.asked) if held.tested]
        hopeless = (held for held, _amount in whole if held.account.least.spent + worth.get(held, 0) > held.account.budget.limit.amount)
        lacking = [held for held, _amount in whole if not _fits(held.account.at_least(worth.get(held, 0)))]
        if lacking and opened.sure:
            opened.surely.add(next(itertools.chain(hopeless, lacking)).account.budget.id)
            opened.ended = True
        else:
            opened.maybe.update(held.account.budget.id for held, amount in whole if not _fits(held.account.at_most(amount)))

    def top_up(self, opened: Open, step: Step) -> None:
        """Let a stream hold more, as far as there is room."""
        if opened.ended:
            if opened.sure:  # it was ended then, too, and granted this before that was known
                for held, amount in more_of(opened, step.asked, step.granted):
                    held.add(amount, amount, step.number)
            return
        went_on = any(later.asked and later.number > step.number for later in opened.recorded.top_ups)
        for held, amount in more_of(opened, step.asked, step.granted):
            account = held.account
            if held.tested and not _fits(account.at_most(amount)):
                worth = top_up(opened.asked.quote, account.budget, min(step.asked, LEAST_TOKENS), beyond=opened.level)
                sure = opened.sure and step.heard and went_on and account.least.spent + worth > account.budget.limit.amount
                (opened.surely if sure else opened.maybe).add(account.budget.id)
                opened.ended, opened.sure = sure, False
                if sure:
                    return
            held.add(amount if opened.sure else 0, amount, step.number)


def more_of(opened: Open, asked_for: int, granted: int) -> list[tuple[Held, int]]:
    """Return what a top-up holds of each budget that is topped up, where so many of the tokens asked for are granted."""
    found: list[tuple[Held, int]] = []
    topped_up = leased(opened.budgets)
    for held in opened.held:
        budget = held.account.budget
        if budget in topped_up:
            asked = top_up(opened.asked.quote, budget, asked_for, beyond=opened.level)
            if amount := Hold(budget, asked, flex=asked).shrunk(granted, asked_for):
                found.append((held, amount))
    return found


def _short(after: BudgetState, amount: int, hold: Hold) -> bool:
    """Whether a budget had no room before this amount was held, for the least that the call needed."""
    return any(lacks(before, hold) for before in overdrawn([after], [amount]))


def _fits(after: BudgetState) -> bool:
    return after.spent + after.held <= after.budget.limit.amount


def _refuses(account: Account, least: Hold) -> bool:
    """Whether a budget certainly has no room for a call: where nobody waits when all prompts are counted, else not if all came back."""
    before = account.at_least()
    held = 0 if account.budget.settings.wait else before.held - account.slack
    return lacks(replace(before, held=held), least)
