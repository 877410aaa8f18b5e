"""Usage alerts are kept, changed and forgotten; those of the config file belong to the file."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from alerting import usage_alerts
from alerting.toggles import DefinedInConfigError
from alerting.usage_alert import ID, KIND_OF, file_id, new_id
from alerting.usage_alerts import TooManyError
from alerting.usage_settings import MisfitError, UsageAlertSettings, UsageType


def _settings(**changes: Any) -> UsageAlertSettings:
    return UsageAlertSettings.model_validate({"name": "Daily Cost", "type": "cost_threshold", "threshold": 50, **changes})


def test_ids_are_never_those_of_the_local_feed() -> None:
    made = [new_id() for _ in range(200)] + [file_id(f"alert {number}") for number in range(200)]

    assert len(set(made)) == 400
    assert all(ID.fullmatch(one) and len(one) == 18 for one in made)
    assert file_id("alert 1") == file_id("alert 1")
    assert not ID.fullmatch("alert_234567234567")


def test_what_is_not_said_has_its_default() -> None:
    settings = _settings()

    assert (settings.period, settings.notification_channels, settings.enabled, settings.budget) == ("day", ("dashboard",), True, None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"threshold": None}, "threshold: cost_threshold needs a threshold, a number of US dollars"),
        ({"type": "model_latency", "threshold": None}, "a number of milliseconds"),
        ({"type": "error_rate", "threshold": 101}, "threshold: a threshold of error_rate is per cent, from 0 to 100"),
        ({"type": "quota_limit", "threshold": 100.5}, "from 0 to 100"),
        ({"threshold": -1}, "greater than or equal to 0"),
        ({"threshold": float("inf")}, "less than or equal to 1000000000000"),
        ({"threshold": float("nan")}, "greater than or equal to 0"),
        ({"budget": "daily"}, "budget: only quota_limit looks at a budget"),
        ({"notification_channels": ["email", "email"]}, "a channel stands twice"),
        ({"notification_channels": ["pager"]}, "'email' or 'dashboard'"),
        ({"name": ""}, "at least 1 character"),
        ({"period": "year"}, "'hour', 'day', 'week' or 'month'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _settings(**changes)


async def test_what_is_made_is_there_after_a_restart_with_its_numbers_as_written(desk: Any) -> None:
    made = [
        await desk.alerts.create(_settings(threshold=50.0), actor="ada"),
        await desk.alerts.create(_settings(threshold=5, type="error_rate", notification_channels=[]), actor="ada"),
        await desk.alerts.create(_settings(threshold=None, type="unusual_activity"), actor="ada"),
        await desk.alerts.create(_settings(threshold=80, type="quota_limit", budget="daily"), actor="ada"),
    ]
    desk.start()
    await desk.alerts.load()

    assert sorted(desk.alerts.all, key=lambda one: one.id) == sorted(made, key=lambda one: one.id)
    assert type(desk.alerts.get(made[0].id).settings.threshold) is float
    assert type(desk.alerts.get(made[1].id).settings.threshold) is int


async def test_every_change_is_told_in_the_audit_trail(desk: Any) -> None:
    told: list[str] = []
    desk.alerts.on_change = lambda: told.append("changed")
    made = await desk.alerts.create(_settings(), actor="ada")
    desk.clock.time += timedelta(minutes=5)
    changed = await desk.alerts.update(made.id, {"name": "Other", "threshold": 75}, actor="bob")
    renamed = await desk.alerts.update(made.id, {"name": "Again"}, actor="bob")
    assert await desk.alerts.delete(made.id, actor="eve")
    assert not await desk.alerts.delete(made.id, actor="eve")
    assert await desk.alerts.update(made.id, {}, actor="eve") is None

    rows = await desk.database.read("SELECT actor, action, subject, detail FROM audit ORDER BY seq")
    assert [row[:3] for row in rows] == [
        ("ada", "usage_alert.created", made.id),
        ("bob", "usage_alert.changed", made.id),
        ("bob", "usage_alert.changed", made.id),
        ("eve", "usage_alert.deleted", made.id),
    ]
    assert json.loads(rows[1][3])["threshold"] == 75
    assert changed.armed_at == changed.updated_at == made.armed_at + timedelta(minutes=5)
    assert (renamed.created_at, renamed.armed_at) == (made.created_at, changed.armed_at)
    assert len(told) == 4


async def test_two_who_change_one_at_once_both_have_their_way(desk: Any) -> None:
    made = await desk.alerts.create(_settings(), actor="ada")

    await asyncio.gather(
        desk.alerts.update(made.id, {"threshold": 75}, actor="ada"), desk.alerts.update(made.id, {"period": "hour"}, actor="bob")
    )
    with pytest.raises(MisfitError, match="from 0 to 100"):
        await desk.alerts.update(made.id, {"type": "error_rate", "threshold": 101}, actor="eve")

    assert (desk.alerts.get(made.id).settings.threshold, desk.alerts.get(made.id).settings.period) == (75, "hour")


async def test_the_file_owns_what_it_defines(desk: Any) -> None:
    desk.start(_settings(), _settings(name="Errors", type="error_rate", threshold=5))
    await desk.alerts.load()
    kept = {one.name: one for one in desk.alerts.all}
    with pytest.raises(DefinedInConfigError, match="'Daily Cost' is defined in the config file, in its `usage_alerts` section"):
        await desk.alerts.update(kept["Daily Cost"].id, {"threshold": 1}, actor="ada")
    with pytest.raises(DefinedInConfigError):
        await desk.alerts.delete(kept["Errors"].id, actor="ada")

    desk.clock.time += timedelta(hours=1)
    await desk.alerts.follow([_settings(notification_channels=["email"])])

    (left,) = desk.alerts.all
    assert (left.id, left.created_at, left.armed_at) == (kept["Daily Cost"].id, kept["Daily Cost"].created_at, kept["Daily Cost"].armed_at)
    assert left.channels == ("email",)
    await desk.alerts.follow([_settings(threshold=60)])
    assert desk.alerts.all[0].armed_at == desk.clock()


async def test_a_deleted_one_leaves_its_history(desk: Any) -> None:
    made = await desk.alert("cost_threshold", 1)
    await desk.call(usd=5)
    await desk.look()

    await desk.alerts.delete(made.id, actor="ada")

    assert [one.value for one in await desk.alerts.triggers(made.id)] == [5.0]
    assert [one.kind.value for one in await desk.book.list()] == ["usage_cost"]


async def test_ten_triggers_are_shown(desk: Any) -> None:
    made = await desk.alert("cost_threshold", 0.5, "hour")
    for number in range(12):
        await desk.call(usd=number + 1)
        await desk.look(hours=1)

    assert [one.value for one in await desk.alerts.triggers(made.id)] == [float(number) for number in range(12, 2, -1)]
    assert (await desk.alerts.triggered())[made.id].count == 12


async def test_there_is_room_for_so_many(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_alerts, "MOST_ALERTS", 1)
    await desk.alerts.create(_settings(), actor="ada")

    with pytest.raises(TooManyError, match="there are 1 usage alerts already"):
        await desk.alerts.create(_settings(), actor="ada")


def test_each_type_has_a_kind_of_its_own() -> None:

    assert set(KIND_OF) == set(UsageType)
    assert len(set(KIND_OF.values())) == len(UsageType)
