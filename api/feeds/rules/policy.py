"""The policy rules: read, made, changed and removed while the gateway runs (`/api/v1/rules`)."""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Literal

from aiohttp import web
from pydantic import Field, model_validator

from alerting.conflicts import analyse_one, conflict_findings
from alerting.rule_health import Health
from alerting.rule_settings import RuleSettings
from alerting.rulebook import KeptRule, NoRuleError, ReadOnlyRuleError, RuleExistsError
from api.bodies import Answer, without
from api.errors import ApiError, InvalidError, json_response
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope
from api.times import rfc3339

MOST = 1_000
_FEED: Final = "rules"
_MOST_WARNINGS = 100


class RuleQuery(Query):
    """Which rules to list."""

    enabled: bool | None = None
    """Only those that are on (`true`) or off (`false`)."""
    origin: Literal["file", "store"] | None = None
    """Only those of the config file, or those that were made while the gateway ran."""
    limit: int = Field(default=100, ge=1, le=MOST)
    offset: int = Field(default=0, ge=0, le=1_000_000)


class NewRule(RuleSettings):
    """A rule, as in the `rules` section of the config."""

    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000, strict=True)
    enabled: bool = Field(default=True, strict=True)


_SHOWN_ALONE = frozenset({"origin", "in_force", "created_at", "created_by", "updated_at", "updated_by", "warnings"})


class ChangedRule(NewRule):
    """The whole rule as it is to be; its id is that of the path. What an answer shows beside may stand there and is not read."""

    id: str = Field(default="", max_length=100)

    @model_validator(mode="before")
    @classmethod
    def _as_answered(cls, value: object) -> object:
        return without(value, _SHOWN_ALONE)


class RuleAnswer(RuleSettings):
    """A rule and where it is kept. Who made it, and when, is known of those that were made while the gateway ran."""

    origin: Literal["file", "store"]
    in_force: bool
    created_at: str | None
    created_by: str | None
    updated_at: str | None
    updated_by: str | None


class RuleWarning(Answer):
    """What a rule does to others, or cannot do at all."""

    type: Literal["opposite_actions", "shadowed", "impossible", "undecided"]
    rule_id: str
    conflicting_rule_id: str | None
    """The other rule, or several of them with commas."""
    message: str
    overlap: str | None
    """A call that both match."""


class MadeRule(RuleAnswer):
    """A rule that was made or changed, with what is to be said about it."""

    warnings: list[RuleWarning]
    """At most 100: `tollwatch rules health` tells all."""


class Rules(Answer):
    """A page of rules, those of the config file first."""

    total: int
    rules: list[RuleAnswer]


class RuleHealthAnswer(Answer):
    """How well a rule is kept: the score, its parts, and what keeps it from 100."""

    rule_id: str
    score: int = Field(ge=0, le=100)
    parts: Mapping[str, int]
    notes: list[str]
    dormant: bool
    evaluation_count: int
    """In the deny window (`rule_health.deny_window`)."""
    denied_count: int
    deny_rate: float | None
    last_evaluated_at: str | None
    enabled_at: str
    changed_at: str
    measured_at: str | None
    measured_score: int | None


async def list_rules(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/rules`."""
    query = ask.query_as(RuleQuery)
    fit = [
        kept for kept in ask.services.rules.all() if query.enabled in (None, kept.settings.enabled) and query.origin in (None, kept.origin)
    ]
    page = fit[query.offset : query.offset + query.limit]
    return json_response({"total": len(fit), "rules": [_as_json(kept) for kept in page]})


async def get_rule(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/rules/{id}`."""
    return json_response(_as_json(_named(ask)))


async def add_rule(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/rules`: in force when this returns."""
    settings = RuleSettings.model_validate(ask.body_as(NewRule).model_dump(by_alias=True))
    with _refusals():
        kept = await ask.services.rules.add(settings, actor=ask.who.name)
    return json_response(await _made(ask, kept), status=201)


async def change_rule(ask: Ask) -> web.Response:
    """Answer `PUT /api/v1/rules/{id}`: in force when this returns."""
    rule_id, body = ask.request.match_info["id"], ask.body_as(ChangedRule)
    if body.id not in ("", rule_id):
        raise InvalidError(f"id: {body.id!r} is not the id in the path, and an id does not change; leave it out", param="id")
    _named(ask)
    with _refusals():
        kept = await ask.services.rules.change(
            RuleSettings.model_validate({**body.model_dump(by_alias=True), "id": rule_id}), actor=ask.who.name
        )
    return json_response(await _made(ask, kept))


async def remove_rule(ask: Ask) -> web.Response:
    """Answer `DELETE /api/v1/rules/{id}`: no call is judged by it when this returns."""
    _named(ask)
    with _refusals():
        await ask.services.rules.remove(ask.request.match_info["id"], actor=ask.who.name)
    return web.Response(status=204)


async def get_health(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/rules/{id}/health`; nothing is measured for the alerts by it."""
    rule_id, watch = _named(ask).settings.id, ask.services.rule_watch
    health = await watch.health(rule_id)
    if health is None:
        raise ApiError(409, f"Rule {rule_id} is off: only a rule that is in force has a health. Enable it first")
    return json_response(health_json(health, dormant=watch.is_dormant(health)))


def health_json(health: Health, *, dormant: bool) -> dict[str, object]:
    """Return how a rule stands as this feed shows it."""
    activity, record = health.activity, health.record
    moments = {
        "last_evaluated_at": activity.evaluated_at,
        "enabled_at": record.enabled_at,
        "changed_at": record.changed_at,
        "measured_at": record.measured_at,
    }
    return {**health.as_json(dormant=dormant), **{name: _moment(at) for name, at in moments.items()}}


def _named(ask: Ask) -> KeptRule:
    """Return the rule that the path names. Raises ApiError 404."""
    rule_id = ask.request.match_info["id"]
    kept = ask.services.rules.get(rule_id)
    if kept is None:
        raise ApiError(404, f"Rule {rule_id} not found")
    return kept


@contextmanager
def _refusals() -> Generator[None]:
    """Turn what the rule book refuses into answers."""
    try:
        yield
    except (RuleExistsError, ReadOnlyRuleError) as error:
        raise ApiError(409, str(error)) from error
    except NoRuleError as error:  # removed a moment ago
        raise ApiError(404, str(error)) from error
    except ValueError as error:
        raise InvalidError(str(error)) from error


def _as_json(kept: KeptRule) -> dict[str, object]:
    return {**kept.as_json(), "created_at": _moment(kept.created_at), "updated_at": _moment(kept.updated_at)}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at.replace(microsecond=0))


async def _made(ask: Ask, kept: KeptRule) -> dict[str, object]:
    rules = [one.settings for one in ask.services.rules.all() if one.in_force]
    return {**_as_json(kept), "warnings": await asyncio.to_thread(_warnings, kept.settings.id, rules)}


def _warnings(rule_id: str, rules: list[RuleSettings]) -> list[dict[str, object]]:
    """Return what is to be said about one rule among others. Takes a while where there are thousands: to be called in a thread."""
    analysis = analyse_one(rule_id, rules)
    told: list[dict[str, object]] = [
        {
            "type": finding.evidence["conflict_type"],
            "rule_id": finding.evidence["rule_id"],
            "conflicting_rule_id": finding.evidence["conflicting_rule_id"],
            "message": finding.message,
            "overlap": finding.evidence["overlap"],
        }
        for finding in conflict_findings(analysis)
    ]
    alone = [("impossible", f"No call can match rule {rule.id}.") for rule in analysis.impossible]
    alone += [("undecided", sentence) for sentence in analysis.undecided]
    for kind, text in alone:
        told.append({"type": kind, "rule_id": rule_id, "conflicting_rule_id": None, "message": text, "overlap": None})
    return told[:_MOST_WARNINGS]


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/rules",
        handler=list_rules,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        query=RuleQuery,
        answers={200: Rules},
        summary="List the policy rules",
    ),
    Route(
        method="POST",
        path="/api/v1/rules",
        handler=add_rule,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        body=NewRule,
        answers={201: MadeRule},
        errors=(409,),
        summary="Make a rule; the next call is judged by it",
    ),
    Route(
        method="GET",
        path="/api/v1/rules/{id}",
        handler=get_rule,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        answers={200: RuleAnswer},
        summary="One policy rule",
    ),
    Route(
        method="PUT",
        path="/api/v1/rules/{id}",
        handler=change_rule,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        body=ChangedRule,
        answers={200: MadeRule},
        errors=(409,),
        summary="Put another definition in the place of a rule; the next call is judged by it",
    ),
    Route(
        method="DELETE",
        path="/api/v1/rules/{id}",
        handler=remove_rule,
        scope=Scope.CONFIG_WRITE,
        feed=_FEED,
        answers={204: None},
        errors=(409,),
        summary="Remove a rule; the next call is not judged by it",
    ),
    Route(
        method="GET",
        path="/api/v1/rules/{id}/health",
        handler=get_health,
        scope=Scope.ALERTS_READ,
        feed=_FEED,
        answers={200: RuleHealthAnswer},
        errors=(409,),
        summary="How well a rule is kept",
    ),
)
