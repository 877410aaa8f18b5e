"""How the gateway is and what was spent (`/api/status`, `/api/spend`)."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Literal

from aiohttp import web
from pydantic import Field

from api.errors import InvalidError, json_response
from api.ledger_answers import SpendAnswer, StatusAnswer
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope
from api.times import rfc3339, unix_seconds
from metering.ledger import BudgetState, SpendRow
from metering.ledger_rows import usd
from metering.spend import SPEND_BY, SpendBy
from metering.spend_csv import spend_csv

_AMOUNTS = tuple(field.name for field in fields(SpendRow) if field.name != "key")


class SpendQuery(Query):
    """What was spent when, and along which axis."""

    days: int = Field(default=30, ge=1, le=366)
    """The last so many UTC days, today included."""
    since: datetime | None = None
    """From this moment on, in place of `days`."""
    until: datetime | None = None
    """To before this moment."""
    by: SpendBy | None = None
    """Only the table of this axis."""
    format: Literal["json", "csv"] = "json"
    """`csv` is the table of one axis: of `by`, or of days."""


async def get_status(ask: Ask) -> web.Response:
    """Answer `GET /api/status`."""
    status, now = ask.services.status(), ask.services.now()
    budgets = await ask.services.ledger.budgets()
    return json_response(
        {
            "status": "ready" if status.ready else "degraded",
            "reasons": list(status.reasons),
            "version": status.version,
            "mode": status.mode,
            "instance": status.instance,
            "started_at": unix_seconds(status.started_at),
            "uptime_seconds": max(0, int((now - status.started_at).total_seconds())),
            "doors": dict(status.doors),
            "budgets": [_budget(state) for state in budgets],
        }
    )


async def get_spend(ask: Ask) -> web.Response:
    """Answer `GET /api/spend`: the last `days` UTC days, today included, or `since` to before `until`.

    Calls of unknown cost are counted apart, never as 0. `by` asks for one axis, `format=csv` for a table of it.
    """
    query, ledger = ask.query_as(SpendQuery), ask.services.ledger
    today = ask.services.now().replace(hour=0, minute=0, second=0, microsecond=0)
    since, until, asked = query.since or today - timedelta(days=query.days - 1), query.until, query.by
    if until is not None and until <= since:
        raise InvalidError("invalid until: use a moment after since", param="until")
    if query.format == "csv":
        axis: SpendBy = asked if asked is not None else "day"
        text = spend_csv(await ledger.spend(since=since, until=until, by=axis), by=axis)
        return web.Response(text=text, content_type="text/csv", headers={"Content-Disposition": "attachment; filename=spend.csv"})
    axes = SPEND_BY if asked is None else dict.fromkeys((SPEND_BY[0], asked))
    by = {axis: await ledger.spend(since=since, until=until, by=axis) for axis in axes}
    return json_response(
        {
            "days": query.days,
            "since": rfc3339(since),
            "until": None if until is None else rfc3339(until),
            "total": _total(by["day"]),
            **{f"by_{axis}": [row.as_json() for row in rows] for axis, rows in by.items() if asked in {None, axis}},
        }
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/status",
        handler=get_status,
        scope=Scope.ALERTS_READ,
        answers={200: StatusAnswer},
        summary="How the gateway is",
    ),
    Route(
        method="GET",
        path="/api/spend",
        handler=get_spend,
        scope=Scope.ALERTS_READ,
        query=SpendQuery,
        answers={200: SpendAnswer},
        text_answers=("text/csv",),
        summary="What was spent",
    ),
)


def _total(rows: Iterable[SpendRow]) -> dict[str, object]:
    rows = tuple(rows)
    amounts = {name: sum(getattr(row, name) for row in rows) for name in _AMOUNTS}
    total = SpendRow(key=None, **amounts).as_json()
    return {name: value for name, value in total.items() if name != "key"}


def _budget(state: BudgetState) -> dict[str, object]:
    settings, limit = state.budget.settings, state.budget.limit
    amounts = {"limit": limit.amount, "spent": state.spent, "held": state.held}
    return {
        "name": settings.name,
        "unit": limit.unit,
        **({name: usd(nano) for name, nano in amounts.items()} if limit.unit == "usd" else amounts),
        "on_exceed": settings.on_exceed,
        "period": settings.period,
        "period_start": unix_seconds(state.period.starts_at),
        "period_end": unix_seconds(state.period.ends_at),
    }
