"""How long a block or a throttle holds traffic, as far as its finding tells."""

from datetime import timedelta
from typing import Any

import pytest

from alerting.downtime import UNTIL_CLEARED, held_until
from alerting.finding import AlertKind, Taken

SPENT = {"spent": 100, "limit": 100}


def test_what_was_not_stopped_is_not_held(an_occurrence: Any) -> None:
    for taken in (Taken.ALERTED, Taken.OBSERVED):
        assert held_until(an_occurrence(kind=AlertKind.USER_LOCKED_OUT, taken=taken, retry_after=timedelta(seconds=3))) is None


@pytest.mark.parametrize("taken", [Taken.BLOCKED, Taken.THROTTLED])
def test_a_rate_limit_holds_for_its_retry_after(an_occurrence: Any, clock: Any, taken: Taken) -> None:
    found = an_occurrence(kind=AlertKind.RATE_LIMIT_HIT, taken=taken, retry_after=timedelta(seconds=30))

    assert held_until(found) == clock() + timedelta(seconds=30)


def test_a_lockout_holds_until_it_is_lifted(an_occurrence: Any) -> None:
    assert held_until(an_occurrence(kind=AlertKind.USER_LOCKED_OUT, taken=Taken.BLOCKED)) == UNTIL_CLEARED


@pytest.mark.parametrize(("evidence", "holds"), [(SPENT, True), ({"spent": 99, "limit": 100}, False), ({}, False)])
def test_a_budget_holds_until_its_period_ends_where_nothing_is_left(an_occurrence: Any, clock: Any, evidence: Any, holds: bool) -> None:  # noqa: FBT001
    ends_at = clock() + timedelta(hours=5)
    found = an_occurrence(kind=AlertKind.BUDGET_EXCEEDED, taken=Taken.BLOCKED, ends_at=ends_at, evidence=evidence)

    assert held_until(found) == (ends_at if holds else None)


def test_a_rule_stops_no_more_than_the_call(an_occurrence: Any) -> None:
    assert held_until(an_occurrence(kind=AlertKind.POLICY_VIOLATION, taken=Taken.BLOCKED)) is None


async def _holds(database: Any) -> list[Any]:
    return [held for (held,) in await database.read("SELECT held_until FROM detections ORDER BY id")]


async def test_a_hold_ends_with_the_condition_or_the_episode(book: Any, an_occurrence: Any, clock: Any, database: Any) -> None:
    [first] = await book.record([an_occurrence("a", kind=AlertKind.USER_LOCKED_OUT, taken=Taken.BLOCKED)])
    clock.pass_by(minutes=1)
    [second] = await book.record([an_occurrence("b", kind=AlertKind.USER_LOCKED_OUT, taken=Taken.BLOCKED)])
    forever = (await _holds(database))[0]
    clock.pass_by(minutes=1)

    await book.clear(first.fingerprint)
    await book.resolve(second.seq, actor="p", feed=None)

    cleared = await _holds(database)
    assert cleared[0] == cleared[1] < forever


async def test_dismissing_an_alert_lifts_no_lock(book: Any, an_occurrence: Any, clock: Any, database: Any) -> None:
    [alert] = await book.record([an_occurrence(kind=AlertKind.USER_LOCKED_OUT, taken=Taken.BLOCKED)])
    before = await _holds(database)
    await book.dismiss(alert.seq, actor="p", feed="local")
    dismissed = await _holds(database)
    clock.pass_by(hours=1)

    await book.clear(alert.fingerprint)

    assert dismissed == before
    assert await _holds(database) < before


async def test_a_span_that_was_looked_at_is_the_length_of_its_detection(book: Any, an_occurrence: Any, database: Any) -> None:
    await book.record([an_occurrence("a"), an_occurrence("b", window=timedelta(hours=1, microseconds=5))])

    assert await database.read("SELECT duration FROM detections ORDER BY alert_seq") == [(None,), (3_600_000_005,)]
