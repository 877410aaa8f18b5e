"""Who changed what, when (`/api/audit`)."""

from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import Field

from api.bodies import Answer
from api.errors import InvalidError, json_response
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope
from storage.audit import AuditQuestion

MOST = 1000


class AuditQuery(Query):
    """Which changes to list."""

    since: datetime | None = None
    """Only changes of this moment or later."""
    after: int | None = Field(default=None, ge=1, le=10**15)
    """The change after which the page begins: `next_after` of the page before."""
    limit: int = Field(default=100, ge=1, le=MOST)
    """How many at most."""
    order: Literal["oldest", "newest"] = "oldest"
    """Which come first."""
    actor: str | None = None
    """Only what this one did."""
    action: str | None = None
    """Only this action (`token.created`), or all of a noun (`token`)."""


class AuditEntryAnswer(Answer):
    """One change."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: str


class AuditAnswer(Answer):
    """A page of changes."""

    entries: list[AuditEntryAnswer]
    next_after: int | None
    """What `after` must be for the next page; null on the last."""


async def list_changes(ask: Ask) -> web.Response:
    """Answer `GET /api/audit`."""
    query, trail = ask.query_as(AuditQuery), ask.services.audit
    question = AuditQuestion(
        since=query.since,
        after=query.after,
        limit=query.limit + 1,
        newest_first=query.order == "newest",
        actor=query.actor,
        action=query.action,
    )
    found = await trail.read(question)
    if not found and query.after is not None and not await trail.has(query.after):
        raise InvalidError("invalid after: no change has this id", param="after")
    page = found[: query.limit]
    return json_response({"entries": [entry.as_json() for entry in page], "next_after": page[-1].id if len(found) > query.limit else None})


ROUTES = (
    Route(
        method="GET",
        path="/api/audit",
        handler=list_changes,
        scope=Scope.ADMIN,
        query=AuditQuery,
        answers={200: AuditAnswer},
        summary="List who changed what",
    ),
)
