"""The organisation's alerts, budgets and policies, as published."""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from alerting.finding import AlertKind, Occurrence, Severity, Subject, Taken
from alerting.matchers import Matcher, MatchOperator
from alerting.rule_settings import RuleSettings
from alerting.settings import AlertingSettings
from alerting.silence import SilenceDraft
from alerting.totals import EXACT_TO
from api.scopes import Scope
from storage.database import Many

type Maker = Callable[..., Occurrence]

ORG = "a1b2c3d4-0000-0000-0000-000000000000"
USER = "jane.smith@acme.com"
SAMPLE = {
    "items": [
        {
            "id": "al1b2c3d-0000-0000-0000-000000000001",
            "org_id": ORG,
            "type": "policy_violation",
            "severity": "high",
            "status": "open",
            "title": "GPT-4 usage by non-engineering user",
            "message": f"User {USER} used gpt-4 (model restricted to Engineering department).",
            "user_id": "u1a2b3c4-0000-0000-0000-000000000001",
            "policy_id": "p1a2b3c4-0000-0000-0000-000000000001",
            "metadata": {"model": "gpt-4", "provider": "openai", "token_count": 4200},
            "created_at": "2025-01-15T10:30:00Z",
            "resolved_at": None,
        }
    ],
    "next_cursor": None,
    "has_more": False,
    "total_count": 1,
}
"""The published answer."""


def shape(value: Any) -> Any:
    """Return the keys and the JSON types of a value; of metadata, which varies by type, only that it is an object."""
    if isinstance(value, dict):
        return {key: "object" if key == "metadata" else shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


@pytest.fixture
def file_rules() -> list[RuleSettings]:
    return []


@pytest.fixture
def violation(occur: Maker) -> Maker:
    def make(number: int = 1, **changes: Any) -> Occurrence:
        fields = {
            "severity": Severity.HIGH,
            "title": SAMPLE["items"][0]["title"],
            "message": SAMPLE["items"][0]["message"],
            "episode": (str(number),),
            "subject": Subject(user=USER, rule_id="SEC-003", model="gpt-4", service="openai"),
            "evidence": {"provider": "openai", "token_count": 4200},
        }
        return occur(AlertKind.POLICY_VIOLATION, taken=Taken.BLOCKED, **{**fields, **changes})

    return make


@pytest.fixture
async def token(gateway: Any) -> str:
    return await gateway.token(Scope.ALERTS_READ, Scope.ALERTS_WRITE, Scope.CONFIG_WRITE)


async def test_the_published_request_gets_the_published_answer(gateway: Any, violation: Maker, token: str) -> None:
    (recorded,) = await gateway.services.alerts.record([violation()])

    answer = await gateway.ask("GET", "/v1/alerts?severity=high&status=open", token=token)

    item = answer.body["items"][0]
    assert answer.status == 200
    assert answer.headers["X-Alert-Feed"] == "org"
    assert shape(answer.body) == shape(SAMPLE)
    assert item == {
        **SAMPLE["items"][0],
        "id": recorded.id,
        "user_id": str(uuid5(UUID(ORG), USER)),
        "policy_id": str(uuid5(UUID(ORG), "SEC-003")),
        "metadata": item["metadata"],
    }
    assert SAMPLE["items"][0]["metadata"].items() <= item["metadata"].items()
    assert (item["metadata"]["user"], item["metadata"]["rule_id"], item["metadata"]["occurrence_count"]) == (USER, "SEC-003", 1)
    assert (await gateway.ask("GET", f"/v1/alerts/{recorded.id}", token=token)).body == item
    assert (await gateway.ask("GET", f"/v1/alerts/{recorded.id.upper()}", token=token)).body == item


async def test_the_published_line_runs_as_written_but_for_host_and_token(gateway: Any, violation: Maker, token: str) -> None:
    await gateway.services.alerts.record([violation()])
    line = 'curl "https://api.toktra.io/v1/alerts?severity=high&status=open" \\\n  -H "Authorization: Bearer YOUR_TOKEN"'
    line = line.replace("https://api.toktra.io", gateway.url).replace("YOUR_TOKEN", token)

    process = await asyncio.create_subprocess_shell(
        line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"}
    )
    out, _ = await process.communicate()

    assert shape(json.loads(out)) == shape(SAMPLE)


async def test_users_and_policies_that_are_uuids_keep_them_and_system_alerts_have_none(
    gateway: Any, violation: Maker, occur: Maker, token: str
) -> None:
    user, policy = str(uuid4()), str(uuid4())
    await gateway.services.alerts.record([violation(subject=Subject(user=user, rule_id=policy))])
    await gateway.services.alerts.record([occur(AlertKind.GATEWAY_DEGRADED, subject=Subject())])

    system, known = (await gateway.ask("GET", "/v1/alerts", token=token)).body["items"]

    assert (known["user_id"], known["policy_id"]) == (user, policy)
    assert (system["user_id"], system["policy_id"], system["type"]) == (None, None, "security_event")


async def test_pages_follow_each_other_without_gap_or_repeat_while_alerts_come_and_go(gateway: Any, violation: Maker, token: str) -> None:
    recorded = await gateway.services.alerts.record([violation(number) for number in range(7)])
    ids, cursor = [], ""
    for page in range(4):
        answer = await gateway.ask("GET", f"/v1/alerts?limit=2{cursor}", token=token)
        ids += [item["id"] for item in answer.body["items"]]
        assert answer.body["total_count"] == 7 + page
        assert answer.body["has_more"] is (page < 3)
        cursor = f"&cursor={answer.body['next_cursor']}"
        await gateway.services.alerts.record([violation(100 + page)])

    assert ids == [alert.id for alert in reversed(recorded)]
    assert answer.body["next_cursor"] is None


async def test_a_cursor_is_json_in_base64url_and_good_where_its_alert_was_deleted(
    gateway: Any, violation: Maker, token: str, database: Any
) -> None:
    recorded = []
    for number in range(4):
        gateway.clock.advance(seconds=1)
        recorded += await gateway.services.alerts.record([violation(number)])
    answer = await gateway.ask("GET", "/v1/alerts?limit=2", token=token)
    cursor = answer.body["next_cursor"]
    assert "=" not in cursor
    assert json.loads(base64.urlsafe_b64decode(cursor + "=="))["id"] == recorded[1 + 1].id

    def forget() -> Any:
        yield Many("DELETE FROM alerts WHERE id = ?", [(recorded[2].id,)])

    await database.write(forget)
    rest = await gateway.ask("GET", f"/v1/alerts?limit=2&cursor={cursor}", token=token)

    assert [item["id"] for item in rest.body["items"]] == [recorded[1].id, recorded[0].id]

    def forget_all() -> Any:
        yield Many("DELETE FROM alerts WHERE id = ?", [(alert.id,) for alert in recorded])

    await database.write(forget_all)
    empty = await gateway.ask("GET", f"/v1/alerts?limit=2&cursor={cursor}", token=token)
    assert (empty.body["items"], empty.body["total_count"]) == ([], 0)


async def test_what_does_not_fit_is_an_invalid_request_that_says_what_does(gateway: Any, token: str) -> None:
    refused = {
        "limit=0": "from 1 to 100",
        "limit=101": "from 1 to 100",
        "limit=ten": "from 1 to 100",
        "severity=urgent": "low, medium, high, critical",
        "status=closed": "open, acknowledged, resolved",
        "cursor=nonsense": "next_cursor of an earlier answer",
        "cursor=%C3%A9": "next_cursor of an earlier answer",
        "cursor=" + base64.urlsafe_b64encode(b'{"id":1}').decode().rstrip("="): "next_cursor of an earlier answer",
        "cursor=" + base64.urlsafe_b64encode(b'["id"]').decode().rstrip("="): "next_cursor of an earlier answer",
    }
    for query, said in refused.items():
        answer = await gateway.ask("GET", f"/v1/alerts?{query}", token=token)

        assert (answer.status, answer.body["error"]) == (400, "invalid_request")
        assert said in answer.body["message"]


async def test_a_cursor_of_other_filters_is_refused(gateway: Any, violation: Maker, token: str) -> None:
    await gateway.services.alerts.record([violation(number) for number in range(3)])
    cursor = (await gateway.ask("GET", "/v1/alerts?limit=1&severity=high", token=token)).body["next_cursor"]

    assert (await gateway.ask("GET", f"/v1/alerts?limit=2&severity=high&cursor={cursor}", token=token)).status == 200
    for other in ("", "&severity=low", "&severity=high&status=open"):
        answer = await gateway.ask("GET", f"/v1/alerts?cursor={cursor}{other}", token=token)
        assert (answer.status, answer.body["error"]) == (400, "invalid_request")
        assert "other filters" in answer.body["message"]


async def test_filters_hold_alone_and_together(gateway: Any, violation: Maker, token: str) -> None:
    book = gateway.services.alerts
    recorded = [(await book.record([violation(n, severity=severity)]))[0] for n, severity in enumerate([*Severity, *Severity])]
    await book.acknowledge(recorded[1].seq, actor="jane", feed=None)
    await book.resolve(recorded[2].seq, actor="jane", feed=None)

    async def ids(query: str) -> list[int]:
        answer = await gateway.ask("GET", f"/v1/alerts?{query}", token=token)
        found = [item["id"] for item in answer.body["items"]]
        assert answer.body["total_count"] == len(found)
        return [n for n, alert in reversed(list(enumerate(recorded))) if alert.id in found]

    assert await ids("severity=medium") == [5, 1]
    assert await ids("status=open") == [7, 6, 5, 4, 3, 0]
    assert await ids("severity=medium&status=acknowledged") == [1]
    assert await ids("severity=medium&status=resolved") == []
    assert await ids("status=resolved") == [2]


async def test_an_alert_is_acknowledged_and_resolved_and_resolved_is_final(gateway: Any, violation: Maker, token: str) -> None:
    (recorded,) = await gateway.services.alerts.record([violation()])
    path = f"/v1/alerts/{recorded.id}"

    async def patch(status: str, **more: str) -> Any:
        return await gateway.ask("PATCH", path, token=token, json={"status": status, **more})

    gateway.clock.advance(minutes=5)
    for _ in range(2):
        answer = await patch("acknowledged")
        assert (answer.status, answer.body["status"], answer.body["resolved_at"]) == (200, "acknowledged", None)
    for _ in range(2):
        answer = await patch("resolved", note="the department was wrong")
        assert (answer.status, answer.body["status"], answer.body["resolved_at"]) == (200, "resolved", "2025-01-15T10:35:00Z")
    assert answer.body["metadata"]["resolution_note"] == "the department was wrong"
    again = await patch("acknowledged")
    assert (again.status, again.body["error"]) == (409, "conflict")
    assert "resolved, which is final" in again.body["message"]
    history = await gateway.services.alerts.history(recorded.seq)
    assert [(entry.action, entry.feed) for entry in history] == [("opened", None), ("acknowledged", "org"), ("resolved", "org")]


async def test_a_change_that_is_none_is_refused(gateway: Any, violation: Maker, token: str) -> None:
    (recorded,) = await gateway.services.alerts.record([violation()])

    for body in ({"status": "open"}, {"status": "dismissed"}, {}, {"status": "resolved", "note": ""}, {"note": "x"}):
        answer = await gateway.ask("PATCH", f"/v1/alerts/{recorded.id}", token=token, json=body)
        assert (answer.status, answer.body["error"]) == (400, "invalid_request")


async def test_kinds_of_other_feeds_are_never_seen_here(gateway: Any, occur: Maker, token: str) -> None:
    book = gateway.services.alerts
    hidden = [kind for kind in AlertKind if kind.startswith("rule_") or kind is AlertKind.BUDGET_WARNING]
    recorded = [(await book.record([occur(kind)]))[0] for kind in hidden]

    answer = await gateway.ask("GET", "/v1/alerts", token=token)

    assert (answer.body["items"], answer.body["total_count"]) == ([], 0)
    for alert in recorded:
        for method, more in (("GET", {}), ("PATCH", {"json": {"status": "resolved"}})):
            refused = await gateway.ask(method, f"/v1/alerts/{alert.id}", token=token, **more)
            assert (refused.status, refused.body["error"]) == (404, "not_found")
    assert (await book.counts()).open == len(hidden)


async def test_ids_of_other_feeds_and_unknown_ones_are_not_found(gateway: Any, violation: Maker, token: str) -> None:
    await gateway.services.alerts.record([violation()])

    for wrong in ("alert_1", "alert-001", "1", "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8", "a%00b"):
        answer = await gateway.ask("GET", f"/v1/alerts/{wrong}", token=token)
        assert (answer.status, answer.body["error"]) == (404, "not_found")


class TestBudgetWarnings:
    @pytest.fixture
    def alerting_settings(self) -> AlertingSettings:
        return AlertingSettings(org_budget_warnings=True)

    async def test_are_shown_where_the_config_asks_for_them(self, gateway: Any, occur: Maker, token: str) -> None:
        (recorded,) = await gateway.services.alerts.record([occur(AlertKind.BUDGET_WARNING)])

        answer = await gateway.ask("GET", "/v1/alerts", token=token)

        assert [(item["id"], item["type"]) for item in answer.body["items"]] == [(recorded.id, "budget_exceeded")]


async def test_what_holds_an_alert_back_is_shown(gateway: Any, violation: Maker, token: str) -> None:
    (recorded,) = await gateway.services.alerts.record([violation()])
    matcher = Matcher(name="user", operator=MatchOperator.EQUAL, value=USER)
    end = gateway.clock() + timedelta(hours=1)
    draft = SilenceDraft(matchers=(matcher,), starts_at=gateway.clock(), ends_at=end, comment="known", created_by="jane")
    silence = await gateway.services.silences.add(draft, actor="jane")

    answer = await gateway.ask("GET", f"/v1/alerts/{recorded.id}", token=token)

    assert answer.body["metadata"]["silenced_by"] == [silence.id]
    assert "inhibited_by" not in answer.body["metadata"]


async def test_a_long_list_is_counted_to_ten_thousand_at_each_question_and_beyond_once_a_minute(
    gateway: Any, violation: Maker, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerting.totals.EXACT_TO", 10)
    book = gateway.services.alerts

    async def total() -> int:
        return (await gateway.ask("GET", "/v1/alerts?limit=1", token=token)).body["total_count"]

    await book.record([violation(number) for number in range(10)])
    assert await total() == 10
    await book.record([violation(number) for number in range(10, 25)])
    assert await total() == 25
    await book.record([violation(number) for number in range(25, 30)])
    assert await total() == 25  # as counted before
    gateway.clock.advance(minutes=1)
    assert await total() == 30
    assert EXACT_TO == 10_000
