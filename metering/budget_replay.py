"""What budgets would have done to the calls of the ledger: the steps of the ledger once more, in their order, judged as they were live."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from metering.budgets import BudgetBook
from metering.call import Call
from metering.charges import charge
from metering.leases import excess
from metering.ledger_batch import PlacedHold
from metering.ledger_periods import Periods
from metering.recall import call_of
from metering.recorded import Recorded, Step
from metering.replay_accounts import Account, Held, Open
from metering.replay_calls import asked_of, most_held, reading_of
from metering.replay_judges import Enforcing, Judge, Observing
from metering.replay_told import Told
from metering.settings import BudgetSettings
from storage.times import to_micros

type ReplayMode = Literal["enforce", "monitor"]
"""`enforce`: what would have been refused was not spent. `monitor`: all was spent, refused or not."""

_LATE = timedelta(minutes=1)
"""How much later than a row the rows may stand that began before it."""
_BUDGET_REFUSED = 402
_SETTLES, _TOPS_UP, _BEGINS = range(3)
"""The order of the steps of one moment, where they have no numbers."""


class BudgetReplay:
    """Budgets together, as they are live: the smallest quantum counts for all, and an answer that is ended names the first.

    Rows come in the order in which their calls began; what happened before `told_since` counts and is not told. Where a row does not
    tell what its call held, two accounts are kept, and what they do not agree on is unknown.
    """

    def __init__(self, budgets: Sequence[BudgetSettings], *, mode: ReplayMode, told_since: datetime, most_samples: int = 10) -> None:
        self.mode: ReplayMode = mode
        self._book = BudgetBook(budgets)
        self.told = {budget.id: Told(budget=budget, since=told_since, most_samples=most_samples) for budget in self._book.all}
        """By the budget's id."""
        self._since = told_since
        self._judge: Judge = Enforcing() if mode == "enforce" else Observing()
        self._periods = Periods(lambda: told_since)
        self._accounts: dict[tuple[str, int], Account] = {}
        self._steps: list[tuple[int, int, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._open: dict[str, Open] = {}

    def add(self, rows: Iterable[Recorded]) -> None:
        """Take the next calls in."""
        for recorded in rows:
            started_at = recorded.row.started_at
            number = to_micros(started_at) if recorded.admitted is None else recorded.admitted
            self._plan(number, _BEGINS, partial(self._begin, recorded, number))
            self._run(until=to_micros(started_at - _LATE))

    def end(self) -> None:
        """Take all steps that are left; what is still open stays so."""
        self._run(until=None)
        for opened in list(self._open.values()):
            self._close(opened)

    def _plan(self, number: int, rank: int, step: Callable[[], None]) -> None:
        heapq.heappush(self._steps, (number, rank, next(self._serial), step))

    def _run(self, *, until: int | None) -> None:
        while self._steps and (until is None or self._steps[0][0] < until):
            heapq.heappop(self._steps)[-1]()

    # --- the steps of a call ------------------------------------------------------------------------------------------------

    def _begin(self, recorded: Recorded, number: int) -> None:
        row, terms = recorded.row, recorded.terms
        call = call_of(row) if terms is None else terms.applied(call_of(row))
        budgets = self._book.matching(call)
        for budget in budgets if row.started_at >= self._since else ():
            self.told[budget.id].calls += 1
        denied = row.state == "refused" and row.status == _BUDGET_REFUSED
        if not budgets or (row.state == "refused" and not denied):
            return
        asked = asked_of(recorded, call, budgets)
        placed = self._periods.place(asked.holds, row.started_at if terms is None else terms.placed_at)
        level = 0 if terms is None else terms.granted
        opened = Open(recorded, asked, budgets, [self._held(one) for one in placed], number, placed, level)
        self._open[row.id] = opened
        if denied:
            self._deny(opened, call)
        elif self._hold(opened, call):
            self._plan_rest(opened)
        else:
            self._close(opened)

    def _deny(self, opened: Open, call: Call) -> None:
        """Judge a call that a budget refused: what it would have cost is not known."""
        row = opened.recorded.row
        if opened.recorded.terms is not None:
            self._judge.deny(opened, call)
            self._tell(opened, set(), cut=False)
        if row.started_at >= self._since:
            for budget in opened.budgets:
                self.told[budget.id].refused_live += budget.id not in opened.surely | opened.maybe
        self._close(opened)

    def _held(self, placed: PlacedHold) -> Held:
        account = self._accounts.get(placed.key)
        if account is None:
            account = self._accounts[placed.key] = Account(placed.hold.budget, placed.period)
        return Held(account, placed.hold.hard)

    def _hold(self, opened: Open, call: Call) -> bool:
        reading = reading_of(opened.recorded)
        sent = self._judge.begin(opened, call, [most_held(opened.asked, hold, reading) for hold in opened.asked.holds])
        self._tell(opened, set(), cut=False)
        return sent

    def _plan_rest(self, opened: Open) -> None:
        """Plan what came of a call that was sent: its top-ups, where they were what these budgets ask for too, and its end."""
        recorded = opened.recorded
        for step in recorded.top_ups:
            if not step.asked:
                self._plan(step.number, _TOPS_UP, partial(self._trim, opened, step))
            elif opened.asked.quantum and not opened.asked.grows:
                self._plan(step.number, _TOPS_UP, partial(self._top_up, opened, step))
        row = recorded.row
        if recorded.settled is not None:
            self._plan(recorded.settled, _SETTLES, partial(self._settle, opened, recorded.settled))
        elif row.state == "settled" and row.ended_at is not None:
            number = to_micros(row.ended_at)
            self._plan(number, _SETTLES, partial(self._settle, opened, number))

    def _top_up(self, opened: Open, step: Step) -> None:
        before = set(opened.surely)
        if step.granted:
            self._judge.top_up(opened, step)
        else:
            self._judge.cut(opened, step)
        self._tell(opened, before, cut=True)
        opened.level += step.granted

    def _trim(self, opened: Open, step: Step) -> None:
        """Give back what the bound of a prompt held too much."""
        terms, counted = opened.recorded.terms, opened.recorded.counted
        if terms is None:
            return
        much = {} if counted is None else excess(opened.placed, terms.applied(call_of(opened.recorded.row)), counted)
        for held in opened.held:
            amount = much.get(held.account.budget.id, 0)
            # The count is written as the call settles: of one that a crash left open it is not known how much it gave back.
            least = min(amount, held.least) if counted is not None else held.slack
            held.add(-least, -min(amount, held.most), step.number)
            held.may_give_back(0)

    def _settle(self, opened: Open, number: int) -> None:
        row, reading = opened.recorded.row, reading_of(opened.recorded)
        for held in opened.held:
            account = held.account
            told, before = self.told[account.budget.id], account.least.spent
            least, most = (charge(account.budget, amount, reading)[0] for amount in (held.least, held.most))
            told.uncertain += least != most and row.started_at >= self._since
            held.settle(least if opened.sure else 0, most, number)
            if row.ended_at is not None:  # of what a crash left open nothing is said
                told.settled(row, at=row.ended_at, starts_at=account.period.starts_at, before=before, after=account.least.spent)
        self._close(opened)

    # --- what is told ---------------------------------------------------------------------------------------------------------

    def _tell(self, opened: Open, before: set[str], *, cut: bool) -> None:
        for name in sorted(opened.surely - before):
            self.told[name].refuses(opened.recorded.row, cut=cut)

    def _close(self, opened: Open) -> None:
        """Count what cannot be told of a call, once nothing more is known of it."""
        row = opened.recorded.row
        del self._open[row.id]
        if opened.asked.grows:
            may_end = [held.account for held in opened.held if held.tested and held.account.budget.settings.reserve == "lease"]
            opened.maybe.update(account.budget.id for account in may_end if account.full_at >= opened.number)
        if row.started_at >= self._since:
            for name in opened.maybe - opened.surely:
                self.told[name].unknown += 1
