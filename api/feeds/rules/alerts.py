"""What is wrong with the rules themselves (`/api/v1/alerts`)."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from pydantic import Field

from alerting.alert import Alert, Change
from alerting.kinds import KINDS, RULES_TYPES, RulesType
from alerting.rules_view import STATUS, Shown, rules_view
from api.bodies import Answer, Body
from api.errors import ApiError, json_response
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope

MOST = 100
DEEPEST = 1_000_000
LONGEST_NOTE = 2_000
_FEED: Final = "rules"
_LONGEST_ID = 18
"""Digits: the store's numbers have no more."""


class AlertQuery(Query):
    """Which alerts to list."""

    status: Shown | None = None
    """Only those that stand so."""
    alert_type: RulesType | None = None
    """Only alerts of this type."""
    limit: int = Field(default=20, ge=1, le=MOST)
    """How many at most, the newest first."""
    offset: int = Field(default=0, ge=0, le=DEEPEST)
    """How many of the newest to leave out."""


class Resolution(Body):
    """Why an alert is resolved."""

    resolution_note: str | None = Field(default=None, max_length=LONGEST_NOTE)
    """What was done; the first note of an alert stays."""


class RuleAlert(Answer):
    """Something about a rule that needs a look."""

    id: str = Field(pattern="^alert-[0-9]{3,}$")
    type: RulesType
    status: Shown
    rule_id: str
    message: str
    created_at: str
    """When it began, in UTC."""
    metadata: Mapping[str, str | int | float | bool | None]
    """The numbers behind it, by its type; with the note of who resolved it."""


class RuleAlerts(Answer):
    """A page of alerts."""

    total: int
    """How many there are on all pages: exact up to 10,000, beyond that as counted up to a minute ago."""
    alerts: list[RuleAlert]


async def list_alerts(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/alerts`: newest first."""
    query, book = ask.query_as(AlertQuery), ask.services.alerts
    kinds = list(RULES_TYPES.values()) if query.alert_type is None else [RULES_TYPES[query.alert_type]]
    status = None if query.status is None else STATUS[query.status]
    total = await book.total(kinds=kinds, status=status)
    page = await book.list(kinds=kinds, status=status, limit=query.limit, skip=query.offset)
    return json_response({"total": total, "alerts": [rules_view(alert) for alert in page]})


async def get_alert(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/alerts/{id}`."""
    return json_response(rules_view(await _named(ask)))


async def acknowledge(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/{id}/acknowledge`; again is a success too."""
    alert = await _named(ask)
    if await ask.services.alerts.acknowledge(alert.seq, actor=ask.who.name, feed=_FEED) is Change.RESOLVED:
        raise ApiError(409, f"Alert {alert.rules_id} is resolved, which is final: a recurrence opens a new alert")
    return json_response(rules_view(await _named(ask)))


async def resolve(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/{id}/resolve`; again is a success too, and the first note stays."""
    alert = await _named(ask)
    await ask.services.alerts.resolve(alert.seq, actor=ask.who.name, feed=_FEED, note=ask.body_as(Resolution).resolution_note)
    return json_response(rules_view(await _named(ask)))


async def _named(ask: Ask) -> Alert:
    """Return the alert that the path names. Raises ApiError 404."""
    given = ask.request.match_info["id"]
    digits = given.removeprefix("alert-")
    alert = await ask.services.alerts.get(int(digits)) if len(digits) <= _LONGEST_ID else None
    if alert is None or KINDS[alert.kind].rules_type is None:
        raise ApiError(404, f"Alert {given} not found")
    return alert


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/alerts",
        handler=list_alerts,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        query=AlertQuery,
        answers={200: RuleAlerts},
        summary="List the alerts about rules, newest first",
    ),
    Route(
        method="GET",
        path="/api/v1/alerts/{id:alert-[0-9]+}",
        handler=get_alert,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        answers={200: RuleAlert},
        summary="One alert about a rule",
    ),
    Route(
        method="POST",
        path="/api/v1/alerts/{id:alert-[0-9]+}/acknowledge",
        handler=acknowledge,
        scope=Scope.ALERTS_WRITE,
        feed=_FEED,
        answers={200: RuleAlert},
        errors=(409,),
        summary="Acknowledge an alert about a rule; again is a success too, 409 once it is resolved",
    ),
    Route(
        method="POST",
        path="/api/v1/alerts/{id:alert-[0-9]+}/resolve",
        handler=resolve,
        scope=Scope.ALERTS_WRITE,
        feed=_FEED,
        body=Resolution,
        body_optional=True,
        answers={200: RuleAlert},
        summary="Resolve an alert about a rule; again is a success too, and the first note stays",
    ),
)
