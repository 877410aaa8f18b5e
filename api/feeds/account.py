"""The account feed: usage alerts, made, changed, tried and forgotten by their owners (`/api/account/alerts`)."""

from typing import Literal

from aiohttp import web
from pydantic import Field

from alerting.toggles import DefinedInConfigError
from alerting.usage_alert import Trigger, Triggered, UsageAlert
from alerting.usage_alerts import TooManyError
from alerting.usage_settings import MOST, NAME, Channel, MisfitError, UsageType, settings_of
from api.bodies import Answer, Body
from api.errors import ApiError, Feed, InvalidError, json_response
from api.route import Ask, Route
from api.scopes import Scope
from api.times import whole_seconds
from metering.periods import PeriodKind

type Json = dict[str, object]

_FEED: Feed = "account"
_SENT = "Test notification sent"


class NewAlert(Body):
    """A usage alert to keep."""

    name: str = Field(min_length=1, max_length=200, pattern=NAME)
    type: UsageType
    threshold: int | float | None = Field(default=None, ge=0, le=MOST, allow_inf_nan=False)
    """US dollars, per cent or milliseconds, as the type has it; only unusual_activity may go without."""
    period: PeriodKind = "day"
    """The calendar (UTC) by which it is evaluated: it fires once in each at most."""
    enabled: bool = True
    notification_channels: tuple[Channel, ...] = ("dashboard",)
    """Through what it notifies."""
    budget: str | None = Field(default=None, min_length=1, max_length=100)
    """Of quota_limit: whose share is looked at; without it, the organisation's."""


def _day() -> PeriodKind:
    return "day"


class AlertChange(Body):
    """What to change of a usage alert; what is not given stays."""

    # What is not given is never read: the factories only say that it may be left out, and with what type.
    name: str = Field(default_factory=str, min_length=1, max_length=200, pattern=NAME)
    type: UsageType = Field(default_factory=lambda: UsageType.COST_THRESHOLD)
    threshold: int | float | None = Field(default=None, ge=0, le=MOST, allow_inf_nan=False)
    """Null is for unusual_activity alone."""
    period: PeriodKind = Field(default_factory=_day)
    enabled: bool = Field(default_factory=bool)
    notification_channels: tuple[Channel, ...] = Field(default_factory=tuple[Channel, ...])
    budget: str | None = Field(default=None, min_length=1, max_length=100)
    """Null: the organisation's."""


class CreatedAlert(Answer):
    """A usage alert that was just made. `budget` is there only where one is named."""

    id: str
    name: str
    type: UsageType
    threshold: int | float | None
    period: PeriodKind
    enabled: bool
    notification_channels: list[Channel]
    created_at: str
    budget: str = ""


class ListedAlert(CreatedAlert):
    """A usage alert, and how often it fired."""

    last_triggered_at: str | None
    trigger_count: int


class TriggerAnswer(Answer):
    """That it fired."""

    triggered_at: str
    value: float
    """What was measured then, in the unit of the threshold."""
    acknowledged: bool
    """Whether the alert that it raised was acknowledged or has ended."""


class AlertDetail(ListedAlert):
    """A usage alert with its last triggers."""

    recent_triggers: list[TriggerAnswer]
    """The last ten, newest first."""
    updated_at: str


class AlertList(Answer):
    """All usage alerts, the oldest first."""

    alerts: list[ListedAlert]


class Deleted(Answer):
    """It is gone; what it raised stays."""

    success: Literal[True]
    message: Literal["Alert deleted"]


class TrialAnswer(Answer):
    """What came of the trial: `channels` are those that worked."""

    success: bool
    message: str
    channels: list[Channel]


async def list_alerts(ask: Ask) -> web.Response:
    """Answer `GET /api/account/alerts`."""
    triggered = await ask.services.usage_alerts.triggered()
    alerts = [_listed(alert, triggered.get(alert.id, Triggered())) for alert in ask.services.usage_alerts.all]
    return json_response({"alerts": alerts})


async def create_alert(ask: Ask) -> web.Response:
    """Answer `POST /api/account/alerts`."""
    body = ask.body_as(NewAlert)
    try:
        made = await ask.services.usage_alerts.create(settings_of(body.model_dump()), actor=ask.who.name)
    except MisfitError as error:
        raise InvalidError(error.why, param=error.field) from error
    except TooManyError as error:
        raise ApiError(409, str(error), code="too_many_alerts") from error
    return json_response(_created(made), status=201)


async def get_alert(ask: Ask) -> web.Response:
    """Answer `GET /api/account/alerts/{id}`."""
    return json_response(await _detail(ask, _found(ask)))


async def change_alert(ask: Ask) -> web.Response:
    """Answer `PUT /api/account/alerts/{id}` with the whole as it is then; what is not given stays."""
    body, alert = ask.body_as(AlertChange), _found(ask)
    changes = body.model_dump(include=body.model_fields_set)
    try:
        changed = await ask.services.usage_alerts.update(alert.id, changes, actor=ask.who.name)
    except MisfitError as error:
        raise InvalidError(error.why, param=error.field) from error
    except DefinedInConfigError as error:
        raise ApiError(409, str(error), code="defined_in_config") from error
    if changed is None:
        raise _missing(alert.id)
    return json_response(await _detail(ask, changed))


async def delete_alert(ask: Ask) -> web.Response:
    """Answer `DELETE /api/account/alerts/{id}`: its triggers and alerts stay."""
    alert = _found(ask)
    try:
        deleted = await ask.services.usage_alerts.delete(alert.id, actor=ask.who.name)
    except DefinedInConfigError as error:
        raise ApiError(409, str(error), code="defined_in_config") from error
    if not deleted:
        raise _missing(alert.id)
    return json_response({"success": True, "message": "Alert deleted"})


async def test_alert(ask: Ask) -> web.Response:
    """Answer `POST /api/account/alerts/{id}/test`: something is really sent through each of its channels, and no alert raised."""
    alert = _found(ask)
    trial = await ask.services.usage_trials.run(alert)
    message = "; ".join(f"{channel}: {fault}" for channel, fault in trial.faults.items()) or _SENT
    if not alert.channels:
        message = "This alert has no notification channels"
    return json_response({"success": not trial.faults and bool(trial.worked), "message": message, "channels": list(trial.worked)})


def _found(ask: Ask) -> UsageAlert:
    key = ask.request.match_info["id"]
    alert = ask.services.usage_alerts.get(key)
    if alert is None:
        raise _missing(key)
    return alert


def _missing(key: str) -> ApiError:
    return ApiError(404, f"Alert {key} not found", code="alert_not_found")


def _created(alert: UsageAlert) -> Json:
    settings = alert.settings
    made: Json = {
        "id": alert.id,
        "name": settings.name,
        "type": settings.type,
        "threshold": settings.threshold,
        "period": settings.period,
        "enabled": settings.enabled,
        "notification_channels": list(settings.notification_channels),
        "created_at": whole_seconds(alert.created_at),
    }
    return made if settings.budget is None else {**made, "budget": settings.budget}


def _listed(alert: UsageAlert, triggered: Triggered) -> Json:
    last_at = None if triggered.last_at is None else whole_seconds(triggered.last_at)
    return {**_created(alert), "last_triggered_at": last_at, "trigger_count": triggered.count}


async def _detail(ask: Ask, alert: UsageAlert) -> Json:
    usage_alerts = ask.services.usage_alerts
    triggered = (await usage_alerts.triggered()).get(alert.id, Triggered())
    recent = [_trigger(trigger) for trigger in await usage_alerts.triggers(alert.id)]
    return {**_listed(alert, triggered), "recent_triggers": recent, "updated_at": whole_seconds(alert.updated_at)}


def _trigger(trigger: Trigger) -> Json:
    return {"triggered_at": whole_seconds(trigger.triggered_at), "value": round(trigger.value, 6), "acknowledged": trigger.acknowledged}


_ALL, _ONE = "/api/account/alerts", "/api/account/alerts/{id}"

ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        handler=list_alerts,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        answers={200: AlertList},
        summary="List usage alerts",
    ),
    Route(
        method="POST",
        path=_ALL,
        handler=create_alert,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        body=NewAlert,
        answers={201: CreatedAlert},
        errors=(409,),
        summary="Make a usage alert",
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=get_alert,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        answers={200: AlertDetail},
        summary="Show a usage alert with its last triggers",
    ),
    Route(
        method="PUT",
        path=_ONE,
        handler=change_alert,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        body=AlertChange,
        answers={200: AlertDetail},
        errors=(409,),
        summary="Change a usage alert; what is not given stays",
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_alert,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        answers={200: Deleted},
        errors=(409,),
        summary="Delete a usage alert; what it raised stays",
    ),
    Route(
        method="POST",
        path=f"{_ONE}/test",
        handler=test_alert,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        answers={200: TrialAnswer},
        summary="Try the channels of a usage alert: something is really sent",
    ),
)
