"""Budgets of the organisation in their current periods (`/v1/budgets`)."""

from collections.abc import Sequence

from aiohttp import web

from alerting.org_view import Json, org_uuid
from api.bodies import Answer
from api.errors import ApiError, json_response
from api.feeds.org.alerts import FEED
from api.ledger_answers import BudgetAnswer
from api.route import Ask, Route
from api.scopes import Scope
from metering.budget_view import BudgetView
from metering.holds import BudgetState


class OrgBudget(BudgetAnswer):
    """A budget in its current period."""

    id: str
    """A UUID made from its name."""
    org_id: str


class OrgBudgets(Answer):
    """All budgets, on one page."""

    items: list[OrgBudget]
    next_cursor: None
    has_more: bool
    total_count: int


async def list_budgets(ask: Ask) -> web.Response:
    """Answer `GET /v1/budgets`: all of them on one page."""
    items = [_as_json(ask, view) for view in await _views(ask, await ask.services.ledger.budgets())]
    return json_response({"items": items, "next_cursor": None, "has_more": False, "total_count": len(items)})


async def get_budget(ask: Ask) -> web.Response:
    """Answer `GET /v1/budgets/{id}`: the id is the budget's UUID, or its name."""
    wanted = ask.request.match_info["id"]
    for state in await ask.services.ledger.budgets():
        if wanted == state.budget.id or wanted.lower() == org_uuid(ask.services.alerts.org_id, state.budget.id):
            (view,) = await _views(ask, [state])
            return json_response(_as_json(ask, view))
    raise ApiError(404, "there is no such budget")


async def _views(ask: Ask, states: Sequence[BudgetState]) -> list[BudgetView]:
    return await ask.services.ledger.budget_views(states, now=ask.services.now())


def _as_json(ask: Ask, view: BudgetView) -> Json:
    org_id = ask.services.alerts.org_id
    return {"id": org_uuid(org_id, view.budget.id), "org_id": org_id, **view.as_json()}


ROUTES = (
    Route(
        method="GET",
        path="/v1/budgets",
        handler=list_budgets,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        answers={200: OrgBudgets},
        summary="List budgets with what is spent, held and left",
    ),
    Route(
        method="GET",
        path="/v1/budgets/{id}",
        handler=get_budget,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        answers={200: OrgBudget},
        summary="Show one budget",
    ),
)
