"""The store of alerts: every finding recorded, every change of an alert kept."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast

from alerting import endings, episodes, listing, toggles
from alerting.alert import Alert, AlertAction, Change, HistoryEntry, RecordedAlert, Status, from_row
from alerting.episodes import Group
from alerting.finding import AlertKind, Occurrence, Severity
from alerting.kinds import Selection
from alerting.listing import AlertCounts, Page
from alerting.notify.channel import EventType
from alerting.notify.outbox import Outbox
from alerting.outgoing import Outgoing
from alerting.pending import Cleared, Step
from alerting.settings import AlertingSettings
from alerting.toggles import AlertToggles
from alerting.totals import Totals
from storage.database import Database, Work
from storage.times import from_micros

LONGEST_NOTE = 2_000
"""Characters of what a person says about an alert."""

type Clock = Callable[[], datetime]


class AlertBook:
    """Alerts in the store. What is enqueued is written within 50 ms; `drain` waits for it."""

    def __init__(self, database: Database, *, org_id: str, settings: AlertingSettings, now: Clock, outbox: Outbox | None = None) -> None:
        self.outbox = outbox or Outbox()
        """Hears of every change of an alert, within the change's own transaction."""
        self._database = database
        self._org_id = org_id
        self._settings = settings
        self._totals = Totals(database, now=now)
        self._now = now
        self._merge = settings.dedup == "episode"
        self._outgoing = Outgoing(database, self._steps)

    @property
    def org_id(self) -> str:
        """The organisation's UUID."""
        return self._org_id

    @property
    def settings(self) -> AlertingSettings:
        """The `alerting` section of the config."""
        return self._settings

    # --- findings in ---------------------------------------------------------------------------------------------------

    def work(self, occurrences: Sequence[Occurrence]) -> Work[list[RecordedAlert]]:
        """Return the unit of work that records these findings, to share another's transaction."""
        return self._record(episodes.grouped(occurrences, merge=self._merge))

    async def record(self, occurrences: Sequence[Occurrence]) -> list[RecordedAlert]:
        """Record these findings, durably when it returns."""
        groups = episodes.grouped(occurrences, merge=self._merge)
        return await self._database.write(lambda: self._record(groups))

    def enqueue(self, occurrences: Sequence[Occurrence]) -> None:
        """Record these findings within 50 ms; identical ones are merged before they are written."""
        for occurrence in occurrences:
            if not occurrence.finding.silent:
                self._outgoing.add(occurrence, episodes.identity(occurrence, merge=self._merge))

    def enqueue_clear(self, fingerprint: str) -> None:
        """End the episode of a condition soon, in order with what is enqueued."""
        self._outgoing.clear(fingerprint)

    async def drain(self) -> None:
        """Wait until all that is enqueued is written; raise StoreError (and keep it) when the store cannot."""
        await self._outgoing.drain()

    @property
    def last_error(self) -> Exception | None:
        """Why enqueued findings still wait; None when the last write succeeded."""
        return self._outgoing.last_error

    @property
    def lost(self) -> int:
        """Batches of enqueued findings that the store would not take though it was well."""
        return self._outgoing.lost

    def _steps(self, steps: Sequence[Step]) -> Work[None]:
        for step in steps:
            if isinstance(step, Cleared):
                yield from self.clearing(step.fingerprint, at=self._now())
            else:
                yield from self._record([step])

    def _record(self, groups: Sequence[Group]) -> Work[list[RecordedAlert]]:
        recorded = yield from episodes.record(groups, org_id=self._org_id, expire_after=self._settings.expire_after)
        yield from self.outbox.put(EventType.CREATED, [alert.seq for alert in recorded if alert.is_new], at=self._now())
        return recorded

    @property
    def expire_after(self) -> timedelta:
        """How long an alert of an event stands without recurrence."""
        return self._settings.expire_after

    # --- questions -----------------------------------------------------------------------------------------------------

    async def list(  # noqa: PLR0913  # all keyword-only: what a page is
        self,
        *,
        kinds: Sequence[AlertKind | Selection] | None = None,
        dismissed: bool | None = None,
        status: Status | None = None,
        severity: Severity | None = None,
        limit: int = 1000,
        skip: int = 0,
        after: int | None = None,
    ) -> Sequence[Alert]:
        """Return alerts, newest first. `dismissed`: only the resolved (True) or unresolved (False); `after`: only below this seq."""
        page = Page(kinds=kinds, dismissed=dismissed, status=status, severity=severity, limit=limit, skip=skip, after=after)
        question = listing.select(page)
        return [from_row(row) for row in await self._database.read(question.text, question.params)]

    async def count(self, *, kinds: Sequence[AlertKind | Selection] | None = None, status: Status | None = None) -> int:
        """Return how many alerts of these kinds stand so."""
        question = listing.count(Page(kinds=kinds, status=status, limit=1))
        return cast("int", (await self._database.read(question.text, question.params))[0][0])

    async def total(
        self,
        *,
        kinds: Sequence[AlertKind | Selection] | None = None,
        status: Status | None = None,
        severity: Severity | None = None,
    ) -> int:
        """Return how many alerts such a list has: exact up to 10,000, beyond that as counted up to a minute ago."""
        return await self._totals.of(Page(kinds=kinds, status=status, severity=severity, limit=1))

    async def position(self, alert_id: str) -> int:
        """Return where a list goes on after the alert of an `id`, also after one that was deleted meanwhile: the `after` of `list`."""
        rows = cast("list[tuple[int, str]]", await self._database.read(listing.BEFORE, (alert_id,)))
        if not rows:
            return 0
        seq, found = rows[0]
        return seq if found == alert_id else seq + 1

    async def get(self, key: int | str) -> Alert | None:
        """Return the alert of a `seq` (int) or an `id` (str)."""
        rows = await self._database.read(listing.BY_SEQ if isinstance(key, int) else listing.BY_ID, (key,))
        return from_row(rows[0]) if rows else None

    async def history(self, seq: int) -> Sequence[HistoryEntry]:
        """Return every change of an alert, oldest first."""
        return [
            HistoryEntry(
                at=from_micros(cast("int", at)),
                action=AlertAction(cast("str", event)),
                actor=cast("str", actor),
                feed=cast("str | None", feed),
                note=cast("str | None", note),
            )
            for at, event, actor, feed, note in await self._database.read(listing.HISTORY_OF, (seq,))
        ]

    async def counts(self) -> AlertCounts:
        """Return how many alerts stand where."""
        unresolved = [cast("tuple[str, int, int]", row) for row in await self._database.read(listing.COUNTS)]
        every = cast("int", (await self._database.read(listing.ALL_COUNT))[0][0])
        standing, acknowledged = sum(row[1] for row in unresolved), sum(row[2] for row in unresolved)
        return AlertCounts(
            open=standing - acknowledged,
            acknowledged=acknowledged,
            resolved=every - standing,
            by_severity={Severity(row[0]): row[1] for row in unresolved},
        )

    # --- changes by people ---------------------------------------------------------------------------------------------

    async def view(self, seq: int, *, actor: str, feed: str | None) -> Change:
        """Note that somebody looked at an alert; the first time stays."""
        at = self._now()
        return await self._database.write(lambda: endings.view(seq, at=at, actor=actor, feed=feed))

    async def acknowledge(self, seq: int, *, actor: str, feed: str | None, note: str | None = None) -> Change:
        """Acknowledge an alert."""
        at = self._now()
        return await self._database.write(lambda: self.acknowledging(seq, at=at, actor=actor, feed=feed, note=note))

    async def act(self, seq: int, text: str, *, actor: str, feed: str | None) -> Change:
        """Note what was done about an alert; who does something about an open one has taken it up. Raises ValueError."""
        if not text.strip() or len(text) > LONGEST_NOTE:
            raise ValueError(f"Say what was done in 1 to {LONGEST_NOTE:,} characters")
        at = self._now()

        def work() -> Work[Change]:
            taken_up = yield from endings.acknowledge(seq, at=at, actor=actor, feed=feed)
            if taken_up is Change.DONE:
                yield from self.outbox.put(EventType.ACKNOWLEDGED, [seq], at=at)
            return (yield from endings.act(seq, text=text.strip(), at=at, actor=actor, feed=feed))

        return await self._database.write(work)

    async def resolve(self, seq: int, *, actor: str, feed: str | None, note: str | None = None) -> Change:
        """Resolve an alert; a recurrence opens a new episode."""
        at = self._now()

        def work() -> Work[Change]:
            return self._telling(EventType.RESOLVED, seq, endings.resolve(seq, at=at, actor=actor, feed=feed, note=note), at=at)

        return await self._database.write(work)

    async def dismiss(self, seq: int, *, actor: str, feed: str | None) -> bool:
        """Resolve an alert and mute its fingerprint; True when there is such an alert, however it stands."""
        at = self._now()
        return (await self._database.write(lambda: self.dismissing(seq, at=at, actor=actor, feed=feed))).found

    def acknowledging(self, seq: int, *, at: datetime, actor: str, feed: str | None, note: str | None = None) -> Work[Change]:
        """Return the unit of work that acknowledges an alert, to share another's transaction."""
        return self._telling(EventType.ACKNOWLEDGED, seq, endings.acknowledge(seq, at=at, actor=actor, feed=feed, note=note), at=at)

    def dismissing(self, seq: int, *, at: datetime, actor: str, feed: str | None) -> Work[Change]:
        """Return the unit of work that dismisses an alert, to share another's transaction."""
        return self._telling(EventType.RESOLVED, seq, endings.dismiss(seq, at=at, actor=actor, feed=feed), at=at)

    def _telling(self, event: EventType, seq: int, work: Work[Change], *, at: datetime) -> Work[Change]:
        change = yield from work
        if change is Change.DONE:
            yield from self.outbox.put(event, [seq], at=at)
        return change

    # --- changes by time -----------------------------------------------------------------------------------------------

    def clearing(self, fingerprint: str, *, at: datetime, resolution: AlertAction = AlertAction.CONDITION_CLEARED) -> Work[bool]:
        """Return the unit of work that ends the open episode of a fingerprint, to share another's transaction."""
        ended = yield from episodes.clear(fingerprint, at=at, resolution=resolution)
        yield from self.outbox.put(EventType.RESOLVED, ended, at=at)
        return bool(ended)

    async def clear(self, fingerprint: str, *, resolution: AlertAction = AlertAction.CONDITION_CLEARED) -> bool:
        """End the open episode of a fingerprint whose condition is over; True when there was one."""
        await self.drain()
        at = self._now()
        return await self._database.write(lambda: self.clearing(fingerprint, at=at, resolution=resolution))

    async def expire(self, now: datetime) -> int:
        """End the episodes whose time has come; return how many. To be called at start and every minute."""
        await self.drain()

        def work() -> Work[int]:
            ended = yield from endings.expire(at=now, expire_after=self._settings.expire_after)
            yield from self.outbox.put(EventType.RESOLVED, ended, at=now)
            return len(ended)

        return await self._database.write(work)

    async def prune(self, now: datetime) -> int:
        """Delete the resolved alerts that outlived their retention, in batches; return how many. To be called daily."""
        before = now - timedelta(days=(await self.toggles()).retention_days)
        deleted = 0
        while batch := await self._database.write(lambda: endings.prune(before=before)):
            deleted += batch
        return deleted

    # --- choices -------------------------------------------------------------------------------------------------------

    async def toggles(self) -> AlertToggles:
        """Return which types of the local feed are raised, and how long alerts are kept."""
        return toggles.from_rows(await self._database.read(toggles.READ), settings=self._settings)

    async def set_toggles(
        self, *, changes: Mapping[str, bool] | None = None, retention_days: int | None = None, actor: str
    ) -> AlertToggles:
        """Change some of the choices and return them all.

        Raises ValueError when one is unknown or out of range, DefinedInConfigError when the config file defines it.
        """
        wanted = toggles.checked(changes or {}, retention_days)
        toggles.refuse_what_is_defined(retention_days, self._settings)
        at = self._now()
        if wanted:
            await self._database.write(lambda: toggles.write(wanted, at=at, actor=actor))
        return await self.toggles()
