"""The account feed: usage alerts made, changed, tried and deleted, in the words and with the keys of its published samples."""

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from alerting.notify.mail_settings import EmailSettings
from alerting.usage_alert import ID
from alerting.usage_measures import Measurement
from alerting.usage_settings import UsageAlertSettings
from alerting.usage_watch import Firing, UsageWatch
from api.feeds.account import ROUTES
from api.scopes import Scope
from storage.sqlite import SqliteDatabase
from tests.support.mailserver import MailServer, mail_server

PATH = "/api/account/alerts"
SAMPLES: dict[str, Any] = json.loads(Path(__file__).with_name("account_samples.json").read_text())
COST: dict[str, Any] = {
    "name": "Daily Cost Alert",
    "type": "cost_threshold",
    "threshold": 50.00,
    "period": "day",
    "notification_channels": ["email", "dashboard"],
}


@pytest.fixture
async def mail() -> AsyncIterator[MailServer]:
    async with mail_server(account=("alerts", "open sesame")) as server:
        yield server


@pytest.fixture
def email_settings(mail: MailServer) -> EmailSettings:
    return EmailSettings.model_validate(
        {
            "host": "127.0.0.1",
            "port": mail.port,
            "security": "none",
            "username": "alerts",
            "password": SecretStr("open sesame"),
            "from": "tollwatch@example.com",
            "to": ["ada@example.com"],
        }
    )


@pytest.fixture
async def token(gateway: Any) -> Any:
    return await gateway.token()


@pytest.fixture
def ask(gateway: Any, token: str) -> Any:
    async def asking(method: str, path: str = "", body: Any = None) -> Any:
        more = {} if body is None else {"json": body}
        return await gateway.ask(method, PATH + path, token=token, **more)

    return asking


def same_shape(answer: Any, sample: Any) -> bool:
    """Whether an answer has the keys of a sample, in its order, and the same JSON types."""
    if isinstance(sample, dict):
        return list(answer) == list(sample) and all(same_shape(answer[key], sample[key]) for key in sample)
    if isinstance(sample, list):
        return isinstance(answer, list) and all(same_shape(one, sample[0]) for one in answer)
    return isinstance(answer, int | float if isinstance(sample, float) else type(sample))


@pytest.fixture
def fired(gateway: Any, database: SqliteDatabase) -> Any:
    """Have a usage alert fire on one day after another, as its worker does; return the numbers of the alerts."""

    async def fire(key: str, *values: float) -> list[int]:
        book, alerts = gateway.services.alerts, gateway.services.usage_alerts
        watch = UsageWatch(database, book, alerts, budgets=(), expire_after=timedelta(days=1), now=gateway.clock)
        alert, seqs = alerts.get(key), []
        for value in values:
            measured = Measurement(value=value, beyond=True, told="much", evidence={})
            assert await watch.fire(Firing(alert=alert, bucket=alert.bucket(gateway.clock()), measured=measured), gateway.clock())
            seqs.append((await book.list(limit=1))[0].seq)
            gateway.clock.advance(days=1)
        return seqs

    return fire


async def test_what_is_made_is_answered_as_in_the_sample(ask: Any) -> None:
    answer = await ask("POST", body=COST)

    assert answer.status == 201
    assert same_shape(answer.body, SAMPLES["create"])
    assert ID.fullmatch(answer.body["id"])
    assert {**answer.body, "id": ""} == {**COST, "enabled": True, "created_at": "2025-01-15T10:30:00Z", "id": ""}
    assert answer.headers["X-Alert-Feed"] == "account"


async def test_the_list_and_the_detail_are_as_in_the_samples(ask: Any, gateway: Any, fired: Any) -> None:
    made = (await ask("POST", body=COST)).body
    never = (await ask("GET")).body["alerts"][0]
    seqs = await fired(made["id"], 55.10, 52.35)
    await gateway.services.alerts.acknowledge(seqs[0], actor="ada", feed="local")

    listed, detail = await ask("GET"), await ask("GET", f"/{made['id']}")

    assert (never["last_triggered_at"], never["trigger_count"]) == (None, 0)
    assert (listed.status, detail.status) == (200, 200)
    assert set(listed.body["alerts"][0]) == set(SAMPLES["list"]["alerts"][0])
    assert set(detail.body) == set(SAMPLES["detail"])
    assert same_shape(detail.body["recent_triggers"], SAMPLES["detail"]["recent_triggers"])
    assert detail.body["recent_triggers"] == [
        {"triggered_at": "2025-01-16T10:30:00Z", "value": 52.35, "acknowledged": False},
        {"triggered_at": "2025-01-15T10:30:00Z", "value": 55.1, "acknowledged": True},
    ]
    assert (detail.body["trigger_count"], detail.body["last_triggered_at"]) == (2, "2025-01-16T10:30:00Z")


async def test_what_is_not_said_has_its_default(ask: Any) -> None:
    answer = await ask("POST", body={"name": "Slow", "type": "model_latency", "threshold": 10000})

    assert (answer.body["period"], answer.body["enabled"], answer.body["notification_channels"]) == ("day", True, ["dashboard"])
    assert b'"threshold":10000,' in answer.raw


async def test_what_has_no_threshold_and_what_names_a_budget(ask: Any) -> None:
    unusual = await ask("POST", body={"name": "Odd", "type": "unusual_activity", "threshold": None})
    quota = await ask("POST", body={"name": "Quota", "type": "quota_limit", "threshold": 80, "budget": "daily-total"})

    assert (unusual.status, unusual.body["threshold"]) == (201, None)
    assert (quota.status, quota.body["budget"]) == (201, "daily-total")
    assert "budget" not in unusual.body


async def test_a_change_says_only_what_changes_and_is_answered_whole(ask: Any, gateway: Any) -> None:
    made = (await ask("POST", body=COST)).body
    gateway.clock.advance(minutes=5)

    dearer = await ask("PUT", f"/{made['id']}", {"threshold": 75.00})
    off = await ask("PUT", f"/{made['id']}", {"enabled": False})
    same = await ask("PUT", f"/{made['id']}", {})

    assert dearer.status == off.status == 200
    assert set(dearer.body) == set(SAMPLES["detail"])
    assert (dearer.body["threshold"], dearer.body["name"], dearer.body["updated_at"]) == (75.0, COST["name"], "2025-01-15T10:35:00Z")
    assert (off.body["enabled"], off.body["threshold"]) == (False, 75.0)
    assert same.body == off.body


async def test_a_deleted_one_is_gone_and_what_it_raised_stays(ask: Any, gateway: Any, fired: Any) -> None:
    made = (await ask("POST", body=COST)).body
    await fired(made["id"], 60.0)

    deleted = await ask("DELETE", f"/{made['id']}")

    assert (deleted.status, deleted.body) == (200, {"success": True, "message": "Alert deleted"})
    assert [(await ask(method, f"/{made['id']}")).status for method in ("GET", "DELETE")] == [404, 404]
    assert [alert.subject.usage_alert_id for alert in await gateway.services.alerts.list()] == [made["id"]]
    audited = await gateway.ask("GET", "/api/audit", token=await gateway.token(name="auditor"))
    assert {"usage_alert.created", "usage_alert.deleted"} <= {entry["action"] for entry in audited.body["entries"]}


INVALID: list[tuple[dict[str, Any], str, str]] = [
    ({}, "name", "missing name"),
    ({"name": "x"}, "type", "missing type"),
    ({"name": "x", "type": "cost"}, "type", "cost_threshold"),
    ({"name": "x", "type": "cost_threshold"}, "threshold", "needs a threshold, a number of US dollars"),
    ({"name": "x", "type": "cost_threshold", "threshold": "50"}, "threshold", "valid"),
    ({"name": "x", "type": "cost_threshold", "threshold": True}, "threshold", "valid"),
    ({"name": "x", "type": "cost_threshold", "threshold": -1}, "threshold", "greater than or equal to 0"),
    ({"name": "x", "type": "cost_threshold", "threshold": 1e13}, "threshold", "less than or equal to"),
    ({"name": "x", "type": "error_rate", "threshold": 101}, "threshold", "from 0 to 100"),
    ({"name": " ", "type": "error_rate", "threshold": 1}, "name", "pattern"),
    ({"name": "x" * 201, "type": "error_rate", "threshold": 1}, "name", "at most 200"),
    ({**COST, "period": "year"}, "period", "'hour'"),
    ({**COST, "notification_channels": ["pager"]}, "notification_channels.0", "'email' or 'dashboard'"),
    ({**COST, "notification_channels": ["email", "email"]}, "notification_channels", "twice"),
    ({**COST, "notification_channels": "email"}, "notification_channels", "array"),
    ({**COST, "budget": "x"}, "budget", "only quota_limit"),
    ({**COST, "enabled": None}, "enabled", "bool"),
    ({**COST, "colour": "red"}, "colour", "unknown key"),
]
"""A body, the parameter that is wrong with it, and what is said of it."""


async def test_an_invalid_parameter_is_named(ask: Any) -> None:
    for body, param, told in INVALID:
        answer = await ask("POST", body=body)

        assert answer.status == 400, body
        error = answer.body["error"]
        assert set(error) == {"type", "code", "message", "param"}
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_parameter", param)
        assert told in error["message"]
    assert (await ask("GET")).body == {"alerts": []}


async def test_a_change_that_makes_no_sense_changes_nothing(ask: Any) -> None:
    made = (await ask("POST", body=COST)).body

    answers = [
        await ask("PUT", f"/{made['id']}", {"threshold": None}),
        await ask("PUT", f"/{made['id']}", {"type": "error_rate", "threshold": 101}),
        await ask("PUT", f"/{made['id']}", {"name": None}),
    ]

    assert [(one.status, one.body["error"]["param"]) for one in answers] == [(400, "threshold"), (400, "threshold"), (400, "name")]
    assert (await ask("GET", f"/{made['id']}")).body["threshold"] == 50.0


async def test_an_id_that_is_none_of_its_own_is_not_found(ask: Any) -> None:
    for key in ("alert_aaaaaaaaaaaa", "alert_1", "alert-001", "..%2f"):
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/test")):
            answer = await ask(method, f"/{key}{path}", {} if method == "PUT" else None)

            assert answer.status == 404, (method, key)
            assert answer.body["error"]["type"] == "not_found_error"
            assert answer.body["error"]["code"] == "alert_not_found"


async def test_who_may_not_is_told_in_the_words_of_this_feed(gateway: Any) -> None:
    reader = await gateway.token(Scope.ALERTS_READ, name="reader")

    nobody = await gateway.ask("GET", PATH)
    stranger = await gateway.ask("GET", PATH, token="fn_sess_" + "0" * 64)
    refused = await gateway.ask("POST", PATH, token=reader, json=COST)

    assert (nobody.status, nobody.body["error"]["code"], nobody.body["error"]["type"]) == (401, "missing_api_key", "authentication_error")
    assert (stranger.status, stranger.body["error"]["code"]) == (401, "invalid_api_key")
    assert (refused.status, refused.body["error"]["code"]) == (403, "insufficient_scope")
    assert (await gateway.ask("GET", PATH, token=reader)).status == 200


async def test_there_is_room_for_so_many(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.usage_alerts.MOST_ALERTS", 0)

    answer = await ask("POST", body=COST)

    assert (answer.status, answer.body["error"]["code"]) == (409, "too_many_alerts")


class TestThoseOfTheConfigFile:
    """They are shown and tried, and changed in the file alone."""

    @pytest.fixture
    def file_usage_alerts(self) -> tuple[UsageAlertSettings, ...]:
        return (UsageAlertSettings(name="Of the file", type="error_rate", threshold=5),)  # type: ignore[arg-type]  # as the file says it

    async def test_they_are_read_only_and_the_answer_says_where_they_live(self, ask: Any) -> None:
        (shown,) = (await ask("GET")).body["alerts"]

        answers = [await ask("PUT", f"/{shown['id']}", {"threshold": 1}), await ask("DELETE", f"/{shown['id']}")]

        for answer in answers:
            assert (answer.status, answer.body["error"]["code"]) == (409, "defined_in_config")
            assert "'Of the file' is defined in the config file, in its `usage_alerts` section" in answer.body["error"]["message"]
        assert (await ask("POST", f"/{shown['id']}/test")).body["success"] is True


class TestTrials:
    """A trial really sends, and raises no alert."""

    async def test_it_goes_through_each_channel(self, ask: Any, gateway: Any, database: SqliteDatabase, mail: MailServer) -> None:
        made = (await ask("POST", body=COST)).body

        answer = await ask("POST", f"/{made['id']}/test")

        assert (answer.status, answer.body) == (200, SAMPLES["test"])
        assert mail.recipients == ["ada@example.com"]
        assert mail.mails[0]["Subject"] == "[tollwatch] Test: usage alert 'Daily Cost Alert' (cost_threshold)"
        assert "no alert was raised" in mail.mails[0].get_content()
        kept = await database.read("SELECT channel, target, event, state FROM deliveries")
        assert kept == [("dashboard", made["id"], "usage_alert.test", "delivered")]
        assert await gateway.services.alerts.list() == []
        assert (await ask("GET", f"/{made['id']}")).body["trigger_count"] == 0

    async def test_who_looks_at_the_stream_sees_it(self, ask: Any, gateway: Any, token: str) -> None:
        made = (await ask("POST", body={**COST, "notification_channels": ["dashboard"]})).body
        headers = {"Authorization": f"Bearer {token}"}
        async with gateway.client.get(f"{gateway.url}/api/stream?types=alerts", headers=headers) as stream:
            await stream.content.readuntil(b"\n\n")
            await ask("POST", f"/{made['id']}/test")
            event = (await stream.content.readuntil(b"\n\n")).decode()

        assert event.startswith("event: notice\n")
        notice = json.loads(event.partition("data: ")[2])
        assert (notice["event"], notice["usage_alert_id"], notice["at"]) == ("usage_alert.test", made["id"], "2025-01-15T10:30:00Z")

    async def test_a_channel_that_fails_is_told_and_the_others_work(self, ask: Any, mail: MailServer) -> None:
        made = (await ask("POST", body=COST)).body
        mail.refusals["ada@example.com"] = "550 no such person"

        answer = await ask("POST", f"/{made['id']}/test")

        assert answer.status == 200
        assert (answer.body["success"], answer.body["channels"]) == (False, ["dashboard"])
        assert "email: mail by 127.0.0.1" in answer.body["message"]
        assert "550 no such person" in answer.body["message"]

    async def test_one_without_channels_does_not_work(self, ask: Any) -> None:
        made = (await ask("POST", body={**COST, "notification_channels": []})).body

        answer = await ask("POST", f"/{made['id']}/test")

        assert answer.body == {"success": False, "message": "This alert has no notification channels", "channels": []}


class TestWithoutMail:
    """Where no server is set, an alert may name mail all the same."""

    @pytest.fixture
    def email_settings(self) -> None:
        return None

    async def test_the_trial_says_what_is_missing(self, ask: Any) -> None:
        made = await ask("POST", body=COST)

        answer = await ask("POST", f"/{made.body['id']}/test")

        assert made.status == 201
        assert answer.body["success"] is False
        assert "email: notify.email is not set in the config file, or off" in answer.body["message"]


async def test_every_answer_is_what_its_description_says(ask: Any, fired: Any) -> None:
    made = (await ask("POST", body=COST)).body
    await fired(made["id"], 60.0)
    answers = {
        ("GET", ""): await ask("GET"),
        ("POST", ""): await ask("POST", body=COST),
        ("GET", "/{id}"): await ask("GET", f"/{made['id']}"),
        ("PUT", "/{id}"): await ask("PUT", f"/{made['id']}", {"name": "Other"}),
        ("POST", "/{id}/test"): await ask("POST", f"/{made['id']}/test"),
        ("DELETE", "/{id}"): await ask("DELETE", f"/{made['id']}"),
    }

    for route in ROUTES:
        answer = answers[route.method, route.path.removeprefix(PATH)]
        TypeAdapter(route.answers[answer.status]).validate_json(answer.raw)
        assert re.fullmatch(r"20[01]", str(answer.status))
