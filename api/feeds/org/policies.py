"""Policies of the organisation: the rules of the gateway (`/v1/policies`)."""

from typing import Literal, cast
from uuid import uuid4

from aiohttp import web
from pydantic import Field

from alerting.finding import Action, Severity
from alerting.org_view import Json, org_moment, org_uuid
from alerting.rule_settings import Match
from alerting.rulebook import KeptRule, NoRuleError, ReadOnlyRuleError, RuleExistsError, rule_of
from api.bodies import Answer, Body
from api.errors import ApiError, InvalidError, json_response
from api.feeds.org.alerts import FEED
from api.paging import LONGEST_CURSOR, cursor_after, filters_hash, read_cursor
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope


class PoliciesQuery(Query):
    """Which policies to list."""

    cursor: str | None = Field(default=None, max_length=LONGEST_CURSOR)
    """`next_cursor` of an earlier answer; without it, the first page."""
    limit: int = Field(default=25, ge=1, le=100)
    """How many at most."""


class NewPolicy(Body):
    """A rule that is to be made. The highest priority that matches decides; among equals block beats alert beats allow."""

    rule_id: str | None = Field(default=None, min_length=1, max_length=100)
    """What it is called in alerts, such as `SEC-003`; null: one is made."""
    title: str = Field(min_length=1, max_length=200)
    match: Match
    """Which calls; every field given must match."""
    action: Action
    severity: Severity = Severity.MEDIUM
    priority: int = 0
    enabled: bool = True
    description: str | None = None
    owner: str | None = None


class PolicyChange(Body):
    """What to change of a policy; what is not given stays. `match` is replaced whole."""

    title: str = ""
    match: Match = Match()
    action: Action = Action.ALERT
    severity: Severity = Severity.MEDIUM
    priority: int = 0
    enabled: bool = True
    description: str | None = None
    owner: str | None = None


class OrgPolicy(Answer):
    """A policy."""

    id: str
    """A UUID made from the rule's id: the `policy_id` of alerts."""
    org_id: str
    rule_id: str
    title: str
    description: str | None
    match: Match
    action: Action
    severity: Severity
    priority: int
    enabled: bool
    owner: str | None
    source: Literal["config", "api"]
    """Policies of the config file are read-only here."""
    in_force: bool
    """Whether calls are judged by it: it is enabled, and no rule of the config file has its id."""
    created_at: str | None
    created_by: str | None
    updated_at: str | None
    updated_by: str | None


class OrgPolicies(Answer):
    """One page of policies: those of the config file in its order, then the others as they were made."""

    items: list[OrgPolicy]
    next_cursor: str | None
    has_more: bool
    total_count: int


async def list_policies(ask: Ask) -> web.Response:
    """Answer `GET /v1/policies`."""
    query, every, filters = ask.query_as(PoliciesQuery), ask.services.rules.all(), filters_hash("policies")
    begin = 0
    if query.cursor is not None:
        last = read_cursor(query.cursor, filters=filters)
        begin = next((place + 1 for place, kept in enumerate(every) if _key(kept) == last), len(every))
    page, has_more = every[begin : begin + query.limit], begin + query.limit < len(every)
    return json_response(
        {
            "items": [_as_json(ask, kept) for kept in page],
            "next_cursor": cursor_after(_key(page[-1]), filters=filters) if has_more else None,
            "has_more": has_more,
            "total_count": len(every),
        }
    )


async def get_policy(ask: Ask) -> web.Response:
    """Answer `GET /v1/policies/{id}`: the id is the policy's UUID, or the rule's id."""
    return json_response(_as_json(ask, _found(ask)))


async def make_policy(ask: Ask) -> web.Response:
    """Answer `POST /v1/policies`: it is in force when the answer comes. One that contradicts another raises an alert of the rules feed."""
    body = ask.body_as(NewPolicy)
    definition: Json = {
        **body.model_dump(mode="json", by_alias=True, exclude={"rule_id"}),
        "id": body.rule_id or f"policy-{uuid4().hex[:8]}",
    }
    kept = await _tried(ask, definition, new=True)
    return json_response(_as_json(ask, kept), status=201)


async def change_policy(ask: Ask) -> web.Response:
    """Answer `PATCH /v1/policies/{id}` with the policy as it is then, which is in force when the answer comes."""
    body, kept = ask.body_as(PolicyChange), _found(ask)
    before = kept.settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    changed = body.model_dump(mode="json", by_alias=True, include=body.model_fields_set)
    return json_response(_as_json(ask, await _tried(ask, {**before, **changed}, new=False)))


async def _tried(ask: Ask, definition: Json, *, new: bool) -> KeptRule:
    """Make or change a rule; what the book refuses is an error of the feed."""
    rules, actor = ask.services.rules, ask.who.name
    try:
        settings = rule_of(definition)
        return await (rules.add(settings, actor=actor) if new else rules.change(settings, actor=actor))
    except (RuleExistsError, ReadOnlyRuleError) as error:
        raise ApiError(409, str(error)) from error
    except NoRuleError as error:
        raise ApiError(404, str(error)) from error
    except ValueError as error:
        raise InvalidError(str(error)) from error


def _found(ask: Ask) -> KeptRule:
    wanted, org_id = ask.request.match_info["id"], ask.services.alerts.org_id
    every = [kept for kept in ask.services.rules.all() if wanted in (kept.settings.id, org_uuid(org_id, kept.settings.id))]
    if not every:
        raise ApiError(404, "there is no such policy")
    return every[0]


def _key(kept: KeptRule) -> str:
    return f"{kept.origin} {kept.settings.id}"


def _as_json(ask: Ask, kept: KeptRule) -> Json:
    rule, org_id = kept.settings, ask.services.alerts.org_id
    return {
        "id": org_uuid(org_id, rule.id),
        "org_id": org_id,
        "rule_id": rule.id,
        **cast("Json", rule.model_dump(mode="json", by_alias=True, exclude={"id", "match"})),
        "match": rule.match.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "source": "config" if kept.origin == "file" else "api",
        "in_force": kept.in_force,
        "created_at": None if kept.created_at is None else org_moment(kept.created_at),
        "created_by": kept.created_by,
        "updated_at": None if kept.updated_at is None else org_moment(kept.updated_at),
        "updated_by": kept.updated_by,
    }


ROUTES = (
    Route(
        method="GET",
        path="/v1/policies",
        handler=list_policies,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        query=PoliciesQuery,
        answers={200: OrgPolicies},
        summary="List policies",
    ),
    Route(
        method="POST",
        path="/v1/policies",
        handler=make_policy,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        body=NewPolicy,
        answers={201: OrgPolicy},
        errors=(409,),
        summary="Make a policy",
    ),
    Route(
        method="GET",
        path="/v1/policies/{id}",
        handler=get_policy,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        answers={200: OrgPolicy},
        summary="Show one policy",
    ),
    Route(
        method="PATCH",
        path="/v1/policies/{id}",
        handler=change_policy,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        body=PolicyChange,
        answers={200: OrgPolicy},
        errors=(409,),
        summary="Change a policy",
    ),
)
