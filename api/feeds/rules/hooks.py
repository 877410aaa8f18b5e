"""What integrations say about rules, proved by a signature of each message (`/api/v1/gateway/hooks/{name}`)."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from aiohttp import web
from pydantic import Field, model_validator

from alerting.kinds import RULES_TYPES, RulesType
from alerting.notify.signing import BadSignatureError, verified
from alerting.rule_hooks import OTHER_RULE, Message, Outcome, Report, Taking
from alerting.rules_view import rules_view
from api.authorize import source_of
from api.bodies import Answer, Body, read_raw
from api.errors import ApiError, json_response
from api.feeds.rules.alerts import RuleAlert
from api.feeds.rules.policy import RuleHealthAnswer, health_json
from api.route import Ask, Route
from api.services import Services
from api.settings import HookSettings
from metering.scope import compile_patterns

_FEED: Final = "rules"
_MOST_BYTES = 64 << 10
_MOST_NUMBERS = 20
_EXACT = 1 << 53
"""Whole numbers beyond it are not told apart by every reader of JSON."""

type _Text = Annotated[str, Field(max_length=500)]
type _Whole = Annotated[int, Field(ge=-_EXACT, le=_EXACT)]
type _Name = Annotated[str, Field(min_length=1, max_length=100)]


class HookMessage(Body):
    """What an integration says about a rule."""

    action: Literal["raise", "resolve", "evaluate"] = "raise"
    """`raise` an alert, `resolve` one that a hook raised, or have the rule measured now."""
    rule_id: str = Field(min_length=1, max_length=100)
    type: RulesType | None = None
    """The alert's; `raise` and `resolve` need it."""
    message: str | None = Field(default=None, min_length=1, max_length=1_000)
    """What the alert says; by default a sentence that names the rule, the type and the hook."""
    metadata: Mapping[_Name, _Text | bool | _Whole | float | None] = Field(default={}, max_length=_MOST_NUMBERS)
    """The numbers behind it. That of a conflict names the other rule as `conflicting_rule_id`."""

    @model_validator(mode="after")
    def _says_enough(self) -> Self:
        if self.action != "evaluate" and self.type is None:
            raise ValueError(f"type: to {self.action} an alert, say of which type: one of {', '.join(RULES_TYPES)}")
        other = self.metadata.get(OTHER_RULE)
        if self.type == "conflict_detected" and not (isinstance(other, str) and other):
            raise ValueError(f"metadata.{OTHER_RULE}: a conflict is between two rules, so name the other one")
        return self


class HookAnswer(Answer):
    """What came of a message."""

    status: Literal["raised", "resolved", "not_open", "stands", "evaluated", "replayed"]
    """`replayed`: it was taken before, and nothing was done. `stands`: the gateway itself sees that the condition holds."""
    alert: RuleAlert | None
    health: RuleHealthAnswer | None


async def prove(request: web.Request, services: Services) -> None:
    """Pass a message that is signed by the hook's secret. Raises ApiError 401, 413."""
    hook, raw = _hook(request, services), await read_raw(request)
    if len(raw) > _MOST_BYTES:
        raise ApiError(413, f"the body is too large: a hook takes {_MOST_BYTES // 1024} KiB")
    try:
        verified(request.headers, raw, secret=hook.secret if hook else None, at=services.now())
    except BadSignatureError as error:
        services.access.abuse.unknown_token(source_of(request))
        raise ApiError(401, str(error)) from error


async def take(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/gateway/hooks/{name}`.

    Messages are signed after Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`) with the hook's secret in the
    config; the timestamp is at most five minutes off. A `webhook-id` counts once, however often it is sent.
    """
    body, services = ask.body_as(HookMessage), ask.services
    hook = _hook(ask.request, services)
    if hook is None or not compile_patterns(hook.rules)(body.rule_id):
        raise ApiError(403, f"this hook does not speak of rule {body.rule_id}: see `rules` of the hook in the config")
    if services.rules.get(body.rule_id) is None:
        raise ApiError(404, f"Rule {body.rule_id} not found")
    message = Message(hook=hook.name, id=ask.request.headers["webhook-id"])
    if body.action == "evaluate":
        return await _evaluated(ask, message, body.rule_id)
    report = Report(kind=RULES_TYPES[str(body.type)], rule_id=body.rule_id, message=body.message, metadata=body.metadata)
    hooks = services.rule_hooks
    taking = await (hooks.raise_alert(message, report) if body.action == "raise" else hooks.resolve(message, report))
    return await _answer(ask, taking)


async def _evaluated(ask: Ask, message: Message, rule_id: str) -> web.Response:
    watch, hooks = ask.services.rule_watch, ask.services.rule_hooks
    if await watch.health(rule_id) is None:
        raise ApiError(409, f"Rule {rule_id} is off: only a rule that is in force can be measured. Enable it first")
    taking = await hooks.evaluate(message)
    health = await (watch.evaluate(rule_id) if taking.outcome is Outcome.EVALUATED else watch.health(rule_id))
    return await _answer(ask, taking, health=None if health is None else health_json(health, dormant=watch.is_dormant(health)))


async def _answer(ask: Ask, taking: Taking, *, health: Mapping[str, object] | None = None) -> web.Response:
    alert = None if taking.seq is None else await ask.services.alerts.get(taking.seq)
    body = {"status": taking.outcome.value, "alert": None if alert is None else rules_view(alert), "health": health}
    return json_response(body, status=201 if taking.is_new else 200)


def _hook(request: web.Request, services: Services) -> HookSettings | None:
    name = request.match_info["name"]
    return next((hook for hook in services.settings.hooks if hook.name == name and hook.enabled), None)


ROUTES = (
    Route(
        method="POST",
        path="/api/v1/gateway/hooks/{name}",
        handler=take,
        scope=None,
        proof=prove,
        feed=_FEED,
        body=HookMessage,
        answers={200: HookAnswer, 201: HookAnswer},
        errors=(401, 409),
        summary="Take what an integration says about a rule: the message is signed with the hook's secret",
    ),
)
