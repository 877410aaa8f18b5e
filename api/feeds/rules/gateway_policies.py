"""Where alerts about rules are sent: gateway policies (`/api/v1/gateway/policies`)."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Literal, cast

from aiohttp import web
from pydantic import ConfigDict, Field, field_validator, model_validator

from alerting.notify.addresses import ForbiddenAddressError, UrlError
from alerting.notify.deliveries import DeliveryState, KeptDelivery
from alerting.notify.policies import GatewayPolicy, NoPolicyError, PolicyConflictError, checked_pattern, target_of
from alerting.org_view import org_moment
from api.bodies import Answer, Body, without
from api.errors import ApiError, InvalidError, json_response
from api.feeds.org.webhook_models import DeliveryAnswer, delivery_json
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope

_FEED: Final = "rules"
type Json = dict[str, object]
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


class ChangedPolicyBody(NewPolicy):
    """The whole policy as it is to be. What an answer shows beside may stand there and is not read."""

    model_config = ConfigDict(strict=False)  # what is left out below leaves Python's own lists and objects

    enabled: bool = Field(default=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _as_answered(cls, value: object) -> object:
        bare = without(value, {"id", "created_at", "created_by", "secret"})
        if not isinstance(bare, dict):
            return bare
        policy = cast("Json", bare)
        if isinstance(actions := policy.get("response_actions"), list):
            policy["response_actions"] = [without(action, {"disabled_reason"}) for action in cast("list[object]", actions)]
        return policy


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


class ChangedPolicy(PolicyAnswer):
    """A gateway policy that was changed just now."""

    secret: str | None
    """A fresh one where the earlier could not be read any more; else null, and that one stays."""


class DeliveryQuery(Query):
    """Which deliveries to list."""

    state: DeliveryState | None = None
    """Only deliveries that stand so."""
    limit: int = Field(default=20, ge=1, le=100)
    offset: int = Field(default=0, ge=0, le=10_000)


class PolicyDelivery(DeliveryAnswer):
    """One event on its way to one receiver."""

    url: str


class Deliveries(Answer):
    """A page of deliveries, newest first."""

    total: int
    deliveries: list[PolicyDelivery]


class Replayed(Answer):
    """How many dead letters are sent again."""

    replayed: int


class Policies(Answer):
    """All gateway policies, in the order in which they were made."""

    total: int
    policies: list[PolicyAnswer]


async def list_policies(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/gateway/policies`."""
    wanted = ask.query_as(PolicyQuery).enabled
    shown = [_as_json(policy) for policy in ask.services.gateway_policies.book.all() if wanted in (None, policy.enabled)]
    return json_response({"total": len(shown), "policies": shown})


async def get_policy(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/gateway/policies/{id}`."""
    return json_response(_as_json(_named(ask)))


async def add_policy(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/gateway/policies`: the next event is sent by it."""
    body, desk = ask.body_as(NewPolicy), ask.services.gateway_policies
    urls = await _looked_at(ask, body)
    with _refusals():
        made = await desk.book.add(name=body.name, pattern=body.event_type_pattern, urls=urls, enabled=body.enabled, actor=ask.who.name)
    return json_response({**_as_json(made), "secret": made.secret}, status=201)


async def change_policy(ask: Ask) -> web.Response:
    """Answer `PUT /api/v1/gateway/policies/{id}`: the whole policy as it is to be; a receiver that wanted no more is told again."""
    body, before = ask.body_as(ChangedPolicyBody), _named(ask)
    urls = await _looked_at(ask, body)
    with _refusals():
        changed = await ask.services.gateway_policies.book.change(
            before.id, name=body.name, pattern=body.event_type_pattern, urls=urls, enabled=body.enabled, actor=ask.who.name
        )
    fresh = None if before.secret == changed.secret else changed.secret
    return json_response({**_as_json(changed), "secret": fresh})


async def remove_policy(ask: Ask) -> web.Response:
    """Answer `DELETE /api/v1/gateway/policies/{id}`: nothing more is sent by it, not even what waits."""
    with _refusals():
        await ask.services.gateway_policies.book.remove(ask.request.match_info["id"], actor=ask.who.name)
    return web.Response(status=204)


async def list_deliveries(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/gateway/policies/{id}/deliveries`: newest first; `state=dead` are the dead letters."""
    query, policy, kept = ask.query_as(DeliveryQuery), _named(ask), ask.services.gateway_policies.deliveries
    found: list[tuple[str, KeptDelivery]] = []
    total = 0
    for index, action in enumerate(policy.actions):
        target = target_of(policy, index)
        found += [(action.url, one) for one in await kept.page(target, state=query.state, limit=query.offset + query.limit)]
        counts = await kept.counts(target)
        total += sum(counts.values()) if query.state is None else counts[query.state]
    found.sort(key=lambda one: one[1].seq, reverse=True)
    shown = found[query.offset : query.offset + query.limit]
    return json_response({"total": total, "deliveries": [{**delivery_json(one), "url": url} for url, one in shown]})


async def replay(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/gateway/policies/{id}/replay`: all dead letters of a policy are sent again."""
    policy, desk = _named(ask), ask.services.gateway_policies
    numbers = [await desk.deliveries.replay(target_of(policy, index), actor=ask.who.name) for index in range(len(policy.actions))]
    desk.wake()
    return json_response({"replayed": sum(numbers)})


def _named(ask: Ask) -> GatewayPolicy:
    """Return the policy that the path names. Raises ApiError 404."""
    policy_id = ask.request.match_info["id"]
    policy = ask.services.gateway_policies.book.get(policy_id)
    if policy is None:
        raise ApiError(404, f"Policy {policy_id} not found")
    return policy


async def _looked_at(ask: Ask, body: NewPolicy) -> list[str]:
    """Return the URLs of a policy once each was looked at. Raises InvalidError."""
    for index, action in enumerate(body.response_actions):
        try:
            await ask.services.gateway_policies.poster.look(action.url)
        except (UrlError, ForbiddenAddressError) as error:
            where = f"response_actions.{index}.url"
            raise InvalidError(f"{where}: {error}", param=where) from error
    return [action.url for action in body.response_actions]


@contextmanager
def _refusals() -> Generator[None]:
    """Turn what the book of policies refuses into answers."""
    try:
        yield
    except PolicyConflictError as error:
        raise ApiError(409, str(error)) from error
    except NoPolicyError as error:
        raise ApiError(404, str(error)) from error


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
        method="PUT",
        path="/api/v1/gateway/policies/{id}",
        handler=change_policy,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        body=ChangedPolicyBody,
        answers={200: ChangedPolicy},
        errors=(409,),
        summary="Put another definition in the place of a gateway policy; its secret stays",
    ),
    Route(
        method="GET",
        path="/api/v1/gateway/policies/{id}/deliveries",
        handler=list_deliveries,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        query=DeliveryQuery,
        answers={200: Deliveries},
        summary="What a gateway policy sent and is to send, newest first",
    ),
    Route(
        method="POST",
        path="/api/v1/gateway/policies/{id}/replay",
        handler=replay,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        answers={200: Replayed},
        summary="Send all dead letters of a gateway policy again",
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
