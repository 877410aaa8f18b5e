"""Alerts of the organisation (`/v1/alerts`)."""

from collections.abc import Mapping
from typing import Any, Literal

from aiohttp import web
from pydantic import ConfigDict, Field

from alerting.alert import Alert, Change, Status
from alerting.finding import Severity
from alerting.kinds import org_selections
from alerting.org_view import Json, org_view
from alerting.suppression import Suppressors
from api.bodies import Answer, Body
from api.errors import ApiError, json_response
from api.paging import LONGEST_CURSOR, cursor_after, filters_hash, read_cursor
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope

FEED: Literal["org"] = "org"


class AlertsQuery(Query):
    """Which alerts to list."""

    cursor: str | None = Field(default=None, max_length=LONGEST_CURSOR)
    """`next_cursor` of an earlier answer; without it, the first page."""
    limit: int = Field(default=25, ge=1, le=100)
    """How many at most."""
    severity: Severity | None = None
    """Only alerts of this severity."""
    status: Status | None = None
    """Only alerts that stand so."""


class AlertChange(Body):
    """Where an alert is to stand."""

    status: Literal["acknowledged", "resolved"]
    note: str | None = Field(default=None, min_length=1, max_length=2_000)
    """Why; it stands in the alert's history, and with `resolved` in its metadata."""


class OrgAlert(Answer):
    """An alert of the organisation."""

    id: str
    org_id: str
    type: Literal["policy_violation", "budget_exceeded", "anomaly_detected", "security_event"]
    severity: Severity
    status: Status
    title: str
    message: str
    user_id: str | None
    """A UUID made from the user's name, which stands in `metadata.user`; null where no user is known."""
    policy_id: str | None
    """A UUID made from the rule's id, which stands in `metadata.rule_id`; null where no rule is violated."""
    metadata: Mapping[str, Any]
    """What it is about, and the numbers of its latest occurrence."""
    created_at: str
    resolved_at: str | None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019468f2-7b40-7000-8000-000000000001",
                    "org_id": "a1b2c3d4-0000-0000-0000-000000000000",
                    "type": "policy_violation",
                    "severity": "high",
                    "status": "open",
                    "title": "GPT-4 usage by non-engineering user",
                    "message": "User jane.smith@acme.com used gpt-4 (model restricted to Engineering department).",
                    "user_id": "0d5ba7d4-1a0c-5bb6-9ad4-1f6e6e5d6c8c",
                    "policy_id": "7f0c2a30-97a5-5a48-8a2d-60d3f3f7f5c4",
                    "metadata": {"model": "gpt-4", "provider": "openai", "token_count": 4200},
                    "created_at": "2025-01-15T10:30:00Z",
                    "resolved_at": None,
                }
            ]
        }
    )


class OrgAlerts(Answer):
    """One page of alerts, newest first."""

    items: list[OrgAlert]
    next_cursor: str | None
    """Ask with it for the next page; null on the last."""
    has_more: bool
    total_count: int
    """On all pages: exact up to 10,000, beyond that as counted up to a minute ago."""


async def list_alerts(ask: Ask) -> web.Response:
    """Answer `GET /v1/alerts`: newest first."""
    query, alerts = ask.query_as(AlertsQuery), ask.services.alerts
    filters = filters_hash(FEED, query.severity, query.status)
    after = None if query.cursor is None else await alerts.position(read_cursor(query.cursor, filters=filters))
    kinds = org_selections(opted_in=_opted_in(ask))
    found = await alerts.list(kinds=kinds, severity=query.severity, status=query.status, limit=query.limit + 1, after=after)
    page, has_more = found[: query.limit], len(found) > query.limit
    suppressors = await ask.services.suppression.now()
    return json_response(
        {
            "items": [_shown(alert, suppressors, opted_in=_opted_in(ask)) for alert in page],
            "next_cursor": cursor_after(page[-1].id, filters=filters) if has_more else None,
            "has_more": has_more,
            "total_count": await alerts.total(kinds=kinds, severity=query.severity, status=query.status),
        }
    )


async def get_alert(ask: Ask) -> web.Response:
    """Answer `GET /v1/alerts/{id}`."""
    return await _answer(ask, await _found(ask))


async def change_alert(ask: Ask) -> web.Response:
    """Answer `PATCH /v1/alerts/{id}` with the alert as it is then. Resolved is final; what stands so already is a success too."""
    body, alerts, alert = ask.body_as(AlertChange), ask.services.alerts, await _found(ask)
    act = alerts.acknowledge if body.status == "acknowledged" else alerts.resolve
    if await act(alert.seq, actor=ask.who.name, feed=FEED, note=body.note) is Change.RESOLVED:
        raise ApiError(409, f"the alert {alert.id} is resolved, which is final: a recurrence opens a new alert")
    return await _answer(ask, await _found(ask))


async def _found(ask: Ask) -> Alert:
    """Return the alert of the path, when this feed shows it."""
    alert = await ask.services.alerts.get(ask.request.match_info["id"].lower())
    if alert is None or org_view(alert, opted_in=_opted_in(ask)) is None:
        raise ApiError(404, "there is no such alert in this feed")
    return alert


async def _answer(ask: Ask, alert: Alert) -> web.Response:
    return json_response(_shown(alert, await ask.services.suppression.now(), opted_in=_opted_in(ask)))


def _shown(alert: Alert, suppressors: Suppressors, *, opted_in: bool) -> Json | None:
    """Return the alert as the feed shows it, with what holds it back now."""
    held = suppressors.of(alert)
    holding = {"silenced_by": list(held.silenced_by), "inhibited_by": [source.id for source in held.inhibited_by]}
    return org_view(alert, opted_in=opted_in, more={name: ids for name, ids in holding.items() if ids})


def _opted_in(ask: Ask) -> bool:
    return ask.services.alerts.settings.org_budget_warnings


ROUTES = (
    Route(
        method="GET",
        path="/v1/alerts",
        handler=list_alerts,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        query=AlertsQuery,
        answers={200: OrgAlerts},
        summary="List alerts, newest first",
    ),
    Route(
        method="GET",
        path="/v1/alerts/{id}",
        handler=get_alert,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        answers={200: OrgAlert},
        summary="Show one alert",
    ),
    Route(
        method="PATCH",
        path="/v1/alerts/{id}",
        handler=change_alert,
        scope=Scope.ALERTS_WRITE,
        feed=FEED,
        body=AlertChange,
        answers={200: OrgAlert},
        errors=(409,),
        summary="Acknowledge or resolve an alert",
    ),
)
