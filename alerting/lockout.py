"""Callers who are locked out: by command, or because they broke critical rules again and again; durable, and lifted by a person only."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, cast

from alerting.book import AlertBook
from alerting.finding import Action, AlertKind, Finding, Occurrence, Subject, Taken
from alerting.fingerprint import fingerprint
from alerting.kinds import KINDS
from metering.call import Caller
from storage.audit import audit_row
from storage.database import Database, Sql, Value, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]
type Field = Literal["user", "key_id"]

_LONGEST = 200
_COUNTED = 10_000
"""Callers whose violations are counted at a time; names come from clients, so their number must have an end."""

_COLUMNS = "field, name, locked_at, locked_by, reason"
_LOCKED = f"SELECT {_COLUMNS} FROM lockouts WHERE released_at IS NULL ORDER BY locked_at, field, name"  # noqa: S608  # a constant
_LOCK = """
INSERT INTO lockouts (field, name, locked_at, locked_by, reason, released_at, released_by) VALUES (?, ?, ?, ?, ?, NULL, NULL)
ON CONFLICT (field, name) DO UPDATE SET locked_at = excluded.locked_at, locked_by = excluded.locked_by, reason = excluded.reason,
    released_at = NULL, released_by = NULL
WHERE lockouts.released_at IS NOT NULL
"""
_RELEASE = "UPDATE lockouts SET released_at = ?, released_by = ? WHERE field = ? AND name = ? AND released_at IS NULL RETURNING name"
_VIOLATIONS = """
SELECT a.subject, d.detected_at, d.call_id FROM alerts a JOIN detections d ON d.alert_seq = a.seq
WHERE a.severity = 'critical' AND a.kind NOT IN ('user_locked_out', 'client_cert_revoked') AND a.last_seen_at > ?
  AND d.action = 'blocked' AND d.detected_at > ?
ORDER BY d.detected_at
"""
_RELEASES = "SELECT field, name, released_at FROM lockouts WHERE released_at IS NOT NULL AND released_at > ?"


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a lock is about: a user by name, or whoever comes with a provider key."""

    field: Field
    name: str

    def __str__(self) -> str:
        return f"user {self.name}" if self.field == "user" else f"key {self.name}"

    @property
    def option(self) -> str:
        """How the commands name it."""
        return self.name if self.field == "user" else f"{self.name} --key"

    @property
    def episode(self) -> tuple[str, ...]:
        """What makes two findings on this lock one alert."""
        return (self.name,) if self.field == "user" else ("key_id", self.name)


def who_is(caller: Caller) -> Who | None:
    """Return by what a caller is known: the user, else the key; None when by neither."""
    if caller.user:
        return Who("user", caller.user[:_LONGEST])
    return Who("key_id", caller.key_id) if caller.key_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One caller who is locked out: since when, by whom, why."""

    who: Who
    locked_at: datetime
    locked_by: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """Return it as a JSON object."""
        return {
            "field": self.who.field,
            "name": self.who.name,
            "locked_at": self.locked_at.isoformat(),
            "locked_by": self.locked_by,
            "reason": self.reason,
        }


def locked_out(lock: Lock, *, subject: Subject | None = None) -> Finding:
    """Return the finding on a lock, or on a call of the one who is locked out."""
    who = lock.who
    return Finding(
        kind=AlertKind.USER_LOCKED_OUT,
        action=Action.BLOCK,
        severity=KINDS[AlertKind.USER_LOCKED_OUT].severity_of(blocked=True),
        title=f"Locked out: {who}",
        message=f"The {who} is locked out since {lock.locked_at:%Y-%m-%d %H:%M} UTC ({lock.reason}).",
        episode=who.episode,
        subject=subject or Subject(user=who.name if who.field == "user" else None, key_id=who.name if who.field == "key_id" else None),
        evidence={"locked_by": lock.locked_by, "reason": lock.reason, "locked_at": lock.locked_at.isoformat()},
        remedy=f"Ask whoever runs the gateway to release it: tollwatch users unlock {who.option}",
    )


class Lockouts:
    """Who is locked out now, in memory for the question that each call asks, and in the store."""

    def __init__(self, database: Database, book: AlertBook, *, now: Clock) -> None:
        self._database = database
        self._book = book
        self._now = now
        self._users: dict[str, Lock] = {}
        self._keys: dict[str, Lock] = {}
        self._struck: dict[Who, deque[datetime]] = {}

    # --- questions -----------------------------------------------------------------------------------------------------

    def of(self, caller: Caller) -> Lock | None:
        """Return the lock that a caller is under: its user's, else its key's."""
        if self._users and caller.user is not None and (lock := self._users.get(caller.user[:_LONGEST])):
            return lock
        return self._keys.get(caller.key_id) if self._keys and caller.key_id is not None else None

    async def load(self, *, within: timedelta) -> None:
        """Take over what an earlier run left: the locks, and the violations that still count."""
        for lock in await read(self._database):
            self._put(lock)
        since = to_micros(self._now() - within)
        released = {
            Who(cast("Field", field), cast("str", name)): cast("int", at)
            for field, name, at in await self._database.read(_RELEASES, (since,))
        }
        calls: set[Value] = set()
        for subject, at, call_id in await self._database.read(_VIOLATIONS, (since, since)):
            known = json.loads(cast("str", subject))
            who = who_is(Caller(user=known.get("user"), key_id=known.get("key_id")))
            if who is not None and call_id not in calls and cast("int", at) > released.get(who, 0):
                calls.add(call_id)
                self._struck.setdefault(who, deque()).append(from_micros(cast("int", at)))

    # --- violations ----------------------------------------------------------------------------------------------------

    def strike(self, who: Who, *, at: datetime, after: int, within: timedelta) -> bool:
        """Count a critical violation; return whether it is the one that locks out. Then counting begins anew."""
        times = self._struck.get(who)
        if times is None:
            if len(self._struck) >= _COUNTED:
                self._forget(at - within)
            times = self._struck[who] = deque()
        times.append(at)
        while times[0] <= at - within:
            times.popleft()
        if len(times) < after:
            return False
        del self._struck[who]
        return True

    def _forget(self, before: datetime) -> None:
        """Drop the callers whose violations no longer count, else the one counted longest."""
        for who in [who for who, times in self._struck.items() if times[-1] <= before]:
            del self._struck[who]
        if len(self._struck) >= _COUNTED:
            del self._struck[next(iter(self._struck))]

    def locking(self, lock: Lock) -> Work[None]:
        """Return the unit of work that makes a lock durable, and its alert with it; `put` must come before, `take_back` when it fails."""
        yield from self._locking(lock, taken=Taken.BLOCKED)

    def put(self, lock: Lock) -> None:
        """Refuse the caller's next calls."""
        self._put(lock)

    def take_back(self, lock: Lock) -> None:
        """Undo `put`: the lock could not be written."""
        self._of(lock.who).pop(lock.who.name, None)

    # --- commands ------------------------------------------------------------------------------------------------------

    async def lock(self, who: Who, *, actor: str, reason: str) -> Lock:
        """Lock a caller out, durably when it returns. One who is locked out already stays so as it was."""
        if present := self._of(who).get(who.name):
            return present
        lock = Lock(who=who, locked_at=self._now(), locked_by=actor, reason=reason)
        self._put(lock)
        try:
            await self._database.write(lambda: self._locking(lock, taken=Taken.ALERTED))
        except BaseException:
            self.take_back(lock)
            raise
        return lock

    async def unlock(self, who: Who, *, actor: str) -> bool:
        """Release a caller, durably when it returns, and end the alert; False when nobody is locked out by that name."""
        lock = self._of(who).pop(who.name, None)
        if lock is None:
            return False
        self._struck.pop(who, None)
        key = fingerprint(AlertKind.USER_LOCKED_OUT, who.episode)
        try:
            await self._book.drain()
            await self._database.write(lambda: self._releasing(who, key, actor=actor, at=self._now()))
        except BaseException:
            self._put(lock)
            raise
        await self._book.clear(key)  # a refusal that was under way may have opened it again
        return True

    # --- the store -----------------------------------------------------------------------------------------------------

    def _locking(self, lock: Lock, *, taken: Taken) -> Work[None]:
        at, who = to_micros(lock.locked_at), lock.who
        yield Sql(_LOCK, (who.field, who.name, at, lock.locked_by, lock.reason))
        yield audit_row(at=lock.locked_at, actor=lock.locked_by, action="user.locked", subject=str(who), detail=lock.reason)
        yield from self._book.work([Occurrence(finding=locked_out(lock), taken=taken, at=lock.locked_at)])

    def _releasing(self, who: Who, key: str, *, actor: str, at: datetime) -> Work[None]:
        moment = to_micros(at)
        if (yield Sql(_RELEASE, (moment, actor, who.field, who.name))):
            yield audit_row(at=at, actor=actor, action="user.unlocked", subject=str(who))
        yield from self._book.clearing(key, at=at)

    def _of(self, who: Who) -> dict[str, Lock]:
        return self._users if who.field == "user" else self._keys

    def _put(self, lock: Lock) -> None:
        self._of(lock.who)[lock.who.name] = lock


async def read(database: Database) -> Sequence[Lock]:
    """Return who is locked out, the longest first."""
    return [
        Lock(
            who=Who(cast("Field", field), cast("str", name)),
            locked_at=from_micros(cast("int", at)),
            locked_by=cast("str", by),
            reason=cast("str", reason),
        )
        for field, name, at, by, reason in await database.read(_LOCKED)
    ]
