"""The local feed: alerts for the developer or security person at this machine (`/api/alerts`)."""

import re
from collections.abc import Mapping
from typing import Literal

from aiohttp import web
from pydantic import Field

from alerting.alert import Alert
from alerting.kinds import LOCAL_TYPES, LocalType, local_selections
from alerting.toggles import LONGEST_RETENTION, AlertToggles, DefinedInConfigError
from api.bodies import Answer, Body
from api.errors import ApiError, json_response
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope
from api.times import unix_seconds

NEWEST = 1000
"""How many alerts one answer holds, and how many it holds when no limit is given."""
DEEPEST = 1_000_000
_ID = re.compile(r"alert_([1-9][0-9]{0,17})")


class AlertQuery(Query):
    """Which alerts to list."""

    type: LocalType | None = None
    """Only alerts of this type."""
    dismissed: bool | None = None
    """Only those that ended (`true`) or that are open (`false`)."""
    limit: int = Field(default=NEWEST, ge=1, le=NEWEST)
    """How many at most, the newest first."""
    skip: int = Field(default=0, ge=0, le=DEEPEST)
    """How many of the newest to leave out."""


class Dismissal(Body):
    """Which alert to dismiss."""

    id: str


class ConfigChange(Body):
    """What to change of the feed's settings; what is not given stays."""

    toggles: Mapping[LocalType, bool] = {}
    retention_days: int | None = Field(default=None, ge=1, le=LONGEST_RETENTION)


class LocalAlert(Answer):
    """An alert as the person at this machine sees it."""

    id: str
    type: LocalType
    severity: Literal["critical", "warning"]
    service: str
    """`all` where it is about no one service."""
    message: str
    timestamp: int
    """When it began, in Unix seconds."""
    dismissed: bool
    """Whether it has ended, however it did."""


class LocalAlerts(Answer):
    """Alerts, newest first."""

    alerts: list[LocalAlert]


class Dismissed(Answer):
    """It is dismissed."""

    success: Literal[True]


class ConfigAnswer(Answer):
    """The feed's settings."""

    toggles: Mapping[LocalType, bool]
    """Which types of alert are raised."""
    retention_days: int
    """How long ended alerts are kept."""


async def list_alerts(ask: Ask) -> web.Response:
    """Answer `GET /api/alerts`: newest first."""
    query = ask.query_as(AlertQuery)
    kinds = local_selections(query.type)
    alerts = await ask.services.alerts.list(kinds=kinds, dismissed=query.dismissed, limit=query.limit, skip=query.skip)
    return json_response({"alerts": [_as_json(alert) for alert in alerts]})


async def dismiss(ask: Ask) -> web.Response:
    """Answer `POST /api/alerts/dismiss`; again is a success too."""
    body = ask.body_as(Dismissal)
    alerts, seq = ask.services.alerts, _seq(body.id)
    shown = await alerts.get(seq) if seq else None
    if not seq or not shown or shown.local_type is None or not await alerts.dismiss(seq, actor=ask.who.name, feed="local"):
        raise ApiError(404, "alert not found")
    return json_response({"success": True})


async def get_config(ask: Ask) -> web.Response:
    """Answer `GET /api/alerts/config`."""
    return json_response(_config(await ask.services.alerts.toggles()))


async def put_config(ask: Ask) -> web.Response:
    """Answer `PUT /api/alerts/config` with the settings as they are after the change."""
    body = ask.body_as(ConfigChange)
    try:
        choices = await ask.services.alerts.set_toggles(
            changes={str(name): on for name, on in body.toggles.items()}, retention_days=body.retention_days, actor=ask.who.name
        )
    except DefinedInConfigError as error:
        raise ApiError(409, str(error)) from error
    return json_response(_config(choices))


ROUTES = (
    Route(
        method="GET",
        path="/api/alerts",
        handler=list_alerts,
        scope=Scope.ALERTS_READ,
        feed="local",
        query=AlertQuery,
        answers={200: LocalAlerts},
        summary="List alerts, newest first",
    ),
    Route(
        method="POST",
        path="/api/alerts/dismiss",
        handler=dismiss,
        scope=Scope.ALERTS_WRITE,
        feed="local",
        body=Dismissal,
        answers={200: Dismissed},
        errors=(404,),
        summary="Dismiss an alert; again is a success too",
    ),
    Route(
        method="GET",
        path="/api/alerts/config",
        handler=get_config,
        scope=Scope.ALERTS_READ,
        feed="local",
        answers={200: ConfigAnswer},
        summary="Which types of alert are raised, and how long alerts are kept",
    ),
    Route(
        method="PUT",
        path="/api/alerts/config",
        handler=put_config,
        scope=Scope.CONFIG_WRITE,
        feed="local",
        body=ConfigChange,
        answers={200: ConfigAnswer},
        errors=(409,),
        summary="Change some of these settings",
    ),
)


def _seq(local_id: str) -> int | None:
    match = _ID.fullmatch(local_id)
    return int(match[1]) if match else None


def _config(choices: AlertToggles) -> dict[str, object]:
    return {"toggles": {name: choices.toggles[name] for name in LOCAL_TYPES}, "retention_days": choices.retention_days}


def _as_json(alert: Alert) -> dict[str, str | int | bool | None]:
    return {
        "id": alert.local_id,
        "type": alert.local_type,
        "severity": alert.local_severity,
        "service": alert.subject.service or "all",
        "message": alert.message,
        "timestamp": unix_seconds(alert.created_at),
        "dismissed": alert.resolved_at is not None,
    }
