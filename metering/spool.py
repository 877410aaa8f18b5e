"""The spool: where calls are kept that monitor mode lets pass while the ledger cannot be written, until it can."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from metering.call import Ending, Prompt, Reply
from metering.holds import BudgetMove, BudgetState, Granted, Intent, Settled, Settlement
from metering.journal import Journal
from metering.ledger import Clock, Ledger
from metering.ledger_batch import OpenCall
from metering.reading import Reading, Source
from metering.spool_lines import Line, Moved, intent_line, parsed, replay_work, settlement_line
from storage.database import Database, StoreError
from storage.times import to_micros

_log = structlog.get_logger(__name__)

SPOOL_FILE = "spool.jsonl"
UNREADABLE_FILE = "spool-unreadable.jsonl"
MOST_BYTES = 64 << 20
"""About 60,000 calls. Beyond it calls are refused; what is under way is still settled in it."""
_LINES_AT_ONCE = 200


class Spool:
    """Intents and settlements in a file of lines. While it holds any, all calls go to it, so that none waits for a failing store.

    `on_change` is called with the number of calls in it: when the first came, when there are more at a replay that fails, and with 0 when
    all are replayed; `on_settled` with settlements that were replayed.
    """

    def __init__(  # noqa: PLR0913 - the wiring names each
        self,
        folder: Path,
        database: Database,
        ledger: Ledger,
        *,
        instance: str,
        now: Clock,
        on_settled: Callable[[Sequence[Settled]], None],
        on_change: Callable[[int], None],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._journal = Journal(folder / SPOOL_FILE)
        self._aside = folder / UNREADABLE_FILE
        self._database = database
        self._ledger = ledger
        self._instance = instance
        self._now = now
        self._on_settled = on_settled
        self._on_change = on_change
        self._most_bytes = most_bytes
        self._open: dict[str, OpenCall] = {}
        self._ended: dict[str, tuple[Settlement, OpenCall]] = {}
        self._replayed = 0
        """Bytes of the file that stand in the ledger."""
        self._unread = 0
        self._replaying = False
        self._refuses = False
        self._told = 0
        self.calls = 0
        """Calls in it."""

    @property
    def active(self) -> bool:
        """Whether there are calls in it."""
        return self.calls > 0

    async def admit(self, intent: Intent) -> Granted:
        """Keep an intent; it is on the disk when this returns. Raises StoreError when there is no room, or the disk fails."""
        if self._journal.length >= self._most_bytes:
            raise self._refusing(
                StoreError(
                    f"The ledger cannot be written, and the spool {self._journal.path} is full ({self._most_bytes >> 20} MiB, "
                    f"{self.calls} calls). Make the store writable: it is then written into the ledger by itself"
                )
            )
        opened = self._ledger.placed(intent)
        call_id = intent.call.id
        self.calls += 1
        self._open[call_id] = opened
        try:
            await self._journal.append(intent_line(intent, opened, instance=self._instance, at=self._now()))
        except StoreError as error:
            self._refusing(error)
            if self._open.pop(call_id, None) is not None:
                self.calls -= 1
            raise
        except asyncio.CancelledError:  # it may be on the disk, and is never sent
            reply = Reply(ending=Ending.CLIENT_ABORT, status=None, first_byte_at=None, ended_at=self._now(), response_bytes=0)
            self.settle(Settlement(intent.call, reply, Reading(source=Source.NONE)))
            raise
        if self._told == 0:
            self._tell()
        return Granted(tokens=intent.quantum)

    def settle(self, settlement: Settlement) -> bool:
        """Keep what a call came to; False when its intent is not here."""
        opened = self._open.pop(settlement.call.id, None)
        if opened is None:
            return False
        self._journal.keep(settlement_line(settlement, opened))
        bare = replace(settlement.call, prompt=Prompt(), parts=(), rpc=None)
        self._ended[settlement.call.id] = replace(settlement, call=bare), opened
        return True

    async def recover(self) -> int:
        """At the start, before the ledger recovers: write what an earlier run left into the ledger. Return how many bytes there were.

        Raises StoreError. An intent without a settlement is left to the ledger, as one of its own.
        """
        size = self._journal.size
        if self._journal.path.exists():
            await self._write()
            self._finish()
        return size

    async def replay(self) -> int:
        """Write what is in it into the ledger, and end it; return how many calls were. Nothing happens while the store still fails."""
        if not self.active or self._replaying:
            return 0
        self._replaying = True
        try:
            while not (self._journal.quiet and self._replayed >= self._journal.size):
                await self._journal.drain()
                if not self._journal.quiet:  # the disk fails
                    return 0
                await self._write()
        except StoreError as error:
            if self._told != self.calls:
                _log.warning("spool_waits", calls=self.calls, message=str(error))
                self._tell()
            return 0
        finally:
            self._replaying = False
        calls = self.calls
        self._finish()
        self._ledger.take_over(self._open)
        self._open = {}
        self._tell()
        _log.info("spool_replayed", calls=calls)
        return calls

    async def close(self) -> None:
        """At the end: put what waits on the disk."""
        await self.replay()
        await self._journal.drain()
        self._journal.close()

    def _refusing(self, error: StoreError) -> StoreError:
        """Say once in the log why calls are refused: a client is told no more than that they are."""
        if not self._refuses:
            _log.error("spool_refuses", calls=self.calls, message=str(error))
        self._refuses = True
        return error

    def _tell(self) -> None:
        self._told = self.calls
        self._on_change(self.calls)

    async def _write(self) -> None:
        """Write the lines that are on the disk and not yet in the ledger, some at a time."""
        lines: list[Line] = []
        end, unread = self._replayed, 0
        for end, text in self._journal.lines(self._replayed):
            line = parsed(text)
            if line is None:
                unread += 1
                continue
            lines.append(line)
            if len(lines) == _LINES_AT_ONCE:
                await self._write_some(lines, end)
                lines = []
        await self._write_some(lines, end)
        self._unread += unread

    async def _write_some(self, lines: Sequence[Line], end: int) -> None:
        moved = await self._database.write(partial(replay_work, lines, at=to_micros(self._now()), first=self._ledger.numbers(len(lines))))
        self._replayed = end
        if settled := self._settled(lines, moved):
            self._on_settled(settled)

    def _settled(self, lines: Sequence[Line], moved: Moved) -> list[Settled]:
        """Return what this run's own settlements did to budgets."""
        found: list[Settled] = []
        for line in lines:
            if "settled" not in line or (ended := self._ended.pop(line["settled"][-1], None)) is None:
                continue
            settlement, opened = ended
            moves = [
                BudgetMove(
                    BudgetState(placed.hold.budget, placed.period, spent, held),
                    spent_before=spent - charge[2],
                    spent_after=spent,
                    overshoot=max(0, charge[2] - charge[3]),
                )
                for placed, (spent, held), charge in zip(opened.placed, moved.get(settlement.call.id, ()), line["charges"], strict=False)
            ]
            found.append(Settled(settlement, tuple(moves)))
        return found

    def _finish(self) -> None:
        """End the file: all of it that can be read is in the ledger."""
        if self._unread:
            _log.error("spool_unreadable_lines", lines=self._unread, kept_in=str(self._aside))
        self._journal.remove(aside=self._aside if self._unread else None)
        self._replayed = self._unread = self.calls = 0
        self._refuses = False
        self._ended.clear()
