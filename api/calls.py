"""The ledger, call by call (`/api/calls`)."""

from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import Field

from api.errors import ApiError, InvalidError, json_response
from api.ledger_answers import CallAnswer, CallsAnswer
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope

MOST = 1000


class CallQuery(Query):
    """Which calls to list."""

    since: datetime | None = None
    """Only calls that began at this moment or later."""
    after: str | None = Field(default=None, max_length=64)
    """The call after which the page begins: `next_after` of the page before."""
    limit: int = Field(default=100, ge=1, le=MOST)
    """How many at most."""
    order: Literal["oldest", "newest"] = "oldest"
    """Which come first."""
    provider: str | None = None
    """Only calls to this provider."""
    model: str | None = None
    """Only calls that asked for this model."""
    user: str | None = None
    """Only calls of this user."""
    verdict: str | None = None
    """Only calls with this verdict: allow, alert, block."""


async def list_calls(ask: Ask) -> web.Response:
    """Answer `GET /api/calls`: in the order in which they began, from `since` or after the call `after`; `order=newest` turns it round.

    `next_after` asks for the next page; it is null on the last.
    """
    query, ledger = ask.query_as(CallQuery), ask.services.ledger
    rows = await ledger.rows(
        after=query.after,
        since=query.since,
        limit=query.limit + 1,
        newest_first=query.order == "newest",
        provider=query.provider,
        model=query.model,
        user=query.user,
        verdict=query.verdict,
    )
    if not rows and query.after is not None and await ledger.row(query.after) is None:
        raise InvalidError("invalid after: no call has this id", param="after")
    page = rows[: query.limit]
    return json_response({"calls": [row.as_json() for row in page], "next_after": page[-1].id if len(rows) > query.limit else None})


async def get_call(ask: Ask) -> web.Response:
    """Answer `GET /api/calls/{id}`."""
    row = await ask.services.ledger.row(ask.request.match_info["id"])
    if row is None:
        raise ApiError(404, "call not found")
    return json_response(row.as_json())


ROUTES = (
    Route(
        method="GET",
        path="/api/calls",
        handler=list_calls,
        scope=Scope.ALERTS_READ,
        query=CallQuery,
        answers={200: CallsAnswer},
        summary="List the ledger's calls",
    ),
    Route(
        method="GET",
        path="/api/calls/{id}",
        handler=get_call,
        scope=Scope.ALERTS_READ,
        answers={200: CallAnswer},
        summary="Show one call of the ledger",
    ),
)
