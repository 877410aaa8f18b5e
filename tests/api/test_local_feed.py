"""The local feed, word for word."""

import json
from typing import Any

import pytest

from alerting.book import AlertBook
from alerting.finding import AlertKind, Severity, Subject, Taken
from alerting.settings import AlertingSettings

SAMPLE = json.loads("""
{
  "alerts": [
    {
      "id": "alert_1",
      "type": "prompt_drift",
      "severity": "critical",
      "service": "openai",
      "message": "System prompt drift detected: new prompt differs from baseline",
      "timestamp": 1709500000,
      "dismissed": false
    },
    {
      "id": "alert_2",
      "type": "budget_warning",
      "severity": "warning",
      "service": "anthropic",
      "message": "Daily budget threshold reached: 80%",
      "timestamp": 1709499500,
      "dismissed": false
    }
  ]
}
""")
"""The published sample."""
TYPES = [
    "prompt_drift",
    "prompt_size",
    "budget_warning",
    "budget_exceeded",
    "onchain_denied",
    "rate_limit_hit",
    "anomalous_volume",
    "new_endpoint",
    "time_anomaly",
    "high_severity_denied_action",
]


@pytest.fixture
async def token(gateway: Any) -> str:
    return await gateway.token()


async def alerts(gateway: Any, token: str, query: str = "") -> list[dict[str, Any]]:
    answer = await gateway.ask("GET", f"/api/alerts{query}", token=token)
    assert answer.status == 200
    return answer.body["alerts"]


async def test_alerts_look_like_the_published_sample(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.BUDGET_WARNING, subject=Subject(service="anthropic"), message=SAMPLE["alerts"][1]["message"])])
    gateway.clock.advance(seconds=500)
    await book.record([occur(AlertKind.PROMPT_DRIFT, message=SAMPLE["alerts"][0]["message"])])

    answer = await gateway.ask("GET", "/api/alerts?dismissed=false", token=token)

    assert list(answer.body) == list(SAMPLE)
    for served, sample in zip(answer.body["alerts"], SAMPLE["alerts"], strict=True):
        assert list(served) == list(sample)
        assert [type(value) for value in served.values()] == [type(value) for value in sample.values()]
        changed = {"id": served["id"], "timestamp": served["timestamp"]}
        assert served == {**sample, **changed}
    assert [alert["timestamp"] for alert in answer.body["alerts"]] == [1736937500, 1736937000]
    assert answer.headers["X-Alert-Feed"] == "local"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_no_alerts_are_an_empty_list(gateway: Any, token: str) -> None:
    assert await alerts(gateway, token) == []


async def test_alerts_are_filtered_by_type(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_DRIFT), occur(AlertKind.PROMPT_SIZE), occur(AlertKind.BUDGET_EXCEEDED)])

    found = {name: [alert["type"] for alert in await alerts(gateway, token, f"?type={name}")] for name in TYPES}

    raised = {"prompt_drift", "prompt_size", "budget_exceeded"}
    assert found == {name: [name] if name in raised else [] for name in TYPES}


async def test_what_the_feed_has_no_word_for_is_not_in_it(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    violation = {"kind": AlertKind.POLICY_VIOLATION}
    await book.record(
        [
            occur(AlertKind.METER_GAP),
            occur(AlertKind.UNPRICED_MODEL),
            occur(AlertKind.GATEWAY_DEGRADED),
            occur(**violation, severity=Severity.HIGH, taken=Taken.ALERTED, episode=("a",)),
            occur(**violation, severity=Severity.MEDIUM, taken=Taken.BLOCKED, episode=("b",)),
            occur(**violation, severity=Severity.HIGH, taken=Taken.BLOCKED, episode=("c",)),
        ]
    )

    shown = await alerts(gateway, token)

    assert [(alert["type"], alert["severity"]) for alert in shown] == [("high_severity_denied_action", "critical")]


async def test_an_alert_about_no_service_still_has_a_text_there(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.BUDGET_WARNING, subject=Subject(budget_id="all"))])

    assert (await alerts(gateway, token))[0]["service"] == "all"


async def test_dismissing(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_DRIFT)])
    (before,) = await alerts(gateway, token)

    for _ in range(2):
        answer = await gateway.ask("POST", "/api/alerts/dismiss", token=token, json={"id": before["id"]})
        assert (answer.status, answer.body) == (200, {"success": True})

    assert await alerts(gateway, token, "?dismissed=false") == []
    assert await alerts(gateway, token, "?dismissed=true") == [{**before, "dismissed": True}]
    assert await alerts(gateway, token) == [{**before, "dismissed": True}]
    kept = await book.get(int(before["id"].removeprefix("alert_")))
    assert kept.resolved_by == "tester"


@pytest.mark.parametrize("body", [{}, {"id": 1}, {"id": None}, {"id": "alert_1", "note": "x"}])
async def test_a_dismissal_that_will_not_do_is_400(gateway: Any, token: str, body: Any) -> None:
    assert (await gateway.ask("POST", "/api/alerts/dismiss", token=token, json=body)).status == 400


async def test_a_dismissal_without_an_id_says_so(gateway: Any, token: str) -> None:
    answer = await gateway.ask("POST", "/api/alerts/dismiss", token=token, json={})

    assert answer.body == {"error": "missing id"}


@pytest.mark.parametrize(
    "name", ["", "alert_99", "alert_0", "alert_01", "alert-001", "1", "alert_-1", "alert_1' OR 1=1", "alert_" + "9" * 40]
)
async def test_dismissing_what_is_not_there_is_404(gateway: Any, token: str, name: str, book: AlertBook, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_DRIFT)])

    answer = await gateway.ask("POST", "/api/alerts/dismiss", token=token, json={"id": name})

    assert (answer.status, answer.body) == (404, {"error": "alert not found"})


async def test_an_alert_outside_the_feed_cannot_be_dismissed_through_it(gateway: Any, token: str, book: AlertBook, occur: Any) -> None:
    (recorded,) = await book.record([occur(AlertKind.METER_GAP)])

    answer = await gateway.ask("POST", "/api/alerts/dismiss", token=token, json={"id": f"alert_{recorded.seq}"})

    assert answer.status == 404


async def test_pages_hold_every_alert_once(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_SIZE, episode=(str(n),)) for n in range(25)])

    pages = [await alerts(gateway, token, f"?limit=10&skip={skip}") for skip in (0, 10, 20, 30)]

    assert [len(page) for page in pages] == [10, 10, 5, 0]
    numbers = [int(alert["id"].removeprefix("alert_")) for page in pages for alert in page]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 25


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("type=nothing", "invalid type: use one of prompt_drift, prompt_size,"),
        ("type=", "invalid type"),
        ("type=prompt_drift&type=prompt_size", "invalid type: it is given 2 times"),
        ("dismissed=1", "invalid dismissed: use one of true, false"),
        ("dismissed=TRUE", "invalid dismissed"),
        ("limit=0", "invalid limit: use a whole number from 1 to 1000"),
        ("limit=1001", "invalid limit"),
        ("limit=1000000000", "invalid limit"),
        ("limit=-1", "invalid limit"),
        ("limit=ten", "invalid limit"),
        ("limit=1.5", "invalid limit"),
        ("limit=%D9%A1", "invalid limit"),
        ("limit=" + "9" * 100, "invalid limit"),
        ("skip=-1", "invalid skip: use a whole number from 0 to 1000000"),
        ("skip=1000000000000", "invalid skip"),
        ("skip=1%20OR%201", "invalid skip"),
    ],
)
async def test_a_parameter_that_will_not_do_is_named(gateway: Any, token: str, query: str, message: str) -> None:
    answer = await gateway.ask("GET", f"/api/alerts?{query}", token=token)

    assert answer.status == 400
    assert answer.body["error"].startswith(message)


async def test_the_settings_are_ten_switches_and_the_retention(gateway: Any, token: str) -> None:
    answer = await gateway.ask("GET", "/api/alerts/config", token=token)

    assert answer.body == {"toggles": dict.fromkeys(TYPES, True), "retention_days": 30}


async def test_a_change_of_some_settings_leaves_the_others(gateway: Any, token: str, book: AlertBook, occur: Any) -> None:
    answer = await gateway.ask("PUT", "/api/alerts/config", token=token, json={"toggles": {"prompt_size": False}})
    expected = {"toggles": {**dict.fromkeys(TYPES, True), "prompt_size": False}, "retention_days": 30}
    assert (answer.status, answer.body) == (200, expected)

    answer = await gateway.ask("PUT", "/api/alerts/config", token=token, json={"retention_days": 7})
    assert answer.body == {**expected, "retention_days": 7}
    assert (await gateway.ask("GET", "/api/alerts/config", token=token)).body == answer.body

    await book.record([occur(AlertKind.PROMPT_SIZE), occur(AlertKind.PROMPT_DRIFT)])
    assert [alert["type"] for alert in await alerts(gateway, token)] == ["prompt_drift"]


@pytest.mark.parametrize("alerting_settings", [AlertingSettings(retention_days=90)])
async def test_a_retention_that_the_config_file_defines_is_set_there_alone(gateway: Any, token: str) -> None:
    expected = {"toggles": dict.fromkeys(TYPES, True), "retention_days": 90}
    change = {"toggles": {"prompt_size": False}, "retention_days": 7}

    refused = await gateway.ask("PUT", "/api/alerts/config", token=token, json=change)
    assert refused.status == 409
    assert "90 by alerting.retention_days in the config file" in refused.body["error"]
    assert (await gateway.ask("GET", "/api/alerts/config", token=token)).body == expected

    said_again = await gateway.ask("PUT", "/api/alerts/config", token=token, json=expected)
    assert (said_again.status, said_again.body) == (200, expected)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"toggles": {"nothing": True}}, "toggles.nothing: input should be 'prompt_drift', "),
        ({"toggles": {"prompt_size": "false"}}, "toggles.prompt_size"),
        ({"toggles": {"prompt_size": 0}}, "toggles.prompt_size"),
        ({"toggles": [True]}, "toggles"),
        ({"retention_days": 0}, "retention_days"),
        ({"retention_days": 3651}, "retention_days"),
        ({"retention_days": 1.5}, "retention_days"),
        ({"retention_days": True}, "retention_days"),
        ({"retention": 3}, "unknown key retention"),
    ],
)
async def test_a_setting_that_will_not_do_is_named_and_changes_nothing(gateway: Any, token: str, body: Any, message: str) -> None:
    answer = await gateway.ask("PUT", "/api/alerts/config", token=token, json=body)

    assert answer.status == 400
    assert answer.body["error"].startswith(message)
    assert (await gateway.ask("GET", "/api/alerts/config", token=token)).body["toggles"] == dict.fromkeys(TYPES, True)


RAISED: dict[str, dict[str, Any]] = {
    "prompt_drift": {"kind": AlertKind.PROMPT_DRIFT},
    "prompt_size": {"kind": AlertKind.PROMPT_SIZE},
    "budget_warning": {"kind": AlertKind.BUDGET_WARNING},
    "budget_exceeded": {"kind": AlertKind.BUDGET_EXCEEDED, "severity": Severity.HIGH},
    "onchain_denied": {"kind": AlertKind.ONCHAIN_DENIED, "severity": Severity.HIGH, "taken": Taken.BLOCKED},
    "rate_limit_hit": {"kind": AlertKind.RATE_LIMIT_HIT},
    "anomalous_volume": {"kind": AlertKind.USAGE_SPIKE, "severity": Severity.HIGH},
    "high_severity_denied_action": {"kind": AlertKind.POLICY_VIOLATION, "severity": Severity.HIGH, "taken": Taken.BLOCKED},
}
"""What raises each type that this version raises."""
CRITICAL = {"prompt_drift", "budget_exceeded", "onchain_denied", "high_severity_denied_action"}


@pytest.mark.parametrize("name", RAISED)
async def test_each_type_is_shown_found_and_switched_off_by_its_name(
    gateway: Any, book: AlertBook, token: str, occur: Any, name: str
) -> None:
    await book.record([occur(**RAISED[name])])
    switched = await gateway.ask("PUT", "/api/alerts/config", token=token, json={"toggles": {name: False}})
    gateway.clock.advance(seconds=1)
    await book.record([occur(**one) for one in RAISED.values()])  # of another episode each

    (alert,) = await alerts(gateway, token, f"?type={name}")
    others = {one["type"] for one in await alerts(gateway, token)}

    assert switched.body["toggles"] == {**dict.fromkeys(TYPES, True), name: False}
    assert (alert["id"], alert["severity"]) == ("alert_1", "critical" if name in CRITICAL else "warning")
    assert others == set(RAISED)


async def test_the_retention_that_was_set_is_what_ended_alerts_are_kept_for(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_DRIFT), occur(AlertKind.PROMPT_SIZE)])
    await book.dismiss(1, actor="ann", feed="local")
    await book.expire(gateway.clock.moment)
    await gateway.ask("PUT", "/api/alerts/config", token=token, json={"retention_days": 2})
    gateway.clock.advance(days=2, seconds=1)
    await book.expire(gateway.clock.moment)  # ends the mute of the dismissed one, and the open one

    await book.prune(gateway.clock.moment)

    assert [alert["type"] for alert in await alerts(gateway, token)] == ["prompt_size"]


async def test_pages_meet_without_a_gap(gateway: Any, book: AlertBook, token: str, occur: Any) -> None:
    await book.record([occur(AlertKind.PROMPT_SIZE, episode=(str(number),)) for number in range(7)])

    pages = [await alerts(gateway, token, f"?limit=3&skip={skip}") for skip in (0, 3, 6, 9)]

    assert [[alert["id"] for alert in page] for page in pages] == [
        ["alert_7", "alert_6", "alert_5"],
        ["alert_4", "alert_3", "alert_2"],
        ["alert_1"],
        [],
    ]
