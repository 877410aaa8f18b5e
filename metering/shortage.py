"""What is done while a budget is short: prompts that are held by a bound are counted, and answers that wait for each other are ended."""

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial

from metering.leases import excess
from metering.ledger import Ledger
from metering.ledger_batch import Key, OpenCall
from metering.meter import Meter


class Shortage:
    """Costs nothing while nobody waits. Then it counts one prompt in a turn of the loop, the longest first, as long as somebody waits.

    A prompt is counted once; what its bound held too much is given back, which lets the ledger try those who wait again.
    """

    def __init__(self, ledger: Ledger, meter: Meter) -> None:
        self._ledger = ledger
        self._meter = meter
        self._left: list[tuple[str, OpenCall]] = []
        self._counting = False

    def relieve(self) -> None:
        """Do what can be done for those who wait: the ledger calls this when somebody does, and nothing that could help is on its way."""
        if not self._counting:
            self._next()

    async def make_room(self, budget_id: str, amount: int) -> bool:
        """Count prompts until so much of a budget is given back; return whether any of it was."""
        room = 0
        held_so = [each for each in self._ledger.open_calls.items() if _may_hold_less(each[1], {budget_id})]
        for call_id, opened in sorted(held_so, key=_bound, reverse=True):
            if (size := opened.size) is None:  # counted meanwhile for another
                continue
            await size.count()
            room += self._give_back(call_id, opened).get(budget_id, 0)
            if room >= amount:
                break
            await asyncio.sleep(0)
        return room > 0

    def _next(self) -> None:
        self._counting = False
        if not self._ledger.waits:
            self._left.clear()
            return
        while self._left or self._look():
            call_id, opened = self._left.pop()
            if (size := opened.size) is None or call_id not in self._ledger.open_calls:
                continue
            self._counting = True
            loop = asyncio.get_running_loop()
            if size.exact is None and size.takes_long:
                loop.run_in_executor(None, size.count_now).add_done_callback(partial(self._counted, call_id, opened))
            else:
                size.count_now()
                self._counted(call_id, opened)
            return
        self._end_one_of_a_ring()

    def _look(self) -> bool:
        """Find the calls whose prompts may be counted now, the longest last; return whether there are any."""
        short = self._ledger.short
        self._left = sorted((each for each in self._ledger.open_calls.items() if _may_hold_less(each[1], short)), key=_bound)
        return bool(self._left)

    def _counted(self, call_id: str, opened: OpenCall, _future: object = None) -> None:
        self._give_back(call_id, opened)
        asyncio.get_running_loop().call_soon(self._next)

    def _give_back(self, call_id: str, opened: OpenCall) -> Mapping[str, int]:
        size, opened.size = opened.size, None
        if size is None or size.exact is None:
            return {}
        size.counted = self._meter.quote(size.call, input_tokens=size.exact)
        much = excess(opened.placed, size.call, size.counted)
        if much:
            self._ledger.give_back(call_id, much)
        return much

    def _end_one_of_a_ring(self) -> None:
        """Where answers wait for nothing but each other, end the one of them that was let through last."""
        if not self._ledger.busy and (end := _end_of_a_ring(self._ledger.open_calls)) is not None:
            end()


def _may_hold_less(opened: OpenCall, short: AbstractSet[str]) -> bool:
    return opened.size is not None and any(placed.hold.budget.id in short for placed in opened.placed)


def _bound(each: tuple[str, OpenCall]) -> int:
    size = each[1].size
    return 0 if size is None else size.best


def _end_of_a_ring(open_calls: Mapping[str, OpenCall]) -> Callable[[], None] | None:
    """Return what ends the last of the answers that wait in vain: whatever runs, or would run then, holds nothing of their budgets."""
    waiting = [(opened.paused, opened) for opened in open_calls.values() if opened.paused is not None]
    if not waiting:
        return None
    may_come_back: set[Key] = {placed.key for opened in open_calls.values() if opened.paused is None for placed in opened.placed}
    while hopeful := [opened for paused, opened in waiting if paused.key in may_come_back]:
        waiting = [(paused, opened) for paused, opened in waiting if paused.key not in may_come_back]
        may_come_back.update(placed.key for opened in hopeful for placed in opened.placed)
    return waiting[-1][0].end if waiting else None
