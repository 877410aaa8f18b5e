"""The one password of this gateway, and the one-time code that lets a person set it."""

import asyncio
from functools import partial
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from api.secret import same
from api.times import Clock
from storage.audit import audit_row
from storage.database import Database, Sql, Work

MIN_LENGTH = 8
MAX_LENGTH = 1024
_NAME = "api.password"
_AT_ONCE = 2  # each hash takes 64 MiB and a core


class SetupCode(Protocol):
    """The one-time code that the first start prints and keeps in a file that only its owner can read."""

    def read(self) -> str | None:
        """Return the code, None when it is used up."""
        ...

    def consume(self) -> None:
        """Make the code useless."""
        ...


class SetupError(ValueError):
    """The password cannot be set as asked; the message is for the person who asked."""


class SetupCodeError(SetupError):
    """The setup code is missing or wrong."""


class AlreadySetError(SetupError):
    """There is a password already."""


class Passwords:
    """Keeps the argon2id hash of the password; hashing runs in a thread, two at once at most."""

    def __init__(self, database: Database, *, setup_code: SetupCode, now: Clock, hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._setup_code = setup_code
        self._now = now
        self._hasher = hasher or PasswordHasher()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def is_set(self) -> bool:
        """Whether a password has been set."""
        return await self._hash() is not None

    async def set_first(self, *, password: str, confirm: str, code: str | None) -> None:
        """Set the password of a gateway that has none, and use the code up. Raises SetupError."""
        if await self.is_set():
            raise AlreadySetError("password already configured")
        expected = self._setup_code.read()
        if code is None or expected is None or not same(code, expected):
            raise SetupCodeError("setup code required")
        if password != confirm:
            raise SetupError("passwords do not match")
        if len(password) < MIN_LENGTH:
            raise SetupError(f"password must be at least {MIN_LENGTH} characters")
        if len(password) > MAX_LENGTH:
            raise SetupError(f"password must be at most {MAX_LENGTH} characters")
        async with self._room:
            hashed = await asyncio.to_thread(self._hasher.hash, _bytes(password))
        if not await self._database.write(partial(self._insert, hashed)):
            raise AlreadySetError("password already configured")
        self._setup_code.consume()

    async def verify(self, password: str) -> bool:
        """Whether this is the password. False when none is set."""
        hashed = await self._hash()
        if hashed is None or len(password) > MAX_LENGTH:
            return False
        async with self._room:
            return await asyncio.to_thread(self._matches, hashed, password)

    async def forget(self, *, actor: str) -> None:
        """Remove the password and end every session, so that a new setup code can set another."""
        await self._database.write(partial(self._remove, actor))

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, _bytes(password))
        except VerificationError:
            return False

    async def _hash(self) -> str | None:
        rows = await self._database.read("SELECT value FROM meta WHERE name = ?", (_NAME,))
        return str(rows[0][0]) if rows else None

    def _insert(self, hashed: str) -> Work[bool]:
        rows = yield Sql("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING RETURNING name", (_NAME, hashed))
        if rows:
            yield audit_row(at=self._now(), actor="setup code", action="password.set", subject="password")
        return bool(rows)

    def _remove(self, actor: str) -> Work[None]:
        yield Sql("DELETE FROM meta WHERE name = ?", (_NAME,))
        yield Sql("DELETE FROM sessions")
        yield audit_row(at=self._now(), actor=actor, action="password.removed", subject="password")


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
