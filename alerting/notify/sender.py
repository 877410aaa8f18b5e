"""The sender: takes what waits in the outbox to its targets, until each delivery is made or is a dead letter."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, cast

import structlog

from alerting.notify.channel import Channel, Delivery, Result
from alerting.notify.holding import Course, Holding
from alerting.notify.outbox import Outbox
from alerting.notify.schedule import LONGEST_ASKED, pause_after
from storage.database import Database, Row, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]

LOOKS_EVERY: Final = 1.0
"""Seconds between two looks into the outbox when nothing wakes the sender."""
_GATHERS: Final = 0.03
"""Seconds from being woken to the look: what woke it is then committed."""
_BATCH: Final = 50
_LONGEST_SEND: Final = 30.0
"""Seconds after which an attempt is given up, whatever the channel does."""
_FIRST_REST: Final = timedelta(seconds=2)
_LONGEST_REST: Final = timedelta(minutes=5)

_TARGETS = "SELECT channel, target, MIN(next_at) FROM deliveries WHERE state = 'pending' GROUP BY channel, target"
_DUE = """
SELECT seq, event_id, event, target, body, attempts, created_at, alert_seq FROM deliveries
WHERE state = 'pending' AND channel = ? AND target = ? AND next_at <= ? ORDER BY next_at, seq LIMIT ?
"""
_NOTE = """
UPDATE deliveries SET state = ?, attempts = ?, next_at = ?, last_at = ?, last_status = ?, last_error = ?
WHERE seq = ? AND state = 'pending'
"""
_KEEP_BACK = "UPDATE deliveries SET state = ?, next_at = NULL, last_error = ? WHERE seq = ? AND state = 'pending'"
_RELEASES_EVERY: Final = timedelta(seconds=5)
_log = structlog.get_logger(__name__)


class Sender:
    """Sends to many targets side by side and to each one message after another; a target that fails rests, the others go on.

    What it does is in the store alone: a sender that dies after a message was sent and before that was noted sends it once more.
    """

    def __init__(self, database: Database, outbox: Outbox, *, now: Clock, holding: Holding | None = None) -> None:
        self._database = database
        self._outbox = outbox
        self._now = now
        self._holding = holding
        self._released_at = now()
        self._ill: set[tuple[str, str]] = set()
        """Targets whose last delivery that was over is a dead letter."""
        self.on_trouble: Callable[[str | None], None] = _unheard
        """Hears a sentence when a delivery becomes a dead letter, and None when every target gets its messages again."""
        self._busy: set[tuple[str, str]] = set()
        self._rests: dict[tuple[str, str], tuple[datetime, timedelta]] = {}
        """Targets that failed last: until when they are left alone, and for how long that was."""
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Send for ever."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._woken.set)

        self._outbox.on_put = wake
        async with asyncio.TaskGroup() as group:
            while True:
                await self._release()
                for target in await self._waiting():
                    self._busy.add(target)
                    group.create_task(self._serve(*target))
                await self._rest()

    def wake(self) -> None:
        """Look into the outbox now."""
        self._woken.set()

    async def _release(self) -> None:
        """Let go now and then what nothing holds back any more."""
        at = self._now()
        if self._holding is not None and at - self._released_at >= _RELEASES_EVERY:
            self._released_at = at
            await self._holding.release()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(LOOKS_EVERY):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_GATHERS)
        self._woken.clear()

    async def _waiting(self) -> list[tuple[str, str]]:
        """Return the targets that something is due for, nobody serves and need not rest."""
        at = self._now()
        rows = cast("list[tuple[str, str, int]]", await self._database.read(_TARGETS))
        due = [(channel, target) for channel, target, next_at in rows if next_at <= to_micros(at)]
        return [target for target in due if target not in self._busy and not self._rests_at(target, at)]

    def _rests_at(self, target: tuple[str, str], at: datetime) -> bool:
        until = self._rests.get(target)
        return until is not None and at < until[0]

    async def _serve(self, channel_name: str, target: str) -> None:
        """Send what is due for one target, in the order in which it is due, until nothing is or the target fails."""
        key = (channel_name, target)
        channel = self._outbox.channel(channel_name)
        try:
            while rows := await self._database.read(_DUE, (channel_name, target, to_micros(self._now()), _BATCH)):
                for row in rows:
                    if await self._is_kept_back(channel_name, row):
                        continue
                    result = await self._attempt(channel, _delivery(row))
                    if result.error is not None and not result.final:
                        self._let_rest(key, result)
                        return
                    self._rests.pop(key, None)
        finally:
            self._busy.discard(key)

    async def _is_kept_back(self, channel: str, row: Row) -> bool:
        """Whether a silence or another alert speaks against telling of this now; that is then noted on it."""
        alert_seq = cast("int | None", row[-1])
        if self._holding is None or alert_seq is None:
            return False
        delivery = _delivery(row)
        course, why = await self._holding.course(alert_seq, channel=channel, target=delivery.target)
        if course is Course.SEND:
            return False
        state = "held" if course is Course.HOLD else "dropped"
        await self._database.write(lambda: _one(Sql(_KEEP_BACK, (state, why, delivery.seq))))
        return True

    async def _attempt(self, channel: Channel | None, delivery: Delivery) -> Result:
        result = await self.send(channel, delivery)
        at = self._now()
        pause = None if result.final or result.error is None else pause_after(delivery.attempt, retry_after=result.retry_after)
        state = "delivered" if result.error is None else "dead" if pause is None else "pending"
        await self._database.write(lambda: _note(delivery, result, state=state, at=at, next_at=at + pause if pause else None))
        if state != "pending":
            self._concluded(channel, delivery, result, dead=state == "dead")
        return result

    def _concluded(self, channel: Channel | None, delivery: Delivery, result: Result, *, dead: bool) -> None:
        """Say that a delivery is over, where that is news."""
        name = "?" if channel is None else channel.name
        key = (name, delivery.target)
        if dead and result.final and result.status is None:
            return  # there was nobody to be told: a person removed the target or switched it off
        if dead:
            self._ill.add(key)
            _log.warning("delivery_dead", channel=name, target=delivery.target, attempts=delivery.attempt, error=result.error)
            self.on_trouble(f"The {name} {delivery.target} was not told of an alert (attempts: {delivery.attempt}): {result.error}")
        elif key in self._ill:
            self._ill.discard(key)
            if not self._ill:
                self.on_trouble(None)

    async def send(self, channel: Channel | None, delivery: Delivery) -> Result:
        """Make one attempt; whatever goes wrong is a result."""
        if channel is None:
            return Result(error="this gateway has no such channel any more", final=True)
        try:
            async with asyncio.timeout(_LONGEST_SEND):
                return await channel.send(delivery)
        except TimeoutError:
            return Result(error=f"no answer within {_LONGEST_SEND:g} seconds")
        except Exception as error:  # noqa: BLE001 - a fault of one channel must not end the others; it stands in the log and on the delivery
            _log.exception("channel_failed", channel=channel.name)
            return Result(error=f"the channel failed: {type(error).__name__}")

    def _let_rest(self, key: tuple[str, str], result: Result) -> None:
        """Leave a failing target alone for a while, twice as long each time, so that what queues up is not thrown at it."""
        _until, last = self._rests.get(key, (None, timedelta(0)))
        rest = min(max(last * 2, _FIRST_REST), _LONGEST_REST)
        asked = min(result.retry_after or timedelta(0), LONGEST_ASKED)
        self._rests[key] = (self._now() + max(rest, asked), rest)


def _delivery(row: Row) -> Delivery:
    seq, event_id, event, target, body, attempts, created_at, _alert = cast("tuple[int, str, str, str, str, int, int, int]", row)
    return Delivery(
        seq=seq,
        event_id=event_id,
        event=event,
        target=target,
        body=body,
        attempt=attempts + 1,
        created_at=from_micros(created_at),
    )


def _note(delivery: Delivery, result: Result, *, state: str, at: datetime, next_at: datetime | None) -> Work[None]:
    moment = to_micros(at)
    values = (state, delivery.attempt, None if next_at is None else to_micros(next_at), moment, result.status, result.error)
    yield Sql(_NOTE, (*values, delivery.seq))


def _one(statement: Sql) -> Work[None]:
    yield statement


def _unheard(trouble: str | None) -> None:
    """Tell nobody."""
