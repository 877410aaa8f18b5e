"""How the gateway is and what was spent (`/api/status`, `/api/spend`)."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from aiohttp import web

from api import params
from api.errors import json_response
from api.route import Ask, Route
from api.scopes import Scope
from api.times import rfc3339, unix_seconds
from metering.ledger import BudgetState, SpendRow
from metering.units import NANO

_AXES = ("day", "provider", "model", "user", "service", "department")


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
    """Answer `GET /api/spend`: the last `days` UTC days, today included; calls of unknown cost are counted apart, never as 0."""
    days = params.integer(ask.request, "days", default=30, least=1, most=366)
    now = ask.services.now()
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days - 1)
    by = {axis: await ask.services.ledger.spend(since=since, until=None, by=axis) for axis in _AXES}
    return json_response(
        {
            "days": days,
            "since": rfc3339(since),
            "total": _sum(by["day"]),
            **{f"by_{axis}": [{axis: row.key, **_sum([row])} for row in rows] for axis, rows in by.items()},
        }
    )


ROUTES = (
    Route(method="GET", path="/api/status", handler=get_status, scope=Scope.ALERTS_READ),
    Route(method="GET", path="/api/spend", handler=get_spend, scope=Scope.ALERTS_READ),
)


def _sum(rows: Iterable[SpendRow]) -> dict[str, str | int]:
    rows = tuple(rows)
    return {
        "cost_usd": _usd(sum(row.cost_nano for row in rows)),
        "calls": sum(row.calls for row in rows),
        "unknown_cost_calls": sum(row.unknown_cost_calls for row in rows),
    }


def _budget(state: BudgetState) -> dict[str, object]:
    limit = state.budget.limit
    amounts = {"limit": limit.amount, "spent": state.spent, "held": state.held}
    return {
        "name": state.budget.settings.name,
        "unit": limit.unit,
        **({name: _usd(nano) for name, nano in amounts.items()} if limit.unit == "usd" else amounts),
        "on_exceed": state.budget.settings.on_exceed,
        "period_start": rfc3339(state.period.starts_at),
        "period_end": rfc3339(state.period.ends_at),
    }


def _usd(nano: int) -> str:
    """Return nano-dollars as an exact decimal, without trailing zeros beyond the cents."""
    text = f"{Decimal(nano) / NANO:.9f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
