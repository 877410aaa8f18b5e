"""Whatever changes who may do what, or what is judged, noticed and told, leaves one entry in the audit trail, in the name of who asked."""

from typing import Any

from api.app import ROUTES
from api.scopes import Scope
from storage.audit import AuditQuestion
from tests.support.routes import name_of

IN_THE_HISTORY = "stands in the alert's history, with who and through which feed"
IN_THE_ENTRY = "stands in the entry and in the history of its alerts"
UNAUDITED = {
    "POST /api/auth/login": "begins a session, and changes nothing else",
    "POST /api/auth/logout": "ends the session that asks",
    "POST /v1/oauth/token": "a token for an hour, of one that was audited when it was made",
    "PATCH /v1/alerts/{id}": IN_THE_HISTORY,
    "POST /api/alerts/dismiss": IN_THE_HISTORY,
    "POST /api/v1/alerts/{id:alert-[0-9]+}/acknowledge": IN_THE_HISTORY,
    "POST /api/v1/alerts/{id:alert-[0-9]+}/resolve": IN_THE_HISTORY,
    "POST /api/v1/alerts/entries/{id}/view": IN_THE_ENTRY,
    "POST /api/v1/alerts/entries/{id}/acknowledge": IN_THE_ENTRY,
    "POST /api/v1/alerts/entries/{id}/act": IN_THE_ENTRY,
    "POST /api/v1/alerts/entries/{id}/root_cause": IN_THE_ENTRY,
    "POST /api/v1/alerts/entries/{id}/dismiss": IN_THE_ENTRY,
    "POST /api/v1/gateway/hooks/{name}": "raises an alert, or has a rule measured",
    "POST /v1/webhooks/{id}/test": "sends a sample",
    "POST /api/account/alerts/{id}/test": "sends a sample",
}
"""Writes that the trail does not tell of, and why."""

SECRET = "s3cret"
URL = f"https://93.184.216.34/hooks/{SECRET}"
RULE = {"id": "NO-O3", "title": "No o3", "match": {"model": "o3*"}, "action": "block"}
HOOK = {"url": URL, "events": ["alert.created"], "description": "SIEM"}
POLICY = {
    "name": "to the SIEM",
    "event_source": "alert",
    "event_type_pattern": "alert.*",
    "response_actions": [{"type": "webhook", "url": URL}],
    "enabled": True,
}
SILENCE = {
    "matchers": [{"name": "kind", "value": "prompt_size", "isRegex": False, "isEqual": True}],
    "startsAt": "2025-01-15T10:30:00Z",
    "endsAt": "2025-01-15T12:30:00Z",
    "createdBy": "ann",
    "comment": "known",
}
USAGE = {"name": "Costs", "type": "cost_threshold", "threshold": 50, "period": "day"}
AUDITED: dict[str, tuple[str, Any]] = {
    "PUT /api/alerts/config": ("alert_config.changed", {"retention_days": 9}),
    "POST /api/v1/rules": ("rule.created", RULE),
    "PUT /api/v1/rules/{id}": ("rule.changed", {**RULE, "action": "alert"}),
    "DELETE /api/v1/rules/{id}": ("rule.deleted", None),
    "POST /v1/policies": ("rule.created", {"title": "No o4", "match": {"model": "o4*"}, "action": "block"}),
    "PATCH /v1/policies/{id}": ("rule.changed", {"severity": "high"}),
    "POST /v1/webhooks": ("webhook.created", HOOK),
    "PATCH /v1/webhooks/{id}": ("webhook.changed", {"description": "other"}),
    "POST /v1/webhooks/{id}/rotate": ("webhook.rotated", None),
    "DELETE /v1/webhooks/{id}": ("webhook.deleted", None),
    "POST /api/v1/gateway/policies": ("gateway_policy.created", POLICY),
    "PUT /api/v1/gateway/policies/{id}": ("gateway_policy.changed", {**POLICY, "event_type_pattern": "alert.created"}),
    "DELETE /api/v1/gateway/policies/{id}": ("gateway_policy.deleted", None),
    "POST /api/v1/alerts/configs": ("entry_config.created", {"title": "Mine"}),
    "PUT /api/v1/alerts/configs/{id}": ("entry_config.updated", {"title": "Yours"}),
    "POST /api/v1/alerts/configs/{id}/silence": ("entry_silence.created", {"until": "2025-01-15T12:30:00Z"}),
    "DELETE /api/v1/alerts/configs/{id}": ("entry_config.deleted", None),
    "POST /alertmanager/api/v2/silences": ("silence.created", SILENCE),
    "DELETE /alertmanager/api/v2/silence/{id}": ("silence.expired", None),
    "POST /api/account/alerts": ("usage_alert.created", USAGE),
    "PUT /api/account/alerts/{id}": ("usage_alert.changed", {"threshold": 60}),
    "DELETE /api/account/alerts/{id}": ("usage_alert.deleted", None),
}
"""Writes that it tells of: the action, and a body. They are asked in this order; an id is that of the one made before."""
ELSEWHERE = {
    "POST /api/auth/setup": "tests/api/test_access.py",
    "POST /v1/webhooks/{id}/replay": "it needs a dead letter: tests/api/test_org_webhooks.py",
    "POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay": "the same",
    "POST /api/v1/gateway/policies/{id}/replay": "the same: tests/api/test_gateway_policies.py",
}
"""Those that are shown elsewhere."""

WRITES = {name_of(route) for route in ROUTES if route.method != "GET"}


def test_of_each_write_it_is_known_whether_the_trail_tells_of_it() -> None:
    assert WRITES - UNAUDITED.keys() - AUDITED.keys() - ELSEWHERE.keys() == set()


async def test_each_change_leaves_one_entry_in_the_name_of_who_asked_without_any_secret(gateway: Any) -> None:
    token = await gateway.token(Scope.CONFIG_WRITE, Scope.ALERTS_WRITE, name="ann's")
    last, made, wrong = 1, "", {}

    for name, (action, body) in AUDITED.items():
        if name not in WRITES:
            continue
        method, path = name.split()
        answer = await gateway.ask(method, path.replace("{id}", made), token=token, json=body)
        assert answer.status < 300, (name, answer.body)
        if method == "POST" and "{" not in path:
            made = next((str(value) for key, value in (answer.body or {}).items() if key in {"id", "silenceID"}), made)
        entries = await gateway.services.audit.read(AuditQuestion(limit=100, after=last))
        last += len(entries)
        told = [(entry.actor, entry.action) for entry in entries]
        if told != [("ann's", action)] or SECRET in str(entries):
            wrong[name] = told

    assert wrong == {}
