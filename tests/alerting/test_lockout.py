"""Locks: put on by command or by repeated critical violations, kept over restarts, lifted by a person; and the last day."""

from datetime import date, timedelta
from typing import Any

import pytest

from alerting.finding import AlertKind, Refusal, Severity, Subject, Taken
from alerting.lockout import Lockouts, Who, read, who_is
from alerting.people import People
from alerting.settings import LastDaySettings, LockoutSettings
from metering.call import Caller
from metering.providers.catalog import PROBE_HOST
from metering.settings import UserSettings
from storage.database import StoreError
from tests.alerting.conftest import NOON

ADA = Who("user", "ada")
CRITICAL = {"id": "R1", "title": "Never", "match": {"model": "gpt-4*"}, "action": "block", "severity": "critical"}


@pytest.fixture
def house(worlds: Any) -> Any:
    """Return a maker of a gate that asks for people, and of its lockouts."""

    def make(
        *, mode: str = "enforce", rule: dict[str, Any] | None = None, lockouts: Lockouts | None = None, **people: Any
    ) -> tuple[Any, Lockouts]:
        world = worlds(mode=mode, rules=[rule] if rule else [])
        lockouts = lockouts or Lockouts(world.database, world.book, now=world.clock)
        world.gate._people = People(lockouts, **people)  # noqa: SLF001  # the world is built without
        return world, lockouts

    return make


async def test_a_locked_user_is_refused_until_released_and_the_alert_ends_with_it(house: Any, a_call: Any) -> None:
    world, lockouts = house()
    await lockouts.lock(ADA, actor="cli:root", reason="laptop stolen")

    refused = await world.gate.admit(a_call(caller={"user": "ada", "key_id": "k"}))
    other = await world.gate.admit(a_call(caller={"user": "bob", "key_id": "k"}))
    (alert,) = await world.alerts(AlertKind.USER_LOCKED_OUT)

    assert (refused.refusal, other.blocked) == (Refusal.LOCKED_OUT, False)
    assert "tollwatch users unlock ada" in refused.message
    assert "laptop stolen" in refused.message
    assert (alert.severity, alert.occurrence_count, alert.action, alert.resolved_at) == ("critical", 2, "blocked", None)
    assert alert.subject.user == "ada"

    assert await lockouts.unlock(ADA, actor="cli:root")

    (alert,) = await world.alerts(AlertKind.USER_LOCKED_OUT)
    assert alert.resolution == "condition_cleared"
    assert not (await world.gate.admit(a_call(caller={"user": "ada"}))).blocked
    assert not await lockouts.unlock(ADA, actor="cli:root")
    audit = await world.database.read("SELECT actor, action, subject, detail FROM audit ORDER BY seq")
    assert audit == [("cli:root", "user.locked", "user ada", "laptop stolen"), ("cli:root", "user.unlocked", "user ada", "")]


async def test_a_caller_without_a_name_is_its_key_and_a_locked_key_refuses_all_who_come_with_it(house: Any, a_call: Any) -> None:
    world, lockouts = house()
    key = Who("key_id", "0123456789abcdef")
    await lockouts.lock(key, actor="cli:root", reason="leaked")

    for caller in ({"key_id": key.name}, {"key_id": key.name, "user": "bob"}):
        assert (await world.gate.admit(a_call(caller=caller))).refusal is Refusal.LOCKED_OUT
    for caller in ({}, {"user": key.name}, {"key_id": "other"}):
        assert not (await world.gate.admit(a_call(caller=caller))).blocked
    (alert,) = await world.alerts(AlertKind.USER_LOCKED_OUT)
    assert (alert.subject.key_id, alert.occurrence_count) == (key.name, 3)


async def test_locking_again_changes_nothing_and_a_released_one_can_be_locked_again(house: Any, clock: Any) -> None:
    world, lockouts = house()
    first = await lockouts.lock(ADA, actor="a", reason="one")
    clock.pass_by(hours=1)

    assert await lockouts.lock(ADA, actor="b", reason="two") == first

    await lockouts.unlock(ADA, actor="b")
    await lockouts.lock(ADA, actor="c", reason="three")
    assert [(lock.who, lock.locked_by, lock.reason) for lock in await read(world.database)] == [(ADA, "c", "three")]


async def test_the_last_of_repeated_critical_violations_locks_out_at_once(house: Any, a_call: Any) -> None:
    world, lockouts = house(rule=CRITICAL, lockout=LockoutSettings(after=3))
    harmless = {"model": "o3", "caller": {"user": "ada"}}

    for _ in range(3):
        assert not (await world.gate.admit(a_call(**harmless))).blocked
        assert (await world.gate.admit(a_call(caller={"user": "ada"}))).refusal is Refusal.POLICY

    refused = await world.gate.admit(a_call(**harmless))
    assert (refused.refusal, lockouts.of(Caller(user="bob"))) == (Refusal.LOCKED_OUT, None)
    assert "3 critical violations within 10m" in refused.message
    assert [lock.who for lock in await read(world.database)] == [ADA]
    (alert,) = await world.alerts(AlertKind.USER_LOCKED_OUT)
    assert alert.occurrence_count == 2


async def test_violations_outside_the_window_do_not_count(house: Any, a_call: Any, clock: Any) -> None:
    world, lockouts = house(rule=CRITICAL, lockout=LockoutSettings(after=2, within=timedelta(minutes=10)))

    for _ in range(4):
        await world.gate.admit(a_call(caller={"user": "ada"}))
        clock.pass_by(minutes=10)

    assert lockouts.of(Caller(user="ada")) is None
    await world.gate.admit(a_call(caller={"user": "ada"}))
    clock.pass_by(minutes=9)
    await world.gate.admit(a_call(caller={"user": "ada"}))
    assert lockouts.of(Caller(user="ada")) is not None


@pytest.mark.parametrize(
    ("rule", "caller", "after"),
    [
        ({"severity": "high"}, {"user": "ada"}, 1),
        ({"action": "alert"}, {"user": "ada"}, 1),
        ({}, {}, 1),
        ({}, {"user": "ada"}, None),
    ],
)
async def test_what_is_no_critical_refusal_of_a_known_caller_locks_nobody_out(
    house: Any, a_call: Any, rule: Any, caller: Any, after: Any
) -> None:
    world, _ = house(rule=CRITICAL | rule, lockout=LockoutSettings(after=after))

    for _ in range(3):
        await world.gate.admit(a_call(caller=caller))

    assert await read(world.database) == []


async def test_monitor_mode_locks_nobody_out_and_says_whom_enforce_would_have(house: Any, a_call: Any, clock: Any) -> None:
    world, lockouts = house(mode="monitor", rule=CRITICAL, lockout=LockoutSettings(after=2))

    for _ in range(2):
        assert not (await world.gate.admit(a_call(caller={"user": "ada"}))).blocked

    (alert,) = await world.alerts(AlertKind.USER_LOCKED_OUT)
    assert (alert.action, lockouts.of(Caller(user="ada"))) == ("observed", None)
    assert "monitor mode locks nobody out" in alert.message
    clock.pass_by(days=1)
    await world.book.expire(clock())
    (alert,) = await world.alerts(AlertKind.USER_LOCKED_OUT)
    assert alert.resolution == "expired"


async def test_a_lock_by_command_lets_calls_pass_in_monitor_mode_and_the_alert_says_so(house: Any, a_call: Any) -> None:
    world, lockouts = house(mode="monitor")
    await lockouts.lock(ADA, actor="cli:root", reason="test")

    verdict = await world.gate.admit(a_call(caller={"user": "ada"}))

    (alert,) = await world.alerts(AlertKind.USER_LOCKED_OUT)
    assert not verdict.blocked
    assert "In enforce mode this call would have been refused" in alert.message


async def test_locks_and_counted_violations_survive_a_restart(house: Any, a_call: Any) -> None:
    settings = LockoutSettings(after=3)
    world, lockouts = house(rule=CRITICAL, lockout=settings)
    for user in ("ada", "ada", "bob", "bob"):
        await world.gate.admit(a_call(caller={"user": user}))
    await world.gate.admit(a_call(caller={"key_id": "k"}))
    await lockouts.lock(Who("user", "eve"), actor="cli:root", reason="test")
    await lockouts.lock(Who("user", "bob"), actor="cli:root", reason="test")
    world.clock.pass_by(seconds=1)
    await lockouts.unlock(Who("user", "bob"), actor="cli:root")

    again = Lockouts(world.database, world.book, now=world.clock)
    await again.load(within=settings.within)
    world, _ = house(rule=CRITICAL, lockout=settings, lockouts=again)
    for user in ("ada", "bob"):
        await world.gate.admit(a_call(caller={"user": user}))

    assert sorted(lock.who.name for lock in await read(world.database)) == ["ada", "eve"]
    assert again.of(Caller(user="eve")) is not None


async def test_a_call_that_breaks_two_critical_rules_counts_once_after_a_restart_too(house: Any, an_occurrence: Any) -> None:
    world, lockouts = house()
    subject = Subject(user="ada")
    for rule in ("one", "two"):
        found = an_occurrence(
            rule, kind=AlertKind.POLICY_VIOLATION, taken=Taken.BLOCKED, severity=Severity.CRITICAL, subject=subject, call_id="c"
        )
        await world.book.record([found])

    await lockouts.load(within=timedelta(minutes=10))

    assert not lockouts.strike(ADA, at=world.clock(), after=3, within=timedelta(minutes=10))
    assert lockouts.strike(ADA, at=world.clock(), after=3, within=timedelta(minutes=10))


async def test_the_gateways_own_calls_are_answered_whoever_sends_them(house: Any, a_call: Any) -> None:
    world, lockouts = house()
    await lockouts.lock(ADA, actor="cli:root", reason="test")

    assert not (await world.gate.admit(a_call(caller={"user": "ada"}, host=PROBE_HOST))).blocked


async def test_a_lock_that_cannot_be_written_is_none(house: Any, a_call: Any) -> None:
    world, lockouts = house(rule=CRITICAL, lockout=LockoutSettings(after=1))
    await world.settled()
    await world.database.close()

    with pytest.raises(StoreError):
        await lockouts.lock(ADA, actor="a", reason="b")
    with pytest.raises(StoreError):
        await world.gate.admit(a_call(caller={"user": "ada"}))

    assert lockouts.of(Caller(user="ada")) is None


async def test_a_release_that_cannot_be_written_leaves_the_lock(house: Any) -> None:
    world, lockouts = house()
    await lockouts.lock(ADA, actor="a", reason="b")
    await world.settled()
    await world.database.close()

    with pytest.raises(StoreError):
        await lockouts.unlock(ADA, actor="a")

    assert lockouts.of(Caller(user="ada")) is not None


async def test_the_number_of_counted_callers_has_an_end(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, lockouts = house()
    monkeypatch.setattr("alerting.lockout._COUNTED", 3)
    span = timedelta(minutes=1)
    for number in range(3):
        lockouts.strike(Who("user", str(number)), at=NOON + number * span / 2, after=9, within=span)

    lockouts.strike(Who("user", "new"), at=NOON + span, after=9, within=span)
    assert [who.name for who in lockouts._struck] == ["1", "2", "new"]  # noqa: SLF001  # a bound of memory shows nowhere else
    lockouts.strike(Who("user", "newer"), at=NOON + span, after=9, within=span)
    assert [who.name for who in lockouts._struck] == ["2", "new", "newer"]  # noqa: SLF001  # the same


def test_a_caller_is_its_user_else_its_key_else_nobody() -> None:
    assert who_is(Caller(user="ada", key_id="k")) == ADA
    assert who_is(Caller(key_id="k")) == Who("key_id", "k")
    assert who_is(Caller()) is None


LEAVERS = [UserSettings(name="ada", last_day=date(2026, 3, 10)), UserSettings(name="bob")]


async def test_calls_are_refused_once_the_last_day_is_over(house: Any, a_call: Any, clock: Any) -> None:
    world, _ = house(users=LEAVERS, last_day=LastDaySettings(timezone="Europe/Berlin"))

    clock.time = NOON.replace(hour=22, minute=59, second=59)
    assert not (await world.gate.admit(a_call(caller={"user": "ada"}))).blocked
    clock.pass_by(seconds=1)
    refused = await world.gate.admit(a_call(caller={"user": "ada"}))

    assert (refused.refusal, refused.rule_id) == (Refusal.LAST_DAY, "tollwatch:last_day")
    assert "last day of ada was 2026-03-10" in refused.message
    assert not (await world.gate.admit(a_call(caller={"user": "bob"}))).blocked
    (alert,) = await world.alerts(AlertKind.POLICY_VIOLATION)
    assert (alert.severity, alert.action) == ("high", "blocked")


async def test_calls_after_the_last_day_can_be_reported_only(house: Any, a_call: Any, clock: Any) -> None:
    world, _ = house(users=LEAVERS, last_day=LastDaySettings.model_validate({"action": "alert"}))
    clock.pass_by(days=1)

    verdict = await world.gate.admit(a_call(caller={"user": "ada"}))

    (alert,) = await world.alerts(AlertKind.POLICY_VIOLATION)
    assert (verdict.blocked, alert.action) == (False, "alerted")


@pytest.mark.parametrize(("span", "words"), [("90s", "90s"), ("2h", "2h"), ("3d", "3d")])
async def test_the_window_is_told_as_people_write_it(house: Any, a_call: Any, span: str, words: str) -> None:
    world, lockouts = house(rule=CRITICAL, lockout=LockoutSettings.model_validate({"after": 1, "within": span}))

    await world.gate.admit(a_call(caller={"user": "ada"}))

    lock = lockouts.of(Caller(user="ada"))
    assert lock is not None
    assert lock.reason == f"1 critical violation within {words}"


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than nothing"):
        LockoutSettings.model_validate({"within": "0s"})
