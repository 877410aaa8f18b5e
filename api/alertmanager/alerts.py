"""The alerts that are not resolved, as Alertmanager tells them."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated

from aiohttp import web
from pydantic import Field, StringConstraints

from alerting.alert import Alert
from alerting.kinds import KINDS, Ends
from alerting.labels import labels_of
from alerting.matchers import Matcher, MatchOperator
from alerting.suppression import HeldBack
from api.alertmanager.wire import RECEIVER, AlertAnswer, Filter, GroupAnswer, alert_json, matchers_of, shown_by
from api.errors import InvalidError, json_response
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope

MOST = 10_000
"""Unresolved alerts that are looked through, the newest first: this API has no pages."""
_BATCH = 500
_STANDING = timedelta(minutes=5)
"""An alert whose end nobody knows stands at least so long, as Alertmanager has it."""


class AlertFilter(Query):
    """Which alerts to list."""

    filter: tuple[Filter, ...] = Field(default=(), max_length=10)
    """A matcher such as `kind="prompt_size"`; may be repeated, and all must match."""
    active: bool = True
    """Whether to list alerts that nothing holds back."""
    silenced: bool = True
    """Whether to list those that a silence holds back."""
    inhibited: bool = True
    """Whether to list those that another alert holds back."""
    unprocessed: bool = True
    """Accepted; no alert is ever unprocessed."""
    receiver: Annotated[str, StringConstraints(max_length=200)] | None = None
    """A pattern for the receiver's name, which is `default`."""


async def list_alerts(ask: Ask) -> web.Response:
    """Answer `GET /alertmanager/api/v2/alerts`."""
    return json_response([one async for _, one in _alerts(ask)])


async def list_groups(ask: Ask) -> web.Response:
    """Answer `GET /alertmanager/api/v2/alerts/groups`: by kind."""
    groups: dict[str, list[dict[str, object]]] = {}
    async for alert, one in _alerts(ask):
        groups.setdefault(alert.kind.value, []).append(one)
    return json_response(
        [{"labels": {"alertname": kind}, "receiver": {"name": RECEIVER}, "alerts": groups[kind]} for kind in sorted(groups)]
    )


async def _alerts(ask: Ask) -> AsyncIterator[tuple[Alert, dict[str, object]]]:
    query = ask.query_as(AlertFilter)
    try:
        matchers = matchers_of(query.filter)
        receives = query.receiver is None or _receiver(query.receiver)
    except ValueError as error:
        raise InvalidError(str(error), param="filter") from error
    if not receives:
        return
    services = ask.services
    suppressors, now = await services.suppression.now(), services.now()
    after: int | None = None
    for _ in range(MOST // _BATCH):
        batch = await services.alerts.list(dismissed=False, limit=_BATCH, after=after)
        for alert in batch:
            held = suppressors.of(alert)
            if shown_by(matchers, labels_of(alert)) and _asked_for(query, held):
                yield alert, alert_json(alert, held, ends_at=_ends_at(alert, now, services.alerts.expire_after))
        if len(batch) < _BATCH:
            return
        after = batch[-1].seq


def _receiver(pattern: str) -> bool:
    return Matcher(name="receiver", operator=MatchOperator.MATCHES, value=pattern).matches({"receiver": RECEIVER})


def _asked_for(query: AlertFilter, held: HeldBack) -> bool:
    if not held:
        return query.active
    return (query.silenced or not held.silenced_by) and (query.inhibited or not held.inhibited_by)


def _ends_at(alert: Alert, now: datetime, expire_after: timedelta) -> datetime:
    """Return when an alert ends by itself, as far as that is known."""
    ends_at = alert.expires_at
    if ends_at is None and KINDS[alert.kind].ends is not Ends.CONDITION:
        ends_at = alert.last_seen_at + expire_after
    return max(ends_at or now, now + _STANDING)


ROUTES = (
    Route(
        method="GET",
        path="/alertmanager/api/v2/alerts",
        handler=list_alerts,
        scope=Scope.ALERTS_READ,
        query=AlertFilter,
        answers={200: list[AlertAnswer]},
        summary="List the alerts that are not resolved, newest first",
    ),
    Route(
        method="GET",
        path="/alertmanager/api/v2/alerts/groups",
        handler=list_groups,
        scope=Scope.ALERTS_READ,
        query=AlertFilter,
        answers={200: list[GroupAnswer]},
        summary="List the alerts that are not resolved, by kind",
    ),
)
