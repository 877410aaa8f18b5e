"""Alertmanager's API v2: shapes, filters, silences and errors as its own clients expect them."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import yaml

from alerting.finding import AlertKind, Severity, Subject
from alerting.labels import label_hash
from alerting.settings import AlertingSettings
from api.alertmanager import alerts as module
from api.scopes import Scope
from api.times import rfc3339

V2 = "/alertmanager/api/v2"
HOUR = timedelta(hours=1)

# What Alertmanager 0.25 answered.
AN_ALERT: dict[str, Any] = {
    "annotations": {"summary": "hi"},
    "endsAt": "2026-11-22T05:40:51.849Z",
    "fingerprint": "7e781a066f73f0ab",
    "receivers": [{"name": "default"}],
    "startsAt": "2026-11-22T05:35:51.849Z",
    "status": {"inhibitedBy": [], "silencedBy": ["74d35449-b7ee-41b4-9cb5-9264a313802b"], "state": "suppressed"},
    "updatedAt": "2026-11-22T05:35:51.849Z",
    "labels": {"alertname": "foo", "service": "openai", "user": "ann"},
}
A_SILENCE: dict[str, Any] = {
    "id": "74d35449-b7ee-41b4-9cb5-9264a313802b",
    "status": {"state": "active"},
    "updatedAt": "2026-11-22T05:35:51.866Z",
    "comment": "why",
    "createdBy": "me",
    "endsAt": "2026-11-22T06:35:51.862Z",
    "matchers": [{"isEqual": True, "isRegex": False, "name": "user", "value": "ann"}],
    "startsAt": "2026-11-22T05:35:51.866Z",
}


@pytest.fixture
async def ask(gateway: Any) -> Callable[..., Any]:
    token = await gateway.token()

    async def asked(method: str, path: str, **more: Any) -> Any:
        return await gateway.ask(method, V2 + path, token=token, **more)

    return asked


@pytest.fixture
async def raised(gateway: Any, occur: Callable[..., Any]) -> Callable[..., Any]:
    async def make(name: str, kind: AlertKind = AlertKind.PROMPT_SIZE, **changes: Any) -> Any:
        changes = {"severity": Severity.MEDIUM, "subject": Subject(service="openai", user=name), **changes}
        [recorded] = await gateway.services.alerts.record([occur(kind, episode=(name,), **changes)])
        return await gateway.services.alerts.get(recorded.seq)

    return make


def posted(clock: Any, user: str = "ann", **changes: Any) -> dict[str, Any]:
    matchers = [{"name": "user", "value": user, "isRegex": False}]
    return {
        "matchers": matchers,
        "startsAt": rfc3339(clock()),
        "endsAt": rfc3339(clock() + HOUR),
        "createdBy": "me",
        "comment": "why",
    } | changes


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items() if key not in {"labels", "annotations"}}
    return [shape(value[0])] if isinstance(value, list) and value else type(value)


async def names(ask: Callable[..., Any], query: str) -> list[str]:
    answer = await ask("GET", f"/alerts{query}")
    assert answer.status == 200, answer.raw
    return [one["labels"]["user"] for one in answer.body]


async def test_an_alert_has_the_shape_that_alertmanager_gives_it(ask: Any, raised: Any, gateway: Any) -> None:
    alert = await raised("ann", subject=Subject(service="openai", user="ann", model="gpt-4o"))
    await ask("POST", "/silences", json=posted(gateway.clock))

    [shown] = (await ask("GET", "/alerts")).body

    assert shape(shown) == shape(AN_ALERT)
    assert shown["labels"] == {
        "alertname": "prompt_size",
        "kind": "prompt_size",
        "severity": "medium",
        "service": "openai",
        "user": "ann",
        "model": "gpt-4o",
        "fingerprint": alert.fingerprint,
    }
    assert shown["fingerprint"] == label_hash(shown["labels"])
    assert re.fullmatch("[0-9a-f]{16}", shown["fingerprint"])
    assert shown["annotations"] == {
        "summary": "title",
        "description": "message",
        "alert_id": alert.local_id,
        "action": "alerted",
        "status": "open",
        "occurrences": "1",
    }
    assert datetime.fromisoformat(shown["startsAt"]) == alert.first_seen_at
    assert datetime.fromisoformat(shown["endsAt"]) == alert.last_seen_at + timedelta(hours=24)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["cid", "bob", "ann"]),
        ("?filter=user%3Dbob", ["bob"]),
        ("?filter=user%3D~%22a.%2B%7Cc.%2B%22", ["cid", "ann"]),
        ("?filter=user!%3Dbob&filter=severity%3Dmedium", ["cid", "ann"]),
        ("?filter=colour%3Dred", []),
        ("?filter=colour%3D", ["cid", "bob", "ann"]),
        ("?active=false", ["ann"]),
        ("?silenced=false", ["cid", "bob"]),
        ("?inhibited=false&unprocessed=false", ["cid", "bob", "ann"]),
        ("?receiver=def.*", ["cid", "bob", "ann"]),
        ("?receiver=other", []),
    ],
)
async def test_alerts_are_listed_as_asked_for(ask: Any, raised: Any, gateway: Any, query: str, expected: list[str]) -> None:
    for name in ("ann", "bob", "cid"):
        await raised(name)
    await ask("POST", "/silences", json=posted(gateway.clock, "ann"))

    assert await names(ask, query) == expected


async def test_an_inhibited_alert_names_what_holds_it_back(ask: Any, raised: Any) -> None:
    lock = await raised("ann", kind=AlertKind.USER_LOCKED_OUT)
    await raised("ann")

    shown = {one["labels"]["kind"]: one for one in (await ask("GET", "/alerts")).body}
    uninhibited = (await ask("GET", "/alerts?inhibited=false")).body

    assert shown["prompt_size"]["status"] == {
        "state": "suppressed",
        "silencedBy": [],
        "inhibitedBy": [shown["user_locked_out"]["fingerprint"]],
    }
    assert [one["annotations"]["alert_id"] for one in uninhibited] == [lock.local_id]


async def test_what_is_resolved_is_no_more_alert(ask: Any, raised: Any, gateway: Any) -> None:
    alert = await raised("ann")
    await gateway.services.alerts.resolve(alert.seq, actor="x", feed=None)

    assert (await ask("GET", "/alerts")).body == []


async def test_an_alert_ends_as_far_as_that_is_known(ask: Any, raised: Any, clock: Any) -> None:
    await raised("period", kind=AlertKind.BUDGET_WARNING, ends_at=clock() + 2 * HOUR)
    await raised("condition", kind=AlertKind.GATEWAY_DEGRADED)

    ends = {one["labels"]["user"]: datetime.fromisoformat(one["endsAt"]) - clock() for one in (await ask("GET", "/alerts")).body}

    assert ends == {"period": 2 * HOUR, "condition": timedelta(minutes=5)}


async def test_all_alerts_are_looked_through_up_to_a_bound(ask: Any, raised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcde":
        await raised(name)
    monkeypatch.setattr(module, "_BATCH", 2)

    assert await names(ask, "") == list("edcba")
    monkeypatch.setattr(module, "MOST", 4)
    assert await names(ask, "") == list("edcb")


async def test_groups_are_the_kinds(ask: Any, raised: Any) -> None:
    await raised("ann")
    await raised("bob")
    await raised("cid", kind=AlertKind.GATEWAY_DEGRADED)

    groups = (await ask("GET", "/alerts/groups?filter=user!%3Dbob")).body

    assert [(one["labels"], one["receiver"], [a["labels"]["user"] for a in one["alerts"]]) for one in groups] == [
        ({"alertname": "gateway_degraded"}, {"name": "default"}, ["cid"]),
        ({"alertname": "prompt_size"}, {"name": "default"}, ["ann"]),
    ]


async def test_a_silence_is_made_shown_changed_and_ended(ask: Any, clock: Any) -> None:
    made = (await ask("POST", "/silences", json=posted(clock))).body
    shown = (await ask("GET", f"/silence/{made['silenceID']}")).body
    assert shape(shown) == shape(A_SILENCE)
    assert (await ask("GET", "/silences")).body == [shown]
    assert shown["matchers"] == A_SILENCE["matchers"]

    longer = posted(clock, endsAt=rfc3339(clock() + 5 * HOUR), id=made["silenceID"])
    assert (await ask("POST", "/silences", json=longer)).body == made
    other = (await ask("POST", "/silences", json=posted(clock, "bob", id=made["silenceID"]))).body
    assert other != made
    gone = await ask("DELETE", f"/silence/{other['silenceID']}")
    again = await ask("DELETE", f"/silence/{other['silenceID']}")

    assert (gone.status, gone.raw, again.status) == (200, b"", 200)
    assert [one["status"]["state"] for one in (await ask("GET", "/silences")).body] == ["expired", "expired"]
    assert len((await ask("GET", "/silences?filter=user%3Dbob")).body) == 1


async def test_patterns_and_opposites_are_kept(ask: Any, clock: Any) -> None:
    matchers = [
        {"name": "user", "value": "a.*", "isRegex": True, "isEqual": True},
        {"name": "agent", "value": "x|y", "isRegex": True, "isEqual": False},
        {"name": "model", "value": 'say "hi"\\', "isRegex": False, "isEqual": False},
    ]

    await ask("POST", "/silences", json=posted(clock, matchers=matchers, extra="of another version"))

    assert (await ask("GET", "/silences")).body[0]["matchers"] == matchers


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"matchers": []}, "at least 1"),
        ({"matchers": [{"name": "user", "value": "", "isRegex": False}]}, "must not match"),
        ({"matchers": [{"name": "usr", "value": "x", "isRegex": False}]}, "did you mean 'user'"),
        ({"matchers": [{"name": "user", "value": "(", "isRegex": True}]}, "RE2"),
        ({"matchers": [{"name": "user", "value": "x", "isRegex": "no"}]}, "matchers.0.isRegex"),
        ({"startsAt": "2025-01-15T10:30:00"}, "startsAt"),
        ({"endsAt": "2025-01-15T10:00:00Z"}, "cannot begin"),
        ({"startsAt": "2024-01-15T10:00:00Z", "endsAt": "2024-01-16T10:00:00Z"}, "in the past"),
        ({"endsAt": "9999-12-31T23:59:59-12:00"}, "ten years"),
        ({"comment": ""}, "say why"),
        ({"createdBy": ""}, "who made it"),
    ],
)
async def test_what_makes_no_silence_is_told_in_a_text(ask: Any, clock: Any, changes: Any, why: str) -> None:
    answer = await ask("POST", "/silences", json=posted(clock, **changes))

    assert answer.status == 400
    assert isinstance(answer.body, str)
    assert why in answer.body
    assert (await ask("GET", "/silences")).body == []


@pytest.mark.parametrize(
    ("method", "path", "status", "why"),
    [
        ("GET", "/silence/nope", 404, "not found"),
        ("DELETE", "/silence/nope", 404, "nope"),
        ("GET", "/alerts?filter=x", 400, "write name=value"),
        ("GET", "/alerts?filter=user%3D~(", 400, "RE2"),
        ("GET", "/alerts?receiver=(", 400, "RE2"),
        ("GET", "/alerts?active=maybe", 400, "true, false"),
        ("GET", "/silences?filter=x", 400, "write name=value"),
        ("POST", "/alerts", 405, "GET"),
        ("GET", "/nowhere", 404, "not found"),
    ],
)
async def test_an_error_is_a_text(ask: Any, method: str, path: str, status: int, why: str) -> None:
    answer = await ask(method, path)

    assert (answer.status, why in answer.body) == (status, True), answer.body


async def test_changing_one_that_is_not_there_is_refused(ask: Any, clock: Any) -> None:
    assert (await ask("POST", "/silences", json=posted(clock, id="nope"))).status == 404


class TestDefinedInTheConfig:
    @pytest.fixture
    def alerting_settings(self) -> AlertingSettings:
        return AlertingSettings.model_validate({"silences": [{"matchers": "user=ann", "comment": "known"}]})

    async def test_it_is_shown_and_cannot_be_changed(self, ask: Any, clock: Any) -> None:
        [shown] = (await ask("GET", "/silences")).body

        ended = await ask("DELETE", f"/silence/{shown['id']}")
        changed = await ask("POST", "/silences", json=posted(clock, id=shown["id"]))

        assert shown["endsAt"] == "9999-12-31T23:59:59Z"
        assert (ended.status, changed.status) == (409, 409)
        assert "alerting.silences in the config file" in ended.body


async def test_the_status_has_what_clients_ask_for(ask: Any) -> None:
    status = (await ask("GET", "/status")).body

    assert status["cluster"] == {"status": "disabled", "peers": []}
    assert status["versionInfo"]["version"] == "0.1.0"
    assert set(status["versionInfo"]) == {"branch", "buildDate", "buildUser", "goVersion", "revision", "version"}
    original = yaml.safe_load(status["config"]["original"])
    assert original["receivers"] == (await ask("GET", "/receivers")).body == [{"name": "default"}]
    assert original["inhibit_rules"][0] == {
        "source_matchers": ['kind="budget_exceeded"'],
        "target_matchers": ['kind=~"budget_warning"'],
        "equal": ["budget_id"],
    }
    assert datetime.fromisoformat(status["uptime"]).tzinfo


async def test_a_token_that_only_reads_cannot_silence(gateway: Any, clock: Any) -> None:
    token = await gateway.token(Scope.ALERTS_READ)

    answer = await gateway.ask("POST", f"{V2}/silences", token=token, json=posted(clock))

    assert (answer.status, "alerts:write" in answer.body) == (403, True)
    assert (await gateway.ask("GET", f"{V2}/silences")).status == 401
