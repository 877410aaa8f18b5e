"""The entries of alerts: groups of detections, what people answered to them, and the detections by themselves."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from alerting import entry_follower as follower
from alerting.book import AlertBook
from alerting.entry import Entry
from alerting.entry_answers import Answer, answered
from alerting.entry_configs import EntryConfigs
from alerting.entry_pruning import prune
from alerting.entry_reading import DetectionPage, EntryPage, EntryReader
from alerting.places import Place
from alerting.suppression import Suppression
from storage.database import Database, StoreError

type Clock = Callable[[], datetime]


class EntryBook:
    """Entries in the store.

    They are made by a follower beside the book of alerts, not in its transactions: those are on the way of calls, which groups may not
    lengthen. Each detection carries what is still to be done with it, so that a restart, or another gateway on the same store, goes on
    with what is left. Every question here first takes in what was detected until then.
    """

    def __init__(self, database: Database, alerts: AlertBook, *, suppression: Suppression, line: str, now: Clock) -> None:
        self._database = database
        self._alerts = alerts
        self._suppression = suppression
        self._line = line
        self._now = now
        self._reader = EntryReader(database, now=now)
        self.configs = EntryConfigs(database, now=now, settle=self.follow)

    async def follow(self) -> int:
        """Put new detections into entries, and complete those whose call or hold has ended; return how many. To be called every second."""
        done = 0
        while await self._undone():
            now = self._now()
            done += await self._database.write(lambda: follower.take(now=now, line=self._line, suppressors=self._suppression.work))  # noqa: B023 - it is awaited here
            done += await self._database.write(lambda: follower.complete(now=now))  # noqa: B023 - the same
        return done

    async def _take_in(self) -> None:
        """Follow, if the store can be written now; what it holds already can be read all the same."""
        with suppress(StoreError):
            await self.follow()

    async def _undone(self) -> bool:
        question = follower.undone(self._now())
        return any((await self._database.read(question.text, question.params))[0])

    # --- questions -----------------------------------------------------------------------------------------------------

    async def page(self, *, since: datetime) -> EntryPage:
        """Return the entries that were made after a moment, the first of them first."""
        await self._take_in()
        return await self._reader.page(since=since)

    async def get(self, entry_id: str) -> Entry:
        """Return one entry. Raises NoEntryError."""
        return await self._reader.get(entry_id)

    async def detections(self, *, since: datetime, updated_at: datetime | None = None) -> DetectionPage:
        """Return detections made after a moment in the order of time; with `updated_at`, those changed after it in the order of changes."""
        await self._take_in()
        return await self._reader.detections(since=since, updated_at=updated_at)

    async def places(self) -> list[Place]:
        """Return the places that detections were made at, the latest first."""
        return await self._reader.places()

    # --- changes -------------------------------------------------------------------------------------------------------

    async def answer(self, entry_id: str, answer: Answer, *, actor: str, text: str | None = None) -> Entry:
        """Note what somebody did with an entry, on its alerts too; the first time of each stays. Raises NoEntryError, NotAllowedError."""
        at = self._now()
        await self._database.write(lambda: answered(entry_id, answer, text=text, at=at, actor=actor, alerts=self._alerts))
        return await self.get(entry_id)

    async def prune(self, before: datetime) -> int:
        """Delete the entries that nothing has touched since a moment; return how many. To be called daily."""
        deleted, now = 0, self._now()
        while batch := await self._database.write(lambda: prune(before=before, now=now)):
            deleted += batch
        return deleted
