"""API tokens: made by name, with scopes and an end, for programs that read or act."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from api.scopes import Principal, Scope
from api.secret import TOKEN_PREFIX, ExpiredTokenError, digest, new_secret, same
from api.sessions import SEEN_EVERY
from api.times import Clock, rfc3339
from storage.audit import audit_row
from storage.database import Database, Row, Sql, Work
from storage.ids import uuid7
from storage.times import from_micros, to_micros

_COLUMNS = "id, name, scopes, created_at, expires_at, revoked_at, last_used_at"


class TokenError(ValueError):
    """The token cannot be made as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """What is known of a token after it was made."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def as_json(self) -> dict[str, str | list[str] | None]:
        """Return the token for lists: never its secret, which nobody keeps."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "created_at": rfc3339(self.created_at),
            "expires_at": rfc3339(self.expires_at) if self.expires_at else None,
            "revoked_at": rfc3339(self.revoked_at) if self.revoked_at else None,
            "last_used_at": rfc3339(self.last_used_at) if self.last_used_at else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token that has just been made; the only moment its secret is known."""

    token: ApiToken
    secret: str


class Tokens:
    """The API tokens of this gateway."""

    def __init__(self, database: Database, *, now: Clock) -> None:
        self._database = database
        self._now = now

    async def create(self, *, name: str, scopes: Iterable[Scope], expires_at: datetime | None = None, actor: str) -> NewToken:
        """Make a token. Raises TokenError: no name, no scope, an end in the past, a name that is taken."""
        now = self._now()
        scopes = frozenset(scopes)
        if not name or len(name) > 100 or not name.isprintable():
            raise TokenError(f"Cannot make a token named {name!r}: a name has 1 to 100 printable characters")
        if not scopes:
            raise TokenError(f"Cannot make the token {name!r} without a scope: use one or more of {', '.join(Scope)}")
        if expires_at is not None and expires_at <= now:
            raise TokenError(f"Cannot make the token {name!r}: its end {rfc3339(expires_at)} is not in the future")
        secret = new_secret(TOKEN_PREFIX)
        token = ApiToken(
            id=str(uuid7(now)), name=name, scopes=scopes, created_at=now, expires_at=expires_at, revoked_at=None, last_used_at=None
        )
        if not await self._database.write(partial(_insert, token, digest(secret), actor)):
            raise TokenError(f"Cannot make the token {name!r}: the name is taken. Revoke that token first or choose another name")
        return NewToken(token=token, secret=secret)

    async def list(self) -> list[ApiToken]:
        """Return all tokens by name, revoked ones too."""
        return [_token(row) for row in await self._database.read(f"SELECT {_COLUMNS} FROM api_tokens ORDER BY name")]  # noqa: S608 - constant

    async def revoke(self, name: str, *, actor: str) -> bool:
        """Make a token useless at once. False when no live token has this name."""
        return await self._database.write(partial(_revoke, name, self._now(), actor))

    async def find(self, secret: str) -> Principal | None:
        """Return who a token stands for, None when it is unknown or revoked. Raises ExpiredTokenError past its end."""
        token = await self._good(secret)
        return None if token is None else Principal(name=token.name, scopes=token.scopes)

    async def client(self, *, client_id: str, secret: str) -> ApiToken | None:
        """Return the token of this id and secret, None when there is none, or it is revoked or past its end."""
        try:
            token = await self._good(secret)
        except ExpiredTokenError:
            return None
        return token if token is not None and same(token.id, client_id) else None

    async def _good(self, secret: str) -> ApiToken | None:
        hashed, now = digest(secret), self._now()
        rows = await self._database.read(f"SELECT {_COLUMNS}, hash FROM api_tokens WHERE hash = ?", (hashed,))  # noqa: S608 - constant
        if not rows or not same(str(rows[0][-1]), hashed):
            return None
        token = _token(rows[0])
        if token.revoked_at:
            return None
        if token.expires_at and now >= token.expires_at:
            raise ExpiredTokenError
        if token.last_used_at is None or now - token.last_used_at >= SEEN_EVERY:
            await self._database.write(partial(_touch, token.id, now))
        return token


def scopes_of(kept: str) -> frozenset[Scope]:
    """Return the scopes that a row of the store names."""
    return frozenset(map(Scope, kept.split(",")))


def _insert(token: ApiToken, hashed: str, actor: str) -> Work[bool]:
    scopes = ",".join(sorted(token.scopes))
    yield Sql("DELETE FROM api_tokens WHERE name = ? AND revoked_at IS NOT NULL", (token.name,))
    rows = yield Sql(
        "INSERT INTO api_tokens (id, name, hash, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO NOTHING RETURNING id",
        (token.id, token.name, hashed, scopes, to_micros(token.created_at), to_micros(token.expires_at) if token.expires_at else None),
    )
    if rows:
        end = rfc3339(token.expires_at) if token.expires_at else "never"
        detail = f"scopes {scopes}; expires {end}"
        yield audit_row(at=token.created_at, actor=actor, action="token.created", subject=token.name, detail=detail)
    return bool(rows)


def _revoke(name: str, now: datetime, actor: str) -> Work[bool]:
    rows = yield Sql("UPDATE api_tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL RETURNING id", (to_micros(now), name))
    if rows:
        yield audit_row(at=now, actor=actor, action="token.revoked", subject=name)
    return bool(rows)


def _touch(token_id: str, now: datetime) -> Work[None]:
    yield Sql("UPDATE api_tokens SET last_used_at = ? WHERE id = ?", (to_micros(now), token_id))


def _token(row: Row) -> ApiToken:
    moments = [None if value is None else from_micros(int(value)) for value in row[4:7]]
    return ApiToken(
        id=str(row[0]),
        name=str(row[1]),
        scopes=scopes_of(str(row[2])),
        created_at=from_micros(int(row[3] or 0)),
        expires_at=moments[0],
        revoked_at=moments[1],
        last_used_at=moments[2],
    )
