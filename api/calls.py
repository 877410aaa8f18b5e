"""The ledger, call by call (`/api/calls`)."""

from aiohttp import web

from api import params
from api.errors import ApiError, json_response
from api.route import Ask, Route
from api.scopes import Scope

MOST = 1000


async def list_calls(ask: Ask) -> web.Response:
    """Answer `GET /api/calls`: in the order in which they began, from `since` or after the call `after`; `order=newest` turns it round.

    `next_after` asks for the next page; it is null on the last.
    """
    request, ledger = ask.request, ask.services.ledger
    after = params.text(request, "after", max_length=64)
    limit = params.integer(request, "limit", default=100, least=1, most=MOST)
    rows = await ledger.rows(
        after=after,
        since=params.moment(request, "since"),
        limit=limit + 1,
        newest_first=params.choice(request, "order", ("oldest", "newest")) == "newest",
        provider=params.text(request, "provider"),
        model=params.text(request, "model"),
        user=params.text(request, "user"),
        verdict=params.text(request, "verdict"),
    )
    if not rows and after is not None and await ledger.row(after) is None:
        raise ApiError(400, "invalid after: no call has this id")
    page = rows[:limit]
    return json_response({"calls": [row.as_json() for row in page], "next_after": page[-1].id if len(rows) > limit else None})


async def get_call(ask: Ask) -> web.Response:
    """Answer `GET /api/calls/{id}`."""
    row = await ask.services.ledger.row(ask.request.match_info["id"])
    if row is None:
        raise ApiError(404, "call not found")
    return json_response(row.as_json())


ROUTES = (
    Route(method="GET", path="/api/calls", handler=list_calls, scope=Scope.ALERTS_READ),
    Route(method="GET", path="/api/calls/{id}", handler=get_call, scope=Scope.ALERTS_READ),
)
