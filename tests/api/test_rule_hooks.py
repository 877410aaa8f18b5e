"""What integrations say about rules: signed messages, each of which counts once."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook

from alerting.book import AlertBook
from alerting.conditions import Condition, Conditions
from alerting.finding import AlertKind, Subject
from alerting.notify.signing import new_secret
from api.app import ROUTES
from api.settings import ApiSettings, HookSettings

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
REPORT = {"type": "health_decline", "rule_id": "SEC-003", "message": "The rule's tests fail", "metadata": {"failed": 3, "share": 0.25}}
SHOWN = {
    "id": "alert-001",
    "type": "health_decline",
    "status": "active",
    "rule_id": "SEC-003",
    "message": "The rule's tests fail",
    "created_at": "2025-01-15T10:30:00Z",
    "metadata": {"failed": 3, "share": 0.25, "source": "hook:ci"},
}


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(
        hooks=(
            HookSettings(name="ci", secret=SECRET),
            HookSettings(name="scanner", secret=new_secret(), rules=("SCAN-*",)),
            HookSettings(name="off", secret=SECRET, enabled=False),
        )
    )


@pytest.fixture
def send(gateway: Any) -> Any:
    """Return what sends a message as the published library signs it."""

    async def sent(
        body: Any, *, message_id: str = "msg_1", hook: str = "ci", secret: str = SECRET, at: datetime | None = None, **headers: str
    ) -> Any:
        raw = body if isinstance(body, str) else json.dumps(body)
        at = at or gateway.clock()
        signed = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(message_id, at, raw),
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        present = {name: value for name, value in signed.items() if value}
        return await gateway.ask("POST", f"/api/v1/gateway/hooks/{hook}", data=raw.encode(), headers=present)

    return sent


async def test_a_signed_message_raises_an_alert_about_a_rule(send: Any, gateway: Any, book: AlertBook) -> None:
    answer = await send(REPORT)

    assert (answer.status, answer.body) == (201, {"status": "raised", "alert": SHOWN, "health": None})
    listed = await gateway.ask("GET", "/api/v1/alerts", token=await gateway.token())
    assert listed.body == {"total": 1, "alerts": [SHOWN]}
    assert (await book.get(1)).severity == "medium"


@pytest.mark.parametrize("kind", ["dormant_rule", "high_deny_rate", "health_decline", "conflict_detected"])
async def test_each_of_the_four_types_can_be_raised(send: Any, kind: str) -> None:
    report = {"type": kind, "rule_id": "SEC-003", "metadata": {"conflicting_rule_id": "OTHER"}}

    alert = (await send(report)).body["alert"]

    assert (alert["type"], alert["message"].endswith(", ci reports")) == (kind, True)
    assert alert["metadata"] == {"conflicting_rule_id": "OTHER", "source": "hook:ci"}


async def test_a_message_counts_once_however_often_it_is_sent(send: Any, gateway: Any, book: AlertBook) -> None:
    await send(REPORT)
    gateway.clock.advance(days=1)

    again = await send(REPORT)  # the sender tries again: a new timestamp, the same id
    other = await send(REPORT, message_id="msg_2")
    at_another = await send({**REPORT, "rule_id": "SCAN-1"}, message_id="msg_1", hook="scanner")

    assert (again.status, again.body) == (200, {"status": "replayed", "alert": SHOWN, "health": None})
    assert (other.status, other.body["status"]) == (200, "raised")
    assert at_another.status == 401  # signed with the other hook's secret
    assert (await book.get(1)).occurrence_count == 2


async def test_a_message_is_forgotten_after_a_week(send: Any, gateway: Any, database: Any) -> None:
    await send(REPORT)
    gateway.clock.advance(days=7, seconds=1)

    assert (await send(REPORT)).body["status"] == "raised"
    assert await database.read("SELECT COUNT(*) FROM hook_messages") == [(1,)]


async def test_a_report_is_the_same_alert_as_what_the_gateway_finds_itself(send: Any, book: AlertBook, occur: Any) -> None:
    await book.record([occur(AlertKind.RULE_HEALTH_DECLINE, episode=("SEC-003",), subject=Subject(rule_id="SEC-003"))])

    assert (await send(REPORT)).body["alert"]["id"] == "alert-001"
    assert (await book.get(1)).occurrence_count == 2


async def test_what_a_hook_raised_it_may_end(send: Any, book: AlertBook) -> None:
    await send(REPORT)

    ended = await send({**REPORT, "action": "resolve"}, message_id="msg_2")
    none = await send({**REPORT, "action": "resolve"}, message_id="msg_3")

    assert (ended.status, ended.body["status"], ended.body["alert"]["status"]) == (200, "resolved", "resolved")
    assert none.body == {"status": "not_open", "alert": None, "health": None}
    assert (await book.get(1)).resolution == "condition_cleared"


async def test_what_the_gateway_itself_still_sees_a_hook_does_not_end(
    send: Any, book: AlertBook, database: Any, clock: Any, occur: Any
) -> None:
    finding = occur(AlertKind.RULE_HEALTH_DECLINE, episode=("SEC-003",)).finding
    finding = finding.about(rule_id="SEC-003")
    await Conditions(database, book, now=clock).hold(AlertKind.RULE_HEALTH_DECLINE, [Condition(finding, "90")])

    answer = await send({**REPORT, "action": "resolve"})

    assert (answer.status, answer.body["status"], answer.body["alert"]["status"]) == (200, "stands", "active")


async def test_a_hook_may_have_a_rule_measured(send: Any, gateway: Any, rule_watch: Any, book: AlertBook, clock: Any) -> None:
    await rule_watch.changed()
    await rule_watch.check()
    clock.advance(days=100)

    answer = await send({"action": "evaluate", "rule_id": "SEC-003"})
    again = await send({"action": "evaluate", "rule_id": "SEC-003"})

    assert (answer.status, answer.body["status"], answer.body["alert"]) == (200, "evaluated", None)
    assert (answer.body["health"]["rule_id"], answer.body["health"]["dormant"]) == ("SEC-003", True)
    assert again.body["status"] == "replayed"
    assert again.body["health"]["measured_at"] == "2025-04-25T10:30:00Z"
    assert {alert.kind for alert in await book.list()} == {AlertKind.RULE_DORMANT, AlertKind.RULE_HEALTH_DECLINE}
    assert gateway is not None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"webhook_signature": ""}, "webhook-id, webhook-timestamp and webhook-signature are needed"),
    ({"webhook_id": ""}, "webhook-id, webhook-timestamp and webhook-signature are needed"),
    ({"webhook_timestamp": ""}, "webhook-id, webhook-timestamp and webhook-signature are needed"),
    ({"webhook_timestamp": "now"}, "webhook-id, webhook-timestamp and webhook-signature are needed"),
    ({"webhook_id": "msg_2"}, "the signature is not good"),
    ({"webhook_timestamp": "1736937001"}, "the signature is not good"),
    ({"webhook_signature": "v1,"}, "the signature is not good"),
    ({"webhook_signature": "v1,***"}, "the signature is not good"),
    ({"webhook_signature": "v2,AAAA v1a,AAAA"}, "the signature is not good"),
    ({"secret": new_secret()}, "the signature is not good"),
    ({"hook": "unknown"}, "the signature is not good"),
    ({"hook": "off"}, "the signature is not good"),
    ({"hook": "scanner"}, "the signature is not good"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
async def test_a_message_that_does_not_prove_itself_is_401_and_does_nothing(
    send: Any, database: Any, change: dict[str, Any], message: str
) -> None:
    answer = await send(REPORT, **change)

    assert (answer.status, answer.body["error"]["code"]) == (401, "UNAUTHORIZED")
    assert message in answer.body["detail"]
    assert await database.read("SELECT COUNT(*) FROM alerts") == [(0,)]


@pytest.mark.parametrize(("seconds", "status"), [(-301, 401), (-300, 201), (300, 201), (301, 401)])
async def test_a_timestamp_is_at_most_five_minutes_off(send: Any, clock: Any, seconds: int, status: int) -> None:
    answer = await send(REPORT, at=clock() + timedelta(seconds=seconds))

    assert answer.status == status


async def test_one_good_signature_of_several_is_enough(send: Any, clock: Any) -> None:
    bad, good = (Webhook(secret).sign("msg_1", clock(), json.dumps(REPORT)) for secret in (new_secret(), SECRET))

    assert (await send(REPORT, webhook_signature=f"{bad} {good}")).status == 201
    assert (await send(REPORT, webhook_signature=" ".join([bad] * 10 + [good]))).status == 401


async def test_a_body_is_not_looked_at_before_it_is_proved(send: Any) -> None:
    assert (await send("no JSON", secret=new_secret())).status == 401
    assert (await send("no JSON")).status == 422
    assert (await send({"rule_id": "x" * 70_000}, secret=new_secret())).status == 413


async def test_who_fails_again_and_again_is_told(send: Any, book: AlertBook) -> None:
    for _ in range(30):
        await send(REPORT, secret=new_secret())
    await book.drain()

    (alert,) = await book.list(kinds=[AlertKind.LOGIN_ABUSE])
    assert alert.evidence[0]["source"] == "127.0.0.1"


INVALID = [
    ({"type": None}, "type: to raise an alert, say of which type: one of "),
    ({"type": "prompt_drift"}, "type: "),
    ({"type": "conflict_detected"}, "metadata.conflicting_rule_id: a conflict is between two rules"),
    ({"type": "conflict_detected", "metadata": {"conflicting_rule_id": 3}}, "metadata.conflicting_rule_id: "),
    ({"action": "delete"}, "action: "),
    ({"rule_id": ""}, "rule_id: "),
    ({"message": "x" * 1_001}, "message: "),
    ({"metadata": {"a": [1]}}, "metadata.a: "),
    ({"metadata": {str(number): 1 for number in range(21)}}, "metadata: "),
    ({"severity": "high"}, "unknown key severity"),
]


@pytest.mark.parametrize(("change", "message"), INVALID)
async def test_a_message_that_will_not_do_is_422_and_names_the_field(send: Any, database: Any, change: Any, message: str) -> None:
    answer = await send({**REPORT, **change})

    assert (answer.status, message in answer.body["detail"]) == (422, True), answer.body
    assert await database.read("SELECT COUNT(*) FROM hook_messages") == [(0,)]


async def test_a_hook_speaks_of_rules_that_exist_and_that_it_may_speak_of(send: Any, settings: ApiSettings, gateway: Any) -> None:
    other = settings.hooks[1].secret

    unknown = await send({**REPORT, "rule_id": "NONE"})
    foreign = await send(REPORT, hook="scanner", secret=other)

    assert (unknown.status, unknown.body["detail"]) == (404, "Rule NONE not found")
    assert (foreign.status, foreign.body["detail"][:45]) == (403, "this hook does not speak of rule SEC-003: see")
    off = {"id": "OFF", "title": "Off", "match": {"model": "o3"}, "action": "block", "enabled": False}
    await gateway.ask("POST", "/api/v1/rules", token=await gateway.token(), json=off)
    assert (await send({"action": "evaluate", "rule_id": "OFF"})).status == 409


def test_routes_that_prove_themselves_are_those_of_hooks() -> None:
    assert [(route.method, route.path) for route in ROUTES if route.proof] == [("POST", "/api/v1/gateway/hooks/{name}")]


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ([{"name": "ci", "secret": "whsec_short"}], "a webhook's secret is 'whsec_' and the base64 of 24 to 64 bytes"),
        ([{"name": "CI/1", "secret": SECRET}], "should match pattern"),
        ([{"name": "ci", "secret": SECRET}] * 2, "the hook 'ci' stands twice; give each its own name"),
    ],
)
def test_hooks_that_will_not_do_are_refused_in_the_config(hooks: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ApiSettings.model_validate({"hooks": hooks})
