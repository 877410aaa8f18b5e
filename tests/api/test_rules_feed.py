"""The alerts about rules, word for word."""

import json
from typing import Any

import pytest

from alerting.alert import AlertAction
from alerting.book import AlertBook
from alerting.finding import AlertKind, Severity, Subject
from api.scopes import Scope

SAMPLE = json.loads("""
{
  "total": 12,
  "alerts": [
    {
      "id": "alert-001",
      "type": "high_deny_rate",
      "status": "active",
      "rule_id": "SEC-003",
      "message": "Rule SEC-003 has a 72% DENY rate over the last 30 days",
      "created_at": "2026-04-25T14:30:00Z",
      "metadata": {
        "deny_rate": 0.72,
        "evaluation_count": 45,
        "period_days": 30
      }
    }
  ]
}
""")
"""The published sample."""
NOTE = "Rule statement clarified in revision 3; DENY rate expected to drop."
KINDS = {
    "dormant_rule": AlertKind.RULE_DORMANT,
    "high_deny_rate": AlertKind.RULE_HIGH_DENY_RATE,
    "health_decline": AlertKind.RULE_HEALTH_DECLINE,
    "conflict_detected": AlertKind.RULE_CONFLICT,
}


@pytest.fixture
async def token(gateway: Any) -> str:
    return await gateway.token()


@pytest.fixture
def about_a_rule(occur: Any) -> Any:
    """Return a maker of findings about rules."""

    def make(rule_id: str, kind: AlertKind = AlertKind.RULE_HIGH_DENY_RATE, **more: Any) -> Any:
        numbers = more.pop("evidence", SAMPLE["alerts"][0]["metadata"])
        return occur(kind, episode=(rule_id,), subject=Subject(rule_id=rule_id), evidence={"rule_id": rule_id, **numbers}, **more)

    return make


async def listed(gateway: Any, token: str, query: str = "") -> Any:
    answer = await gateway.ask("GET", f"/api/v1/alerts{query}", token=token)
    assert answer.status == 200
    return answer.body


async def test_alerts_look_like_the_published_sample(gateway: Any, book: AlertBook, token: str, about_a_rule: Any) -> None:
    gateway.clock.advance(microseconds=123_456)
    await book.record([about_a_rule("SEC-003", message=SAMPLE["alerts"][0]["message"])])

    answer = await gateway.ask("GET", "/api/v1/alerts", token=token)

    sample = SAMPLE["alerts"][0]
    assert answer.body == {"total": 1, "alerts": [{**sample, "created_at": "2025-01-15T10:30:00Z"}]}
    assert list(answer.body["alerts"][0]) == list(sample)
    assert answer.headers["X-Alert-Feed"] == "rules"
    assert (await gateway.ask("GET", "/api/v1/alerts/alert-001", token=token)).body == answer.body["alerts"][0]


async def test_the_token_may_come_as_an_api_key(gateway: Any, token: str) -> None:
    assert (await gateway.ask("GET", "/api/v1/alerts", headers={"X-API-Key": token})).body == {"total": 0, "alerts": []}
    assert (await gateway.ask("GET", "/api/v1/alerts")).status == 401
    assert (await gateway.ask("GET", "/api/v1/alerts", headers={"X-API-Key": "tw_wrong"})).status == 401


async def test_alerts_are_filtered_and_paged_and_counted(gateway: Any, book: AlertBook, token: str, about_a_rule: Any, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_DRIFT)])  # of no interest here
    await book.record([about_a_rule(name, kind) for name, kind in KINDS.items()])
    await book.record([about_a_rule(f"R-{number}") for number in range(30)])
    await book.acknowledge(3, actor="ann", feed="org")
    await book.resolve(4, actor="ann", feed="org")

    first, rest = await listed(gateway, token), await listed(gateway, token, "?limit=100&offset=20")
    assert (first["total"], len(first["alerts"]), len(rest["alerts"])) == (34, 20, 14)
    assert [alert["id"] for alert in first["alerts"] + rest["alerts"]] == [f"alert-{seq:03d}" for seq in range(35, 1, -1)]
    for status, seqs in (("acknowledged", [3]), ("resolved", [4])):
        found = await listed(gateway, token, f"?status={status}")
        assert found["total"] == 1
        assert [(alert["id"], alert["status"]) for alert in found["alerts"]] == [(f"alert-{seq:03d}", status) for seq in seqs]
    assert (await listed(gateway, token, "?status=active&limit=1"))["total"] == 32
    for name in KINDS:
        found = await listed(gateway, token, f"?alert_type={name}&limit=1")
        assert (found["total"], found["alerts"][0]["type"]) == (31 if name == "high_deny_rate" else 1, name)
    assert (await listed(gateway, token, "?offset=34"))["alerts"] == []


@pytest.mark.parametrize(
    ("query", "accepted"),
    [
        ("status=open", "use one of active, acknowledged, resolved"),
        ("status=", "it has 1 to 200 characters"),
        ("alert_type=prompt_drift", "use one of dormant_rule, high_deny_rate, health_decline, conflict_detected"),
        ("limit=0", "use a whole number from 1 to 100"),
        ("limit=101", "use a whole number from 1 to 100"),
        ("limit=ten", "use a whole number from 1 to 100"),
        ("offset=-1", "use a whole number from 0 to 1000000"),
        ("status=active&status=resolved", "it is given 2 times"),
    ],
)
async def test_a_value_that_the_feed_does_not_know_is_422_and_says_what_would_do(
    gateway: Any, token: str, query: str, accepted: str
) -> None:
    answer = await gateway.ask("GET", f"/api/v1/alerts?{query}", token=token)

    message = f"invalid {query.partition('=')[0]}: {accepted}"
    assert (answer.status, answer.body) == (422, {"detail": message, "error": {"code": "INVALID_REQUEST", "message": message}})


async def test_an_alert_that_is_not_there_or_of_another_feed_is_not_found(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_DRIFT)])

    for alert_id in ("alert-9", "alert-001", f"alert-{'9' * 19}"):
        for method, path in (("GET", ""), ("POST", "/acknowledge"), ("POST", "/resolve")):
            answer = await gateway.ask(method, f"/api/v1/alerts/{alert_id}{path}", token=token)
            message = f"Alert {alert_id} not found"
            assert (answer.status, answer.body) == (404, {"detail": message, "error": {"code": "NOT_FOUND", "message": message}})
    assert (await gateway.ask("GET", "/api/v1/alerts/alert_1", token=token)).status == 404


async def test_acknowledging_again_is_a_success_and_after_resolving_a_conflict(
    gateway: Any, book: AlertBook, token: str, about_a_rule: Any
) -> None:
    await book.record([about_a_rule("SEC-003")])

    for _ in range(2):
        answer = await gateway.ask("POST", "/api/v1/alerts/alert-001/acknowledge", token=token)
        assert (answer.status, answer.body["status"]) == (200, "acknowledged")
    resolved = await gateway.ask("POST", "/api/v1/alerts/alert-001/resolve", token=token)
    refused = await gateway.ask("POST", "/api/v1/alerts/alert-001/acknowledge", token=token)

    assert (resolved.status, resolved.body["status"]) == (200, "resolved")
    assert (refused.status, refused.body["error"]["code"]) == (409, "CONFLICT")
    assert "is resolved, which is final" in refused.body["detail"]
    assert [(one.action, one.actor, one.feed) for one in await book.history(1)] == [
        (AlertAction.OPENED, "system", None),
        (AlertAction.ACKNOWLEDGED, "tester", "rules"),
        (AlertAction.RESOLVED, "tester", "rules"),
    ]


async def test_the_first_note_of_a_resolution_stays(gateway: Any, book: AlertBook, token: str, about_a_rule: Any) -> None:
    await book.record([about_a_rule("SEC-003")])

    for note in (NOTE, "another"):
        answer = await gateway.ask("POST", "/api/v1/alerts/alert-001/resolve", token=token, json={"resolution_note": note})
        assert (answer.status, answer.body["status"]) == (200, "resolved")
        assert answer.body["metadata"] == {**SAMPLE["alerts"][0]["metadata"], "resolution_note": NOTE}

    assert (await book.get(1)).resolution_note == NOTE


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"resolution_note": "x" * 2_001}, "resolution_note: string should have at most 2000 characters"),
        ({"resolution_note": 3}, "resolution_note: input should be a valid string"),
        ({"note": "x"}, "unknown key note"),
        ([], "the body must be a JSON object"),
    ],
)
async def test_a_resolution_that_will_not_do_is_422_and_changes_nothing(
    gateway: Any, book: AlertBook, token: str, about_a_rule: Any, body: Any, message: str
) -> None:
    await book.record([about_a_rule("SEC-003")])

    answer = await gateway.ask("POST", "/api/v1/alerts/alert-001/resolve", token=token, json=body)

    assert (answer.status, answer.body["detail"]) == (422, message)
    assert (await book.get(1)).resolved_at is None


async def test_a_note_may_be_as_long_as_is_said_or_missing(gateway: Any, book: AlertBook, token: str, about_a_rule: Any) -> None:
    await book.record([about_a_rule("A"), about_a_rule("B"), about_a_rule("C")])

    for alert_id, body in (("alert-001", {"resolution_note": "ü" * 2_000}), ("alert-002", {}), ("alert-003", {"resolution_note": None})):
        assert (await gateway.ask("POST", f"/api/v1/alerts/{alert_id}/resolve", token=token, json=body)).status == 200
    assert [(await book.get(seq)).resolution_note for seq in (1, 2, 3)] == ["ü" * 2_000, None, None]


async def test_what_another_feed_did_shows_here(gateway: Any, book: AlertBook, token: str, about_a_rule: Any) -> None:
    conflict = {"conflicting_rule_id": "A", "conflict_type": "opposite_actions", "overlap": "model gpt-4o"}
    await book.record([about_a_rule("B", AlertKind.RULE_CONFLICT, evidence=conflict, severity=Severity.HIGH)])
    await book.dismiss(1, actor="ann", feed="local")

    (alert,) = (await listed(gateway, token))["alerts"]

    assert (alert["type"], alert["status"], alert["rule_id"], alert["metadata"]) == ("conflict_detected", "resolved", "B", conflict)


async def test_who_may_only_read_changes_nothing(gateway: Any, book: AlertBook, about_a_rule: Any) -> None:

    reader = await gateway.token(Scope.ALERTS_READ)
    await book.record([about_a_rule("SEC-003")])

    assert (await gateway.ask("GET", "/api/v1/alerts/alert-001", token=reader)).status == 200
    for path in ("acknowledge", "resolve"):
        answer = await gateway.ask("POST", f"/api/v1/alerts/alert-001/{path}", token=reader)
        assert (answer.status, answer.body["error"]["code"]) == (403, "FORBIDDEN")
    assert (await book.get(1)).acknowledged_at is None
