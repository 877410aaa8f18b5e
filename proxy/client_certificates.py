"""The client certificates that were issued here, and which of them are revoked; durable, and in force at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from proxy.client_authority import Field, Issued
from storage.audit import audit_row
from storage.database import Database, Many, Row, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]

_COLUMNS = "serial, field, name, sha256, issued_at, not_after, revoked_at, revoked_by"
_ALL = f"SELECT {_COLUMNS} FROM client_certificates ORDER BY issued_at, serial"  # noqa: S608  # a constant
_INSERT = f"INSERT INTO client_certificates ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)"  # noqa: S608  # the same
_REVOKE = "UPDATE client_certificates SET revoked_at = ?, revoked_by = ? WHERE serial = ? AND revoked_at IS NULL"
_SHORTEST_SERIAL = 8
"""Digits of a serial number that may stand for the whole, where no other begins so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A certificate and what became of it."""

    issued: Issued
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    def state(self, at: datetime) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.issued.not_after <= at else "valid"

    def as_json(self, at: datetime) -> dict[str, str | None]:
        """Return it as a JSON object."""
        issued = self.issued
        return {
            "serial": issued.serial,
            "name": issued.name,
            "field": issued.field,
            "state": self.state(at),
            "issued_at": issued.issued_at.isoformat(),
            "not_after": issued.not_after.isoformat(),
            "revoked_at": self.revoked_at.isoformat() if self.revoked_at else None,
            "revoked_by": self.revoked_by,
            "sha256": issued.sha256,
        }


class ClientRegister:
    """In memory for the question that each call asks, and in the store. What stands not in it is not good, whoever signed it."""

    def __init__(self, database: Database, *, now: Clock) -> None:
        self._database = database
        self._now = now
        self.known: dict[str, Issued] = {}
        """By serial number, the revoked ones included."""
        self.revoked: set[str] = set()
        """Serial numbers."""

    async def load(self) -> None:
        """Take over what stands in the store."""
        for one in await read(self._database):
            self.known[one.issued.serial] = one.issued
            if one.revoked_at is not None:
                self.revoked.add(one.issued.serial)

    async def record(self, issued: Issued, *, actor: str) -> None:
        """Accept a certificate from now on, durably when it returns."""
        await self._database.write(lambda: _recording(issued, actor=actor))
        self.known[issued.serial] = issued

    async def revoke(self, key: str, *, actor: str) -> Sequence[Issued]:
        """Refuse a certificate (by its serial number) or all of a name, at once and durably. Raises ValueError when nothing is meant."""
        meant = self._meant(key)
        new = [issued for issued in meant if issued.serial not in self.revoked]
        if not new:
            raise ValueError(f"{key[:80]!r} is revoked already")
        serials = {issued.serial for issued in new}
        self.revoked |= serials
        try:
            await self._database.write(lambda: _revoking(new, actor=actor, at=self._now()))
        except BaseException:
            self.revoked -= serials
            raise
        return new

    def _meant(self, key: str) -> Sequence[Issued]:
        if named := [issued for issued in self.known.values() if issued.name == key]:
            return named
        digits = key.replace(":", "").lower()
        found = [self.known[serial] for serial in self.known if len(digits) >= _SHORTEST_SERIAL and serial.startswith(digits)]
        if len(found) == 1:
            return found
        if found:
            raise ValueError(f"{len(found)} certificates begin with {key!r}; write more digits of the serial number")
        raise ValueError(
            f"There is no client certificate with the name or serial number {key[:80]!r}; `tollwatch ca client ls` shows them all"
        )


async def read(database: Database) -> Sequence[Registered]:
    """Return every certificate that was issued, the oldest first."""
    return [_from_row(row) for row in await database.read(_ALL)]


def _from_row(row: Row) -> Registered:
    serial, field, name, sha256, issued_at, not_after, revoked_at, revoked_by = row
    return Registered(
        issued=Issued(
            serial=cast("str", serial),
            field=cast("Field", field),
            name=cast("str", name),
            sha256=cast("str", sha256),
            issued_at=from_micros(cast("int", issued_at)),
            not_after=from_micros(cast("int", not_after)),
        ),
        revoked_at=None if revoked_at is None else from_micros(cast("int", revoked_at)),
        revoked_by=cast("str | None", revoked_by),
    )


def _recording(issued: Issued, *, actor: str) -> Work[None]:
    issued_at, not_after = to_micros(issued.issued_at), to_micros(issued.not_after)
    yield Sql(_INSERT, (issued.serial, issued.field, issued.name, issued.sha256, issued_at, not_after))
    yield _audit(issued, "issued", actor=actor, at=issued.issued_at)


def _revoking(meant: Sequence[Issued], *, actor: str, at: datetime) -> Work[None]:
    moment = to_micros(at)
    yield Many(_REVOKE, [(moment, actor, issued.serial) for issued in meant])
    for one in meant:
        yield _audit(one, "revoked", actor=actor, at=at)


def _audit(issued: Issued, what: str, *, actor: str, at: datetime) -> Sql:
    return audit_row(at=at, actor=actor, action=f"client_certificate.{what}", subject=issued.serial, detail=f"{issued.field} {issued.name}")
