"""Access tokens that live an hour: what an API token's id and secret are exchanged for (RFC 6749, client credentials)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from api.scopes import Principal, Scope
from api.secret import GRANT_PREFIX, ExpiredTokenError, digest, new_secret, same
from api.times import Clock
from api.tokens import ApiToken, scopes_of
from storage.database import Database, Sql, Work
from storage.ids import uuid7
from storage.times import from_micros, to_micros

LIFETIME: Final = timedelta(hours=1)
AT_MOST: Final = 100
"""Access tokens of one API token that are good at a time; beyond, the oldest goes."""

_FIND = """
SELECT g.hash, g.scopes, g.expires_at, t.name, t.scopes, t.expires_at
FROM access_tokens g JOIN api_tokens t ON t.id = g.token_id
WHERE g.hash = ? AND t.revoked_at IS NULL
"""
_INSERT = "INSERT INTO access_tokens (id, hash, token_id, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)"
_TIDY = """
DELETE FROM access_tokens WHERE expires_at <= ? OR (token_id = ? AND id NOT IN
    (SELECT id FROM access_tokens WHERE token_id = ? ORDER BY created_at DESC, id DESC LIMIT ?))
"""


class ScopeError(ValueError):
    """More is asked for than the API token may; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An access token that has just been made; the only moment it is known."""

    access_token: str
    scopes: frozenset[Scope]
    lifetime: timedelta


class Grants:
    """Access tokens carry at most what their API token does, and die with it. Only their SHA-256 is kept."""

    def __init__(self, database: Database, *, now: Clock) -> None:
        self._database = database
        self._now = now

    async def issue(self, token: ApiToken, *, scopes: frozenset[Scope] | None = None) -> Grant:
        """Make an access token; `scopes` narrows what it may. Raises ScopeError."""
        now = self._now()
        wanted = token.scopes if scopes is None else scopes
        if not wanted <= token.scopes and Scope.ADMIN not in token.scopes:
            raise ScopeError(f"the token {token.name!r} lacks the scope {min(wanted - token.scopes)}")
        end = min(now + LIFETIME, token.expires_at or now + LIFETIME)
        grant = Grant(access_token=new_secret(GRANT_PREFIX), scopes=wanted, lifetime=end - now)
        await self._database.write(partial(_insert, grant, token.id, now, end))
        return grant

    async def find(self, secret: str) -> Principal | None:
        """Return who an access token stands for, None when it is unknown or its API token is revoked.

        Raises ExpiredTokenError past its end.
        """
        hashed = digest(secret)
        rows = await self._database.read(_FIND, (hashed,))
        if not rows or not same(str(rows[0][0]), hashed):
            return None
        _, own, end, name, most, token_end = rows[0]
        now = self._now()
        if any(at is not None and now >= from_micros(int(at)) for at in (end, token_end)):
            raise ExpiredTokenError
        own_scopes, token_scopes = scopes_of(str(own)), scopes_of(str(most))
        return Principal(name=str(name), scopes=own_scopes if Scope.ADMIN in token_scopes else own_scopes & token_scopes)


def _insert(grant: Grant, token_id: str, now: datetime, end: datetime) -> Work[None]:
    at = to_micros(now)
    yield Sql(_INSERT, (str(uuid7(now)), digest(grant.access_token), token_id, ",".join(sorted(grant.scopes)), at, to_micros(end)))
    yield Sql(_TIDY, (at, token_id, token_id, AT_MOST))
