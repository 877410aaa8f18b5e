"""The budgets in their current periods (`/api/budgets`)."""

from aiohttp import web

from api.errors import json_response
from api.ledger_answers import BudgetsAnswer
from api.route import Ask, Route
from api.scopes import Scope


async def get_budgets(ask: Ask) -> web.Response:
    """Answer `GET /api/budgets`."""
    ledger = ask.services.ledger
    views = await ledger.budget_views(await ledger.budgets(), now=ask.services.now())
    return json_response({"budgets": [view.as_json() for view in views]})


ROUTES = (
    Route(
        method="GET",
        path="/api/budgets",
        handler=get_budgets,
        scope=Scope.ALERTS_READ,
        answers={200: BudgetsAnswer},
        summary="Show each budget in its current period",
    ),
)
