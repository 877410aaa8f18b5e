"""What a provider refuses for its own rate limit is one alert a model and key, until it answers again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerting.detectors import upstream_limit
from alerting.finding import AlertKind


def refused(world: Any, call: Any, *, wait: float | None = None, **facts: Any) -> None:
    reply = world.reply(status=429)
    if wait is not None:
        reply = replace(reply, retry_after=timedelta(seconds=wait))
    world.gate.settle(call, reply, facts.get("facts"))


async def admitted(world: Any, call: Any) -> Any:
    assert not (await world.gate.admit(call)).blocked
    return call


async def test_a_refusal_of_the_provider_is_an_alert_with_its_wait(worlds: Any, a_call: Any) -> None:
    world = worlds()

    refused(world, await admitted(world, a_call(caller={"key_id": "abc"})), wait=20.5)

    [alert] = await world.alerts(AlertKind.RATE_LIMIT_HIT)
    assert alert.message == "openai refused a call to gpt-4o with 429; it asks to wait 20.5 s."
    assert (alert.action, alert.severity) == ("alerted", "medium")
    assert (alert.evidence[0]["by"], alert.evidence[0]["provider"], alert.evidence[0]["retry_after_seconds"]) == (
        "provider",
        "openai",
        20.5,
    )


async def test_one_alert_for_each_provider_model_and_key(worlds: Any, a_call: Any) -> None:
    world = worlds()
    for model, key in (("gpt-4o", "a"), ("gpt-4o", "a"), ("gpt-4o", "b"), ("o3", "a"), ("gpt-4o", "a")):
        refused(world, await admitted(world, a_call(model=model, caller={"key_id": key})))

    alerts = await world.alerts(AlertKind.RATE_LIMIT_HIT)

    assert sorted(alert.occurrence_count for alert in alerts) == [1, 1, 3]
    assert "it did not say when to try again" in alerts[0].message


@pytest.mark.parametrize(("wait", "early", "late"), [(None, 59, 1), (5, 59, 1), (300, 299, 1)])
async def test_the_alert_ends_when_the_provider_answers_after_the_wait(
    worlds: Any, a_call: Any, clock: Any, wait: float | None, early: int, late: int
) -> None:
    world = worlds()
    refused(world, await admitted(world, a_call()), wait=wait)
    clock.pass_by(seconds=early)
    world.answer(await admitted(world, a_call()))
    [alert] = await world.alerts(AlertKind.RATE_LIMIT_HIT)
    assert alert.resolved_at is None

    clock.pass_by(seconds=late)
    world.answer(await admitted(world, a_call(model="o3")))
    world.answer(await admitted(world, a_call(caller={"key_id": "another"})))
    [alert] = await world.alerts(AlertKind.RATE_LIMIT_HIT)
    assert alert.resolved_at is None
    world.answer(await admitted(world, a_call()))

    [alert] = await world.alerts(AlertKind.RATE_LIMIT_HIT)
    assert (alert.resolution, alert.resolved_at) == ("condition_cleared", clock())


async def test_an_alert_of_an_earlier_run_ends_with_the_first_good_answer(worlds: Any, a_call: Any) -> None:
    earlier = worlds()
    refused(earlier, await admitted(earlier, a_call()))
    await earlier.settled()
    world = worlds()

    world.answer(await admitted(world, a_call()), status=500)
    [alert] = await world.alerts(AlertKind.RATE_LIMIT_HIT)
    assert alert.resolved_at is None
    world.answer(await admitted(world, a_call()))

    [alert] = await world.alerts(AlertKind.RATE_LIMIT_HIT)
    assert alert.resolution == "condition_cleared"


async def test_a_new_refusal_after_the_end_opens_another_alert(worlds: Any, a_call: Any, clock: Any) -> None:
    world = worlds()
    for _ in range(2):
        refused(world, await admitted(world, a_call()))
        clock.pass_by(minutes=2)
        world.answer(await admitted(world, a_call()))

    assert len(await world.alerts(AlertKind.RATE_LIMIT_HIT)) == 2


async def test_what_is_remembered_has_a_bound(worlds: Any, a_call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_limit, "_MOST_KEPT", 3)
    world = worlds()
    for number in range(8):
        refused(world, await admitted(world, a_call(model=f"m-{number}")))

    assert len(await world.alerts(AlertKind.RATE_LIMIT_HIT)) == 8
    assert len(world.gate._watch._upstream_limits._until) <= 3  # noqa: SLF001 - what is kept in memory shows nowhere else
