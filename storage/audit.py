"""The audit trail: who changed what, when. Rows are appended and read; nothing in the product changes or deletes one."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from urllib.parse import urlsplit

from storage.database import Database, Sql, Value
from storage.times import from_micros, to_micros

_APPEND = "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)"
_KNOWN = "SELECT 1 FROM audit WHERE seq = ?"


def audit_row(*, at: datetime, actor: str, action: str, subject: str, detail: str = "") -> Sql:
    """Return the statement that appends one row; it rides in the transaction of the change it tells of.

    `action` is `<noun>.<what was done>` (`token.created`), `subject` the name or id of what was changed, `detail` what a reader needs
    besides (JSON where it has parts). None of them may hold a secret.
    """
    return Sql(_APPEND, (to_micros(at), actor, action, subject, detail))


def place_of(url: str) -> str:
    """Return where a URL leads to, without what may be a secret in it: a path, a query, a user."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change. `id` grows with each, and is never given twice."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: str

    def as_json(self) -> dict[str, str | int]:
        """Return it as a JSON object; the moment is RFC 3339."""
        return {
            "id": self.id,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "actor": self.actor,
            "action": self.action,
            "subject": self.subject,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuestion:
    """Which changes are asked for; None: no restriction."""

    limit: int
    since: datetime | None = None
    after: int | None = None
    """Those that follow this one in the order asked for."""
    newest_first: bool = False
    actor: str | None = None
    action: str | None = None
    """A whole action (`token.created`), or its noun alone (`token`)."""


class AuditTrail:
    """The trail, for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, question: AuditQuestion) -> list[AuditEntry]:
        """Return a page of the trail."""
        text, params = _select(question)
        rows = cast("list[tuple[int, int, str, str, str, str]]", await self._database.read(text, params))
        return [
            AuditEntry(id=seq, at=from_micros(at), actor=actor, action=action, subject=subject, detail=detail)
            for seq, at, actor, action, subject, detail in rows
        ]

    async def has(self, entry_id: int) -> bool:
        """Whether an entry has this id."""
        return bool(await self._database.read(_KNOWN, (entry_id,)))


def _select(question: AuditQuestion) -> tuple[str, list[Value]]:
    where, params = ["1 = 1"], list[Value]()
    if question.since is not None:
        where.append("at >= ?")
        params.append(to_micros(question.since))
    if question.after is not None:
        where.append("seq < ?" if question.newest_first else "seq > ?")
        params.append(question.after)
    if question.actor is not None:
        where.append("actor = ?")
        params.append(question.actor)
    if question.action is not None:
        where.append("(action = ? OR substr(action, 1, ?) = ?)")
        noun = f"{question.action}."
        params += [question.action, len(noun), noun]
    order = "DESC" if question.newest_first else "ASC"
    columns = f"SELECT seq, at, actor, action, subject, detail FROM audit WHERE {' AND '.join(where)}"  # noqa: S608  # values are bound
    return f"{columns} ORDER BY seq {order} LIMIT ?", [*params, question.limit]
