"""Session tokens: what a login gives."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from api.scopes import ALL_SCOPES, Principal
from api.secret import SESSION_PREFIX, ExpiredTokenError, digest, new_secret, same
from api.settings import SessionSettings
from api.times import Clock
from storage.database import Database, Sql, Work
from storage.ids import uuid7
from storage.times import from_micros, to_micros

SEEN_EVERY = timedelta(minutes=1)
"""How often the last use of a token is written, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session that has just begun; the only moment its token is known."""

    token: str
    expires_at: datetime


class Sessions:
    """Sessions end after an absolute span, after an idle span, by logout, or when newer ones push them out."""

    def __init__(self, database: Database, *, settings: SessionSettings, now: Clock) -> None:
        self._database = database
        self._settings = settings
        self._now = now
        self._used: dict[str, datetime] = {}

    async def begin(self) -> Session:
        """Make a session; the oldest goes when there are too many."""
        now = self._now()
        session = Session(token=new_secret(SESSION_PREFIX), expires_at=now + self._settings.absolute)
        for session_id in await self._database.write(partial(self._insert, session, now)):
            self._used.pop(session_id, None)
        return session

    async def find(self, token: str) -> Principal | None:
        """Return who a session token stands for, None when it is unknown. Raises ExpiredTokenError when it has ended just now."""
        hashed = digest(token)
        rows = await self._database.read("SELECT id, hash, last_used_at, expires_at FROM sessions WHERE hash = ?", (hashed,))
        if not rows or not same(str(rows[0][1]), hashed):
            return None
        session_id, now = str(rows[0][0]), self._now()
        written = from_micros(int(rows[0][2] or 0))
        used = max(written, self._used.get(session_id, written))
        if now >= from_micros(int(rows[0][3] or 0)) or now - used >= self._settings.idle:
            await self.end(session_id)
            raise ExpiredTokenError
        self._used[session_id] = max(now, used)
        if now - written >= min(SEEN_EVERY, self._settings.idle / 10):
            await self._database.write(partial(_touch, session_id, now))
        return Principal(name="session", scopes=ALL_SCOPES, session_id=session_id)

    async def lasts(self, token: str) -> bool:
        """Whether a session still is one. Unlike `find` this is no use of it: it ends after its idle span all the same."""
        rows = await self._database.read("SELECT id, last_used_at, expires_at FROM sessions WHERE hash = ?", (digest(token),))
        if not rows:
            return False
        session_id, now, written = str(rows[0][0]), self._now(), from_micros(int(rows[0][1] or 0))
        used = max(written, self._used.get(session_id, written))
        return now < from_micros(int(rows[0][2] or 0)) and now - used < self._settings.idle

    async def end(self, session_id: str) -> None:
        """Make a session's token useless."""
        self._used.pop(session_id, None)
        await self._database.write(partial(_delete, session_id))

    def _insert(self, session: Session, now: datetime) -> Work[list[str]]:
        at = to_micros(now)
        yield Sql(
            "INSERT INTO sessions (id, hash, created_at, last_used_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            (str(uuid7(now)), digest(session.token), at, at, to_micros(session.expires_at)),
        )
        gone = yield Sql(
            "DELETE FROM sessions WHERE expires_at <= ? OR id NOT IN"
            " (SELECT id FROM sessions WHERE expires_at > ? ORDER BY created_at DESC, id DESC LIMIT ?) RETURNING id",
            (at, at, self._settings.at_most),
        )
        return [str(session_id) for (session_id,) in gone]


def _touch(session_id: str, now: datetime) -> Work[None]:
    yield Sql("UPDATE sessions SET last_used_at = ? WHERE id = ? AND last_used_at < ?", (to_micros(now), session_id, to_micros(now)))


def _delete(session_id: str) -> Work[None]:
    yield Sql("DELETE FROM sessions WHERE id = ?", (session_id,))
