"""Who waits for money that may come back: calls before their intent, in the order they came, and running calls that need more."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from metering.holds import Denied, Granted
from metering.ledger_batch import Answer, Key, Request

type OnAnswer = Callable[[Granted | Denied], None]

MOST_WAITING = 1_000
"""Calls that may wait at once; more are refused. Each holds a connection and a request body."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A call that did not fit when it was last tried."""

    request: Request
    answer: asyncio.Future[Granted | Denied]
    denied: Denied
    """Why it waits."""
    timer: asyncio.TimerHandle = field(init=False)


class Line:
    """First come, first served. Nothing here polls: a settlement, a deadline or a leaving caller says that it is time to try again.

    `wake` is called when the line should be tried though nothing was settled.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._line: list[Waiting] = []
        self._running: dict[str, tuple[Request, OnAnswer]] = {}
        self._stirred = False
        self.blocked: frozenset[Key] = frozenset()
        """The budgets that somebody waits for."""

    def __len__(self) -> int:
        return len(self._line)

    @property
    def waits(self) -> bool:
        """Whether anybody waits."""
        return bool(self._line or self._running)

    @property
    def stirred(self) -> bool:
        """Whether it should be tried, settlements or not."""
        return self._stirred and self.waits

    def join(self, request: Request, answer: asyncio.Future[Granted | Denied], denied: Denied) -> bool:
        """Let a call wait until its budget's time is over; False when it may not."""
        wait = denied.budget.settings.wait.total_seconds()
        if len(self._line) >= MOST_WAITING or wait <= 0:
            return False
        waiting = Waiting(request, answer, denied)
        waiting.timer = asyncio.get_running_loop().call_later(wait, self._time_is_over, waiting)
        answer.add_done_callback(lambda _answer: self._leave(waiting))
        self._line.append(waiting)
        return True

    def leave(self, call_id: str) -> None:
        """Deny a call whose client is gone; others go on."""
        for waiting in self._line:
            if waiting.request.call_id == call_id and not waiting.answer.done():
                waiting.answer.set_result(waiting.denied)

    def run_short(self, request: Request, on_answer: OnAnswer) -> None:
        """Remember a running call that needs more. What it can do with may have become less while it was tried."""
        known = self._running.get(request.call_id)
        if known is not None and known[0].least < request.least:
            request = known[0]
        self._running[request.call_id] = request, on_answer

    def make_do(self, call_id: str, least: int) -> None:
        """Take in that a running call can do with fewer output tokens now."""
        if (running := self._running.get(call_id)) is not None:
            request, on_answer = running
            self._running[call_id] = replace(request, least=least), on_answer
            self._stir()

    def forget(self, call_id: str) -> None:
        """Forget a running call that ended."""
        self._running.pop(call_id, None)

    def turn(self) -> tuple[list[tuple[Request, OnAnswer]], list[Waiting]]:
        """Return who is to be tried now: everybody."""
        self._stirred = False
        return list(self._running.values()), list(self._line)

    def answered(
        self, waiting: Sequence[Waiting], tried: Sequence[Request], answers: Sequence[Answer]
    ) -> list[tuple[Waiting, Granted | Denied]]:
        """Take in what became of those who were tried; return those whose waiting is over."""
        over: list[tuple[Waiting, Granted | Denied]] = []
        for one, request, answer in zip(waiting, tried, answers, strict=True):
            if isinstance(answer, Denied) and not answer.hopeless and request.waits:
                continue
            if answer is not None:
                self._remove(one)
                over.append((one, answer))
        return over

    def _time_is_over(self, waiting: Waiting) -> None:
        """Try once more, with as little as is left."""
        waiting.request = replace(waiting.request, shrinks=True, waits=False)
        self._stir()

    def _leave(self, waiting: Waiting) -> None:
        """Make room behind a call whose client is gone."""
        if waiting in self._line:
            self._remove(waiting)
            self._stir()

    def _remove(self, waiting: Waiting) -> None:
        waiting.timer.cancel()
        if waiting in self._line:
            self._line.remove(waiting)

    def _stir(self) -> None:
        self._stirred = True
        self._wake()
