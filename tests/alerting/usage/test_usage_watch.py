"""Each type of usage alert fires beyond its threshold, once in a bucket, soon after the calls, and only while it counts."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting.finding import AlertKind, Severity
from alerting.settings import AlertingSettings
from alerting.usage_measures import Measurement
from alerting.usage_watch import Firing
from metering.call import Ending, Endpoint

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)


async def test_a_cost_alert_fires_when_more_is_spent_than_its_threshold_and_not_at_it(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 50.0)
    await desk.call(usd=49.9)
    await desk.call(usd=0.1)
    at_it = await desk.look()
    await desk.call(usd=2.35)

    fired = await desk.look()

    assert at_it == []
    assert [(one.alert.id, one.measured.value) for one in fired] == [(alert.id, 52.35)]
    (raised,) = await desk.book.list(kinds=[AlertKind.USAGE_COST])
    assert raised.message == "my cost_threshold, 2026-03-11 (UTC): $52.35 spent, more than $50"
    assert (raised.severity, raised.local_type, raised.subject.usage_alert_id) == (Severity.HIGH, "budget_exceeded", alert.id)
    assert raised.evidence[0]["threshold"] == 50.0


async def test_it_fires_once_in_a_bucket_and_again_in_the_next(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 1)
    await desk.call(usd=2)
    fired = [len(await desk.look()), len(await desk.look())]
    await desk.call(usd=2)
    fired.append(len(await desk.look()))
    desk.clock.time += DAY
    fired.append(len(await desk.look()))
    await desk.call(usd=1.5)
    fired.append(len(await desk.look()))

    triggers = await desk.alerts.triggers(alert.id)

    assert fired == [1, 0, 0, 0, 1]
    assert [one.value for one in triggers] == [1.5, 2.0]
    assert (await desk.alerts.triggered())[alert.id].count == 2
    assert len(await desk.book.list(kinds=[AlertKind.USAGE_COST])) == 2


async def test_calls_of_unknown_cost_are_told_of_and_not_counted(desk: Any) -> None:
    await desk.alert("cost_threshold", 1)
    await desk.call(usd=None, hold=3_000_000_000)
    quiet = await desk.look()
    await desk.call(usd=1.01)

    (fired,) = await desk.look()

    assert quiet == []
    assert fired.measured.told == "$1.01 spent, more than $1; not in it: 1 call of unknown cost (at most $3.00)"
    assert fired.measured.evidence["unknown_calls"] == 1


async def test_errors_count_from_twenty_calls_on(desk: Any) -> None:
    await desk.alert("error_rate", 10, "hour")
    await desk.call(number=17)
    await desk.call(status=500)
    await desk.call(status=None, ending=Ending.UPSTREAM_UNREACHABLE)
    early = await desk.look()
    await desk.call()
    at_it = await desk.look()
    await desk.call(status=429)

    (fired,) = await desk.look()

    assert (early, at_it) == ([], [])
    assert fired.measured.told == "3 of 21 calls failed (14.29 %), more than 10 %"


async def test_what_the_gateway_refuses_is_neither_a_call_nor_an_error(desk: Any) -> None:
    await desk.alert("error_rate", 10)
    await desk.alert("usage_spike", 10)
    await desk.call(number=20)
    for _ in range(10):
        call = await desk.begin()
        await desk.end(call, ending=Ending.CLIENT_ABORT, status=None)
    call = await desk.begin()
    for number in range(10, 40):
        await desk.ledger.refuse(replace(call, id=f"{call.id[:-3]}x{number}"), rule_id="R", status=403)

    assert await desk.look() == []


async def test_latency_is_the_mean_of_whole_good_answers(desk: Any) -> None:
    await desk.alert("model_latency", 2000, "hour")
    await desk.call(number=4, took=timedelta(seconds=9))
    await desk.call(number=3, status=500, took=timedelta(seconds=9))
    await desk.call(ending=Ending.CUT, took=timedelta(seconds=9))
    few = await desk.look()
    await desk.call(took=timedelta(seconds=1))

    (fired,) = await desk.look()

    assert few == []
    assert (fired.measured.value, fired.measured.evidence["timed_calls"]) == (7400.0, 5)
    assert (await desk.book.list(kinds=[AlertKind.USAGE_LATENCY]))[0].local_type is None


async def test_a_spike_is_held_against_the_mean_of_seven_buckets_of_which_three_had_calls(desk: Any) -> None:
    await desk.alert("usage_spike", 100)
    now = desk.clock()
    await desk.call(number=6, at=now - 7 * DAY)
    await desk.call(number=8, at=now - 3 * DAY)
    await desk.call(number=9)
    two = await desk.look()
    await desk.call(number=14, at=now - DAY)
    at_it = await desk.look()

    await desk.call()
    beyond = await desk.look()  # 10 calls; the mean is 28 / 7
    await desk.call(number=1, at=now - 8 * DAY)

    assert (two, len(at_it)) == ([], 1)
    assert beyond == []
    assert at_it[0].measured.value == 125.0
    assert at_it[0].measured.evidence == {"calls": 9, "baseline": 4.0, "baseline_buckets": 7}


async def test_days_before_the_first_call_ever_are_no_days_without_calls(desk: Any) -> None:
    await desk.alert("usage_spike", 50)
    for days in (1, 2, 3):
        await desk.call(number=4, at=desk.clock() - days * DAY)
    await desk.call(number=6)
    at_it = await desk.look()
    await desk.call()

    (fired,) = await desk.look()

    assert at_it == []
    assert fired.measured.evidence["baseline_buckets"] == 3


async def test_a_spike_is_looked_for_in_rolled_up_hours(desk: Any) -> None:
    await desk.alert("usage_spike", 50, "week")
    for weeks in (1, 2, 3):
        await desk.call(number=2, at=desk.clock() - weeks * WEEK)
    await desk.roll_up()
    await desk.call(number=4)

    (fired,) = await desk.look()

    assert fired.measured.value == 100.0


async def test_unusual_activity_is_an_hour_far_from_the_same_hour_of_other_weeks(desk: Any) -> None:
    await desk.alert("unusual_activity", None, "day")
    for weeks, calls in ((1, 4), (2, 5), (3, 6)):
        await desk.call(number=calls, at=desk.clock() - weeks * WEEK)
    await desk.call(number=9)
    three_weeks = await desk.look()
    await desk.call(number=5, at=desk.clock() - 4 * WEEK)
    await desk.roll_up()

    fired = await desk.look()
    await desk.call(number=50)
    again = await desk.look()

    assert three_weeks == []
    assert [one.measured.evidence["measure"] for one in fired] == ["calls"]
    assert fired[0].measured.value == pytest.approx((9 - 5) / (1.4826 * 0.5), abs=1e-5)
    assert again == []


async def test_going_to_many_endpoints_is_unusual_as_well(desk: Any) -> None:
    await desk.alert("unusual_activity", None, "hour")
    for weeks in (1, 2, 3, 4):
        await desk.call(number=6, at=desk.clock() - weeks * WEEK)
    await desk.roll_up()
    for host in ("a", "b", "c"):
        for endpoint in (Endpoint.CHAT, Endpoint.IMAGES):
            await desk.call(request={"host": f"{host}.example.com", "endpoint": endpoint})

    (fired,) = await desk.look()

    assert fired.measured.told == (
        "endpoints of the hour from 2026-03-11 12:00 is 6; on a Wednesday 12:00 it is usually 1 (4 weeks; robust z-score 5.0, at least 3.5)"
    )


@pytest.mark.parametrize(
    ("spent", "severity", "local"), [(8.0, Severity.MEDIUM, "budget_warning"), (10.5, Severity.HIGH, "budget_exceeded")]
)
async def test_a_quota_alert_looks_at_the_budget_of_the_organisation(
    spent: float, severity: Severity, local: str, desk: Any, budgets_of: Any
) -> None:
    desk.budget(
        *budgets_of(
            {"name": "research", "scope": {"department": "research"}, "limit": "1 USD"},
            {"name": "month", "limit": "1000 USD", "period": "month"},
            {"name": "day", "limit": "10 USD"},
        )
    )
    await desk.alert("quota_limit", 80)
    await desk.call(usd=0.5, hold=1)
    below = await desk.look()
    await desk.call(usd=spent - 0.5, hold=1)

    (fired,) = await desk.look()

    assert below == []
    assert fired.measured.budget_id == "day"
    (raised,) = await desk.book.list(kinds=[AlertKind.USAGE_QUOTA])
    assert (raised.severity, raised.local_type, raised.subject.budget_id) == (severity, local, "day")


async def test_a_quota_alert_may_name_its_budget_and_one_without_any_stays_quiet(desk: Any, budgets_of: Any) -> None:
    await desk.alert("quota_limit", 1, budget="tokens")
    await desk.alert("quota_limit", 1, budget="gone")
    await desk.alert("quota_limit", 1)
    await desk.call(usd=1)
    none = await desk.look()
    desk.budget(*budgets_of({"name": "tokens", "scope": {"user": "ada"}, "limit": "100 tokens"}))

    await desk.end(await desk.begin(hold=50), usd=None, status=None, ending=Ending.UPSTREAM_RESET)
    fired = await desk.look()

    assert none == []
    assert [one.measured.budget_id for one in fired] == ["tokens"]
    assert fired[0].measured.told.startswith("50 tokens of 100 tokens of the budget tokens are spent (50 %)")


async def test_a_budget_whose_calendar_changed_counts_by_the_new_one(desk: Any, budgets_of: Any) -> None:
    desk.budget(*budgets_of({"name": "all", "limit": "10 USD"}))
    await desk.alert("quota_limit", 80)
    await desk.call(usd=9, hold=1)
    desk.budget(*budgets_of({"name": "all", "limit": "10 USD", "period": "month"}))

    assert await desk.look() == []


async def test_a_monthly_budget_counts_in_the_day_it_is_looked_at_and_not_in_the_day_before(desk: Any, budgets_of: Any) -> None:
    desk.budget(*budgets_of({"name": "month", "limit": "10 USD", "period": "month"}))
    alert = await desk.alert("quota_limit", 80)
    await desk.look()
    desk.clock.time = datetime(2026, 3, 12, 0, 5, tzinfo=UTC)
    await desk.call(usd=9, hold=1)

    fired = await desk.look()

    assert [(one.alert.id, one.bucket.starts_at.day) for one in fired] == [(alert.id, 12)]


async def test_a_call_that_settles_in_a_later_bucket_still_fires_in_its_own(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 1, "hour")
    late = await desk.begin()
    await desk.look()
    await desk.look(hours=2)
    await desk.roll_up()

    await desk.end(late, usd=5, took=2 * HOUR)
    (fired,) = await desk.look(hours=30)

    assert (fired.alert.id, fired.bucket.starts_at) == (alert.id, datetime(2026, 3, 11, 12, tzinfo=UTC))
    assert (await desk.book.list(kinds=[AlertKind.USAGE_COST]))[0].resolved_at is None
    await desk.book.expire(desk.clock() + timedelta(hours=23))
    assert (await desk.book.list(dismissed=False)) != []


async def test_nothing_fires_for_buckets_that_were_over_before_the_alert_was_made(desk: Any) -> None:
    other = await desk.alert("cost_threshold", 1_000_000, "hour")
    await desk.call(usd=5)
    late = await desk.begin()
    desk.clock.time += 2 * HOUR
    await desk.call(usd=5)
    await desk.alert("cost_threshold", 1, "hour")
    await desk.alert("unusual_activity")
    await desk.end(late, usd=5)

    fired = await desk.look()

    assert other.id not in {one.alert.id for one in fired}
    assert [one.bucket.starts_at.hour for one in fired] == [14]


async def test_one_that_is_switched_on_again_looks_at_nothing_that_was_over(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 1, "hour", enabled=False)
    await desk.call(usd=5)
    off = await desk.look()
    desk.clock.time += HOUR
    await desk.alerts.update(alert.id, {"enabled": True}, actor="test")
    switched_on = await desk.look()
    await desk.call(usd=5)

    (fired,) = await desk.look()

    assert (off, switched_on) == ([], [])
    assert fired.bucket.starts_at.hour == 13


async def test_a_restart_fires_nothing_twice_and_misses_nothing(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 1, "hour")
    await desk.call(usd=5)
    before = await desk.look()
    desk.clock.time += timedelta(minutes=58)
    await desk.call(usd=0.1)
    await desk.look()
    desk.clock.time += HOUR
    await desk.call(usd=3)
    desk.clock.time += timedelta(minutes=10)

    desk.start()
    await desk.alerts.load()
    fired = await desk.look()

    assert [one.bucket.starts_at.hour for one in before] == [12]
    assert [(one.alert.id, one.bucket.starts_at.hour) for one in fired] == [(alert.id, 13)]


async def test_what_was_open_when_the_gateway_died_is_looked_at_when_it_is_back(desk: Any) -> None:
    await desk.alert("error_rate", 1, "hour")
    await desk.call(number=19)
    await desk.begin()
    await desk.look()
    await desk.look(hours=3)
    desk.start()
    await desk.alerts.load()
    late = await desk.begin(at=desk.clock() - timedelta(hours=3))
    await desk.end(late, status=500)
    await desk.ledger.recover()

    (fired,) = await desk.look()

    assert fired.measured.evidence["calls"] == 21


async def test_a_type_that_is_switched_off_in_the_local_feed_leaves_no_trigger(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 1)
    await desk.book.set_toggles(changes={"budget_exceeded": False}, actor="test")
    await desk.call(usd=5)
    off = await desk.look()
    triggers = await desk.alerts.triggers(alert.id)
    await desk.book.set_toggles(changes={"budget_exceeded": True}, actor="test")

    assert (off, triggers) == ([], [])
    assert len(await desk.look()) == 1


async def test_a_trigger_is_acknowledged_as_its_alert_is_and_outlives_it(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 1)
    await desk.call(usd=5)
    await desk.look()
    (raised,) = await desk.book.list(kinds=[AlertKind.USAGE_COST])
    seen = [one.acknowledged for one in await desk.alerts.triggers(alert.id)]
    await desk.book.acknowledge(raised.seq, actor="ada", feed="org")
    seen += [one.acknowledged for one in await desk.alerts.triggers(alert.id)]
    await desk.book.expire(desk.clock() + timedelta(days=40))
    seen += [one.acknowledged for one in await desk.alerts.triggers(alert.id)]

    assert seen == [False, True, True]


async def test_a_trigger_follows_its_own_alert_where_findings_are_not_merged(tmp_path: Any, desk_of: Any) -> None:
    async with desk_of(tmp_path, alerting=AlertingSettings(dedup="none")) as desk:
        alert = await desk.alert("cost_threshold", 1)
        await desk.call(usd=5)
        await desk.look()
        (raised,) = await desk.book.list(kinds=[AlertKind.USAGE_COST])
        await desk.book.dismiss(raised.seq, actor="ada", feed="local")

        assert [one.acknowledged for one in await desk.alerts.triggers(alert.id)] == [True]
        assert await desk.look() == []


async def test_the_worker_looks_soon_after_a_call_and_when_an_alert_is_made(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.usage_watch._PAUSE_SECONDS", 0.01)
    fired: asyncio.Queue[Any] = asyncio.Queue()
    evaluate = desk.watch.evaluate

    async def evaluating() -> Any:
        for one in await evaluate():
            fired.put_nowait(one)

    desk.watch.evaluate = evaluating
    desk.alerts.on_change = desk.watch.wake
    await desk.call(usd=5)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        worker = group.create_task(desk.watch.run())
        first = await desk.alert("cost_threshold", 1)
        made = await fired.get()
        await desk.alert("cost_threshold", 10)
        await desk.call(usd=6)
        later = await fired.get()
        worker.cancel()

    assert made.alert.id == first.id
    assert later.measured.value == 11.0


async def test_a_look_that_failed_is_made_up_for(desk: Any) -> None:
    await desk.alert("cost_threshold", 1, "hour")
    late = await desk.begin()
    await desk.look()
    desk.clock.time += 2 * HOUR
    await desk.end(late, usd=5)
    await desk.look(hours=2)
    another = await desk.begin(at=desk.clock() - timedelta(hours=3))
    await desk.end(another, usd=5)
    await desk.alert("quota_limit", 99)
    desk.budget(None)  # what tells the budgets fails once
    with pytest.raises(AttributeError):
        await desk.look()
    desk.budget()

    (fired,) = await desk.look()

    assert fired.bucket.starts_at.hour == 13


async def test_of_two_who_fire_the_same_one_does_and_one_that_is_switched_off_leaves_nothing(desk: Any) -> None:
    alert = await desk.alert("cost_threshold", 1)
    firing = Firing(alert=alert, bucket=alert.bucket(desk.clock()), measured=Measurement(value=2.0, beyond=True, told="much", evidence={}))
    fired = [await desk.watch.fire(firing, desk.clock()), await desk.watch.fire(firing, desk.clock())]
    await desk.book.set_toggles(changes={"budget_exceeded": False}, actor="test")
    desk.clock.time += DAY
    tomorrow = replace(firing, bucket=alert.bucket(desk.clock()))

    fired.append(await desk.watch.fire(tomorrow, desk.clock()))

    assert fired == [True, False, False]
    assert [one.value for one in await desk.alerts.triggers(alert.id)] == [2.0]
    assert len(await desk.book.list()) == 1
