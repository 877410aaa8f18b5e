"""Where alerts about rules are sent: gateway policies (`/api/v1/gateway/policies`)."""

from typing import Final, Literal

from aiohttp import web
from pydantic import Field, field_validator

from alerting.notify.addresses import ForbiddenAddressError, UrlError
from alerting.notify.policies import GatewayPolicy, NoPolicyError, PolicyConflictError, checked_pattern
from alerting.org_view import org_moment
from api.bodies import Answer, Body
from api.errors import ApiError, InvalidError, json_response
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope

_FEED: Final = "rules"
_MOST_ACTIONS = 10


class ResponseAction(Body):
    """What happens when an event matches."""

    type: Literal["webhook"]
    url: str = Field(min_length=1, max_length=2_000)
    """Where the event is posted."""


class NewPolicy(Body):
    """Which events go where."""

    name: str = Field(min_length=1, max_length=100)
    event_source: Literal["alert"] = "alert"
    event_type_pattern: str = Field(default="alert.*", min_length=1, max_length=100)
    """A glob over alert.created, alert.acknowledged, alert.resolved."""
    response_actions: tuple[ResponseAction, ...] = Field(min_length=1, max_length=_MOST_ACTIONS)
    enabled: bool = True

    @field_validator("event_type_pattern")
    @classmethod
    def _matches_some(cls, value: str) -> str:
        return checked_pattern(value)


class PolicyQuery(Query):
    """Which policies to list."""

    enabled: bool | None = None
    """Only those that are on (`true`) or off (`false`)."""


class ShownAction(Answer):
    """A receiver. It is told nothing more once it answered 410: `disabled_reason` says so."""

    type: Literal["webhook"]
    url: str
    disabled_reason: str | None


class PolicyAnswer(Answer):
    """A gateway policy."""

    id: str
    name: str
    event_source: Literal["alert"]
    event_type_pattern: str
    response_actions: list[ShownAction]
    enabled: bool
    created_at: str
    created_by: str


class MadePolicy(PolicyAnswer):
    """A gateway policy that was made just now."""

    secret: str
    """What its messages are signed with (Standard Webhooks); it is shown this once."""


class Policies(Answer):
    """All gateway policies, in the order in which they were made."""

    total: int
    policies: list[PolicyAnswer]


async def list_policies(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/gateway/policies`."""
    wanted = ask.query_as(PolicyQuery).enabled
    shown = [_as_json(policy) for policy in ask.services.gateway_policies.all() if wanted in (None, policy.enabled)]
    return json_response({"total": len(shown), "policies": shown})


async def get_policy(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/gateway/policies/{id}`."""
    policy_id = ask.request.match_info["id"]
    policy = ask.services.gateway_policies.get(policy_id)
    if policy is None:
        raise ApiError(404, f"Policy {policy_id} not found")
    return json_response(_as_json(policy))


async def add_policy(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/gateway/policies`: the next event is sent by it."""
    body, policies = ask.body_as(NewPolicy), ask.services.gateway_policies
    for index, action in enumerate(body.response_actions):
        try:
            await ask.services.poster.look(action.url)
        except (UrlError, ForbiddenAddressError) as error:
            where = f"response_actions.{index}.url"
            raise InvalidError(f"{where}: {error}", param=where) from error
    urls = [action.url for action in body.response_actions]
    try:
        made = await policies.add(name=body.name, pattern=body.event_type_pattern, urls=urls, enabled=body.enabled, actor=ask.who.name)
    except PolicyConflictError as error:
        raise ApiError(409, str(error)) from error
    return json_response({**_as_json(made), "secret": made.secret}, status=201)


async def remove_policy(ask: Ask) -> web.Response:
    """Answer `DELETE /api/v1/gateway/policies/{id}`: nothing more is sent by it, not even what waits."""
    try:
        await ask.services.gateway_policies.remove(ask.request.match_info["id"], actor=ask.who.name)
    except NoPolicyError as error:
        raise ApiError(404, str(error)) from error
    return web.Response(status=204)


def _as_json(policy: GatewayPolicy) -> dict[str, object]:
    return {
        "id": policy.id,
        "name": policy.name,
        "event_source": "alert",
        "event_type_pattern": policy.pattern,
        "response_actions": [{"type": "webhook", "url": one.url, "disabled_reason": one.disabled_reason} for one in policy.actions],
        "enabled": policy.enabled,
        "created_at": org_moment(policy.created_at),
        "created_by": policy.created_by,
    }


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/gateway/policies",
        handler=list_policies,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        query=PolicyQuery,
        answers={200: Policies},
        summary="List the gateway policies: where alerts about rules are sent",
    ),
    Route(
        method="POST",
        path="/api/v1/gateway/policies",
        handler=add_policy,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        body=NewPolicy,
        answers={201: MadePolicy},
        errors=(409,),
        summary="Make a gateway policy; its secret is shown this once",
    ),
    Route(
        method="GET",
        path="/api/v1/gateway/policies/{id}",
        handler=get_policy,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        answers={200: PolicyAnswer},
        summary="One gateway policy",
    ),
    Route(
        method="DELETE",
        path="/api/v1/gateway/policies/{id}",
        handler=remove_policy,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        answers={204: None},
        summary="Remove a gateway policy and what waits to be sent by it",
    ),
)
