"""The silences that were made, in the store, and those that the config file defines."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast
from uuid import NAMESPACE_OID, uuid4, uuid5

from alerting.matchers import Matcher, parse_matcher
from alerting.settings import SilenceSettings
from alerting.silence import Silence, SilenceDraft, SilenceState, checked_draft
from alerting.toggles import DefinedInConfigError
from storage.audit import audit_row
from storage.database import Database, Row, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]

MOST = 1_000
"""Silences that are not over: each is asked about each alert."""
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_ORDER = (SilenceState.ACTIVE, SilenceState.PENDING, SilenceState.EXPIRED)

_ALL = "SELECT id, matchers, starts_at, ends_at, created_by, comment, updated_at FROM silences"
_WRITE = """
INSERT INTO silences (id, matchers, starts_at, ends_at, created_by, comment, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET matchers = excluded.matchers, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
    created_by = excluded.created_by, comment = excluded.comment, updated_at = excluded.updated_at
"""


class UnknownSilenceError(LookupError):
    """There is no such silence; the message says so."""

    def __init__(self, silence_id: str) -> None:
        super().__init__(f"There is no silence {silence_id!r}; `tollwatch silences ls --all` shows them")


class SilenceBook:
    """All silences, in memory for the question that each alert asks, and in the store."""

    def __init__(self, database: Database, *, defined: Sequence[SilenceSettings], now: Clock) -> None:
        self._database = database
        self._now = now
        self._stored: dict[str, Silence] = {}
        self._defined: dict[str, Silence] = {}
        self.follow(defined)

    # --- questions -----------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take over what is in the store."""
        self._stored = {silence.id: silence for silence in map(_from_row, await self._database.read(_ALL))}

    def all(self) -> Sequence[Silence]:
        """Return every silence in the order of `in_order`."""
        return in_order((*self._defined.values(), *self._stored.values()), self._now())

    def get(self, silence_id: str) -> Silence | None:
        """Return the silence of an id."""
        return self._defined.get(silence_id) or self._stored.get(silence_id)

    def active(self) -> Sequence[Silence]:
        """Return the silences that are active now."""
        now = self._now()
        return [one for one in (*self._defined.values(), *self._stored.values()) if one.state(now) is SilenceState.ACTIVE]

    # --- changes -------------------------------------------------------------------------------------------------------

    def follow(self, defined: Sequence[SilenceSettings]) -> None:
        """Take over what the config file defines now."""
        self._defined = {silence.id: silence for silence in map(defined_silence, defined)}

    async def add(self, draft: SilenceDraft, *, actor: str) -> Silence:
        """Make a silence, durably when it returns. A beginning in the past is now. Raises ValueError."""
        now = self._now()
        made = self._made(checked_draft(draft, now), now)
        self._refuse_too_many(now)
        await self._write([made], action="silence.created", actor=actor)
        return made

    async def change(self, silence_id: str, draft: SilenceDraft, *, actor: str) -> Silence:
        """Change a silence as Alertmanager does: in place where the past stays true, else the old one ends and a new one begins.

        Raises UnknownSilenceError, DefinedInConfigError, ValueError.
        """
        old, now = self._stored_one(silence_id), self._now()
        checked_draft(draft, now)
        if _stays_true(old, draft, now):
            changed = replace(
                old,
                starts_at=old.starts_at if old.state(now) is SilenceState.ACTIVE else draft.starts_at,
                ends_at=draft.ends_at,
                created_by=draft.created_by,
                comment=draft.comment,
                updated_at=now,
            )
            await self._write([changed], action="silence.changed", actor=actor)
            return changed
        made = self._made(draft, now)
        if old.state(now) is not SilenceState.EXPIRED:
            await self._write([_ended(old, now), made], action="silence.replaced", actor=actor)
            return made
        self._refuse_too_many(now)
        await self._write([made], action="silence.created", actor=actor)
        return made

    async def expire(self, silence_id: str, *, actor: str) -> Silence:
        """End a silence now, durably when it returns; one that is over stays as it is.

        Raises UnknownSilenceError, DefinedInConfigError.
        """
        old, now = self._stored_one(silence_id), self._now()
        if old.state(now) is SilenceState.EXPIRED:
            return old
        ended = _ended(old, now)
        await self._write([ended], action="silence.expired", actor=actor)
        return ended

    async def prune(self, before: datetime) -> int:
        """Delete the silences that were over before a moment; return how many."""
        old = {silence.id for silence in self._stored.values() if silence.ends_at is not None and silence.ends_at < before}

        def work() -> Work[int]:
            rows = yield Sql("DELETE FROM silences WHERE ends_at < ? RETURNING id", (to_micros(before),))
            return len(rows)

        deleted = await self._database.write(work)
        self._stored = {key: silence for key, silence in self._stored.items() if key not in old}
        return deleted

    # --- its own -------------------------------------------------------------------------------------------------------

    def _stored_one(self, silence_id: str) -> Silence:
        if silence_id in self._defined:
            raise DefinedInConfigError(
                f"The silence {silence_id} is defined by alerting.silences in the config file (`tollwatch config show` names it): "
                "change it there, then `tollwatch reload`"
            )
        if silence_id not in self._stored:
            raise UnknownSilenceError(silence_id)
        return self._stored[silence_id]

    def _refuse_too_many(self, now: datetime) -> None:
        if sum(silence.state(now) is not SilenceState.EXPIRED for silence in self._stored.values()) >= MOST:
            raise ValueError(f"There are {MOST:,} silences that are not over, as many as there may be: let some expire first")

    def _made(self, draft: SilenceDraft, now: datetime) -> Silence:
        return Silence(
            id=str(uuid4()),
            matchers=draft.matchers,
            starts_at=max(draft.starts_at, now),
            ends_at=draft.ends_at,
            created_by=draft.created_by,
            comment=draft.comment,
            updated_at=now,
        )

    async def _write(self, silences: Sequence[Silence], *, action: str, actor: str) -> None:
        at = self._now()

        def work() -> Work[None]:
            for silence in silences:
                yield Sql(_WRITE, _row(silence))
                yield audit_row(at=at, actor=actor, action=action, subject=silence.id, detail=_told(silence))

        await self._database.write(work)
        self._stored = {**self._stored, **{silence.id: silence for silence in silences}}  # the writer's thread may be reading the old one


def _stays_true(old: Silence, draft: SilenceDraft, now: datetime) -> bool:
    """Whether nothing changes of what a silence has done so far."""
    state = old.state(now)
    if set(old.matchers) != set(draft.matchers) or state is SilenceState.EXPIRED:
        return False
    if state is SilenceState.PENDING:
        return draft.starts_at >= now
    return int(draft.starts_at.timestamp()) == int(old.starts_at.timestamp())  # amtool sends back no more than milliseconds


def _ended(silence: Silence, now: datetime) -> Silence:
    return replace(silence, starts_at=min(silence.starts_at, now), ends_at=now, updated_at=now)


def _told(silence: Silence) -> str:
    """Return what the audit trail says of a silence."""
    ends = silence.ends_at.isoformat() if silence.ends_at else None
    matchers = [str(matcher) for matcher in silence.matchers]
    return json.dumps({"matchers": matchers, "starts_at": silence.starts_at.isoformat(), "ends_at": ends, "comment": silence.comment})


def _row(silence: Silence) -> Row:
    matchers = json.dumps([str(matcher) for matcher in silence.matchers])
    ends_at = to_micros(cast("datetime", silence.ends_at))  # `checked_draft` lets none without an end pass
    starts_at, updated_at = to_micros(silence.starts_at), to_micros(silence.updated_at)
    return (silence.id, matchers, starts_at, ends_at, silence.created_by, silence.comment, updated_at)


def _from_row(row: Row) -> Silence:
    silence_id, matchers, starts_at, ends_at, created_by, comment, updated_at = row
    return Silence(
        id=cast("str", silence_id),
        matchers=_matchers(cast("str", matchers)),
        starts_at=from_micros(cast("int", starts_at)),
        ends_at=from_micros(cast("int", ends_at)),
        created_by=cast("str", created_by),
        comment=cast("str", comment),
        updated_at=from_micros(cast("int", updated_at)),
    )


def _matchers(text: str) -> tuple[Matcher, ...]:
    return tuple(map(parse_matcher, cast("list[str]", json.loads(text))))


def in_order(silences: Iterable[Silence], now: datetime) -> Sequence[Silence]:
    """Return the active, the pending, the expired; among them the one that ends soonest first."""
    return sorted(silences, key=lambda one: (_ORDER.index(one.state(now)), one.ends_at is None, one.ends_at or now, one.id))


def defined_silence(settings: SilenceSettings) -> Silence:
    """Return the silence that the config file defines; its id is the same at each start."""
    starts_at = settings.starts or _ALWAYS
    return Silence(
        id=str(uuid5(NAMESPACE_OID, settings.model_dump_json())),
        matchers=settings.parsed,
        starts_at=starts_at,
        ends_at=settings.ends,
        created_by=settings.created_by,
        comment=settings.comment,
        updated_at=starts_at,
        in_config=True,
    )
