"""Four reasons to refuse a call: enforce sends nothing to the provider; monitor sends all, and its alerts say what would have been."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.asking import ask, chat
from tests.support.client import Response
from tests.support.gateway import Gateway, poll
from tests.support.provider import Provider

CONFIG: dict[str, Any] = {
    "budgets": [{"name": "tiny", "scope": {"model": "gpt-4.1-nano"}, "limit": "0.000001 USD"}],
    "rules": [{"id": "SEC-003", "title": "No dear models", "match": {"model": "gpt-4-turbo"}, "action": "block", "severity": "high"}],
    "detectors": {
        "prompt_size": {"max_tokens": 500, "action": "block"},
        "rate_limits": [{"name": "one", "scope": {"model": "gpt-4.1-mini"}, "per": "hour", "requests": 1}],
    },
}
LONG = "many words and then some more of them " * 100
CASES = {
    "policy": (chat("gpt-4-turbo"), 403, "policy_violation", "SEC-003"),
    "prompt_size": (chat("gpt-4o-mini", text=LONG), 403, "prompt_size", "500"),
    "budget": (chat("gpt-4.1-nano", max_tokens=100), 402, "budget_exceeded", "tiny"),
    "rate_limit": (chat("gpt-4.1-mini"), 429, "rate_limit_hit", "1"),
}


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("monitor"), provider, config={**CONFIG, "mode": "monitor"}) as gateway:
        yield gateway


async def judged(gateway: Gateway, case: str, *, door: str) -> Response:
    """Make the call that is to be refused, after the one that uses up its rate limit where that is the case."""
    if case == "rate_limit":
        await ask(gateway, CASES[case][0], door=door)
    return await ask(gateway, CASES[case][0], door=door)


@pytest.mark.parametrize("door", ["forward", "base_url"])
@pytest.mark.parametrize("case", CASES)
async def test_in_enforce_mode_nothing_reaches_the_provider(gateway: Gateway, provider: Provider, case: str, door: str) -> None:
    _, status, kind, named = CASES[case]
    already = len(gateway.rows("SELECT id FROM calls WHERE request_model = 'gpt-4.1-mini'"))

    answer = await judged(gateway, case, door=door)

    assert len(provider.seen) == (1 if case == "rate_limit" and not already else 0)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert named in json.loads(answer.body)["error"]["message"]
    assert ("retry-after" in answer.headers) == (case == "rate_limit")
    assert answer.headers.get("x-should-retry") == (None if case == "rate_limit" else "false")
    (row,) = [row for row in gateway.calls() if row["id"] == answer.call_id]
    assert (row["state"], row["ending"], row["verdict"], row["status"]) == ("refused", "refused", "block", status)
    assert row["cost_nano"] in {0, None}
    (alert,) = gateway.rows("SELECT * FROM alerts WHERE kind = ?", [kind])
    assert alert["action"] == ("throttled" if case == "rate_limit" else "blocked")


@pytest.mark.parametrize("case", CASES)
async def test_in_monitor_mode_all_reach_the_provider_and_the_alert_says_what_would_have_been(
    monitor: Gateway, provider: Provider, case: str
) -> None:
    _, status, kind, named = CASES[case]

    answer = await judged(monitor, case, door="base_url")

    assert answer.status == 200
    assert len(provider.seen) == (2 if case == "rate_limit" else 1)
    (alert,) = poll(lambda: monitor.rows("SELECT * FROM alerts WHERE kind = ?", [kind]), what=f"the alert {kind}")
    assert alert["action"] == "observed"
    assert named in alert["message"]
    assert "monitor" in (alert["message"] + alert["metadata"] + alert["evidence"]).lower() or "would" in alert["message"]
    assert status


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
async def test_the_api_shows_the_alerts_of_the_refusals(gateway: Gateway, monitor: Gateway, mode: str) -> None:
    one = gateway if mode == "enforce" else monitor
    expected = {"prompt_size", "budget_exceeded", "rate_limit_hit"} | ({"high_severity_denied_action"} if mode == "enforce" else set())
    for case in CASES:
        await judged(one, case, door="base_url")

    poll(lambda: {alert["type"] for alert in one.alerts()} >= expected, what=f"the alerts {expected}")
