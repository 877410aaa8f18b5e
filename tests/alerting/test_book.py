"""Episodes in the store: new, again, muted, ended, forgotten."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from alerting import episodes
from alerting.alert import AlertAction, Change, Status
from alerting.finding import AlertKind, Severity, Taken
from alerting.fingerprint import fingerprint
from alerting.kinds import local_selections
from alerting.toggles import DefinedInConfigError
from storage.database import StoreError


async def test_a_finding_opens_an_alert_and_the_same_one_raises_its_count(book: Any, an_occurrence: Any, clock: Any) -> None:
    [first] = await book.record([an_occurrence(message="one", evidence={"size": 1}, call_id="a")])
    clock.pass_by(minutes=5)
    [again] = await book.record([an_occurrence(message="two", evidence={"size": 2}, call_id="b")])

    alert = await book.get(first.seq)

    assert (first.is_new, again.is_new, again.seq) == (True, False, first.seq)
    assert (alert.occurrence_count, alert.message, alert.evidence) == (2, "two", ({"size": 2},))
    assert alert.last_seen_at - alert.first_seen_at == timedelta(minutes=5)
    assert (alert.status, alert.local_id, alert.id) == (Status.OPEN, "alert_1", (await book.get(alert.id)).id)


async def test_findings_of_two_episodes_are_two_alerts(book: Any, an_occurrence: Any) -> None:
    recorded = await book.record([an_occurrence("openai", "a"), an_occurrence("openai", "b"), an_occurrence("openai", "a")])

    assert [(one.seq, one.occurrence_count) for one in recorded] == [(1, 2), (2, 1)]


async def test_severity_rises_with_an_episode_and_never_falls(book: Any, an_occurrence: Any) -> None:
    for severity in (Severity.MEDIUM, Severity.HIGH, Severity.LOW):
        await book.record([an_occurrence(severity=severity)])

    [alert] = await book.list(limit=1)

    assert alert.severity is Severity.HIGH


async def test_an_episode_that_blocked_a_call_stays_one_that_blocks(book: Any, an_occurrence: Any) -> None:
    actions = []
    for taken in (Taken.OBSERVED, Taken.ALERTED, Taken.BLOCKED, Taken.ALERTED, Taken.OBSERVED):
        await book.record([an_occurrence(taken=taken)])
        actions.append((await book.get(1)).action)

    assert actions == [Taken.OBSERVED, Taken.ALERTED, Taken.BLOCKED, Taken.BLOCKED, Taken.BLOCKED]


async def test_two_hundred_findings_at_once_open_one_alert(book: Any, an_occurrence: Any) -> None:
    recorded = await asyncio.gather(*(book.record([an_occurrence()]) for _ in range(200)))

    assert sum(one.is_new for [one] in recorded) == 1
    assert (await book.get(1)).occurrence_count == 200


async def test_ten_thousand_identical_findings_take_few_writes_and_none_is_lost(book: Any, an_occurrence: Any, database: Any) -> None:
    before = database.stats.works
    for number in range(10_000):
        book.enqueue([an_occurrence(call_id=str(number))])
    await book.drain()

    [alert] = await book.list(limit=10)

    assert alert.occurrence_count == 10_000
    assert database.stats.works - before <= 3
    assert await database.read("SELECT COUNT(DISTINCT call_id) FROM detections") == [(10_000,)]


async def test_what_is_enqueued_is_written_without_being_asked_for(book: Any, an_occurrence: Any) -> None:
    book.enqueue([an_occurrence()])

    async with asyncio.timeout(60):
        while not await book.list(limit=1):  # noqa: ASYNC110 - the store has no event to wait for
            await asyncio.sleep(0.01)


async def test_silent_findings_leave_nothing(book: Any, an_occurrence: Any) -> None:
    book.enqueue([an_occurrence(silent=True)])
    await book.drain()

    assert await book.record([an_occurrence(silent=True)]) == []
    assert await book.list(limit=1) == []


async def test_without_dedup_each_finding_is_an_alert_of_its_own(worlds: Any, an_occurrence: Any) -> None:
    book = worlds(alerting={"dedup": "none"}).book

    await book.record([an_occurrence(), an_occurrence()])
    await book.record([an_occurrence(kind=AlertKind.GATEWAY_DEGRADED), an_occurrence(kind=AlertKind.GATEWAY_DEGRADED)])

    assert [alert.occurrence_count for alert in await book.list(limit=10)] == [2, 1, 1]


async def test_without_dedup_a_dismissed_alert_counts_what_comes_until_it_is_quiet(worlds: Any, an_occurrence: Any, clock: Any) -> None:
    book = worlds(alerting={"dedup": "none"}).book
    await book.record([an_occurrence(), an_occurrence()])
    assert await book.dismiss(1, actor="dev", feed="local")

    [muted] = await book.record([an_occurrence()])
    clock.pass_by(hours=24)
    [back] = await book.record([an_occurrence()])

    assert (muted.seq, muted.is_muted, muted.occurrence_count) == (1, True, 2)
    assert (back.seq, back.is_new) == (3, True)


@pytest.mark.parametrize("dedup", ["episode", "none"])
async def test_a_condition_that_clears_ends_every_alert_of_it_and_no_other(worlds: Any, an_occurrence: Any, dedup: str) -> None:
    book = worlds(alerting={"dedup": dedup}).book
    await book.record([an_occurrence("a"), an_occurrence("b"), an_occurrence("a")])

    assert await book.clear(fingerprint(AlertKind.PROMPT_SIZE, ("a",)))

    ended = {alert.fingerprint[:32] for alert in await book.list(dismissed=True)}
    assert ended == {fingerprint(AlertKind.PROMPT_SIZE, ("a",))}
    assert {alert.fingerprint[:32] for alert in await book.list(dismissed=False)} == {fingerprint(AlertKind.PROMPT_SIZE, ("b",))}


async def test_what_a_clear_asks_is_answered_by_the_index_of_episodes(database: Any) -> None:
    plan = await database.read(f"EXPLAIN QUERY PLAN {episodes._CLEAR}", ("x",) * 8)  # noqa: SLF001  # the statement itself

    assert "USING INDEX alerts_episode (fingerprint>? AND fingerprint<?)" in plan[0][-1]


async def test_ten_thousand_identical_findings_at_once_by_every_way_are_one_alert(book: Any, an_occurrence: Any, database: Any) -> None:
    async def share(transaction: int) -> None:
        await database.write(lambda: book.work([an_occurrence(call_id=f"shared-{transaction}-{number}") for number in range(10)]))

    async def enqueue(batch: int) -> None:
        for number in range(100):
            book.enqueue([an_occurrence(call_id=f"enqueued-{batch}-{number}")])
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            for one in range(10):
                group.create_task(book.record([an_occurrence(call_id=f"recorded-{number}-{one}")]))
            group.create_task(share(number))
            if number < 80:
                group.create_task(enqueue(number))
    await book.drain()

    [alert] = await book.list(limit=10)
    assert alert.occurrence_count == 10_000
    assert await database.read("SELECT COUNT(DISTINCT call_id) FROM detections WHERE alert_seq = ?", (alert.seq,)) == [(10_000,)]
    assert [entry.action for entry in await book.history(alert.seq)] == [AlertAction.OPENED]


async def test_a_dismissed_alert_does_not_come_back_with_the_next_call(book: Any, an_occurrence: Any, clock: Any) -> None:
    await book.record([an_occurrence()])
    assert await book.dismiss(1, actor="dev", feed="local")

    for _ in range(3):
        clock.pass_by(hours=23)
        [again] = await book.record([an_occurrence()])
        await book.expire(clock())
        assert (again.seq, again.is_new, again.is_muted) == (1, False, True)

    assert (await book.get(1)).occurrence_count == 4
    clock.pass_by(hours=24)
    await book.expire(clock())
    [new] = await book.record([an_occurrence()])
    assert (new.seq, new.is_new) == (2, True)


async def test_a_mute_ends_by_being_quiet_even_when_nothing_swept_it(book: Any, an_occurrence: Any, clock: Any) -> None:
    await book.record([an_occurrence()])
    await book.dismiss(1, actor="dev", feed="local")
    clock.pass_by(hours=24)

    [new] = await book.record([an_occurrence()])

    assert new.is_new


async def test_dismissing_is_idempotent_and_keeps_the_first_moment(book: Any, an_occurrence: Any, clock: Any) -> None:
    await book.record([an_occurrence()])

    assert await book.dismiss(1, actor="a", feed="local")
    first = await book.get(1)
    clock.pass_by(minutes=1)
    assert await book.dismiss(1, actor="b", feed="org")

    assert await book.get(1) == first
    assert not await book.dismiss(2, actor="a", feed="local")
    assert [(entry.action, entry.actor, entry.feed) for entry in await book.history(1)] == [
        (AlertAction.OPENED, "system", None),
        (AlertAction.DISMISSED, "a", "local"),
    ]


async def test_an_alert_is_acknowledged_once_and_not_after_it_is_resolved(book: Any, an_occurrence: Any) -> None:
    await book.record([an_occurrence()])

    changes = [
        await book.acknowledge(1, actor="a", feed="rules"),
        await book.acknowledge(1, actor="b", feed="org"),
        await book.resolve(1, actor="a", feed="rules", note="first"),
        await book.resolve(1, actor="b", feed="rules", note="second"),
        await book.acknowledge(1, actor="c", feed="rules"),
        await book.acknowledge(9, actor="c", feed="rules"),
    ]

    assert changes == [Change.DONE, Change.ALREADY, Change.DONE, Change.ALREADY, Change.RESOLVED, Change.MISSING]
    alert = await book.get(1)
    assert (alert.acknowledged_by, alert.resolved_by, alert.resolution, alert.resolution_note) == ("a", "a", "resolved", "first")
    assert [entry.note for entry in await book.history(1)] == [None, None, "first"]


async def test_a_resolved_alert_comes_back_as_a_new_episode(book: Any, an_occurrence: Any) -> None:
    await book.record([an_occurrence()])
    await book.resolve(1, actor="a", feed="org")

    [again] = await book.record([an_occurrence()])

    assert (again.seq, again.is_new) == (2, True)


async def test_looking_is_noted_once(book: Any, an_occurrence: Any, clock: Any) -> None:
    await book.record([an_occurrence()])

    assert await book.view(1, actor="a", feed="entries") is Change.DONE
    seen_at = clock()
    clock.pass_by(minutes=1)
    assert await book.view(1, actor="b", feed="entries") is Change.ALREADY
    assert await book.view(5, actor="b", feed="entries") is Change.MISSING

    assert (await book.get(1)).viewed_at == seen_at


async def test_episodes_end_as_their_kind_says(book: Any, an_occurrence: Any, clock: Any) -> None:
    ends_at = clock() + timedelta(hours=30)
    await book.record(
        [
            an_occurrence("event"),
            an_occurrence("budget", kind=AlertKind.BUDGET_EXCEEDED, ends_at=ends_at),
            an_occurrence("store", kind=AlertKind.GATEWAY_DEGRADED),
        ]
    )

    clock.pass_by(hours=23, minutes=59)
    assert await book.expire(clock()) == 0
    clock.pass_by(minutes=1)
    assert await book.expire(clock()) == 1
    clock.pass_by(hours=6)
    assert await book.expire(clock()) == 1
    clock.pass_by(days=300)
    assert await book.expire(clock()) == 0
    assert await book.clear(fingerprint(AlertKind.GATEWAY_DEGRADED, ("store",)))
    assert not await book.clear(fingerprint(AlertKind.GATEWAY_DEGRADED, ("store",)))

    assert [alert.resolution for alert in await book.list(limit=10)] == ["condition_cleared", "expired", "expired"]
    assert [entry.action for entry in await book.history(1)] == [AlertAction.OPENED, AlertAction.EXPIRED]


async def test_a_dismissed_condition_stays_muted_until_it_clears(book: Any, an_occurrence: Any, clock: Any) -> None:
    await book.record([an_occurrence("store", kind=AlertKind.GATEWAY_DEGRADED)])
    await book.dismiss(1, actor="dev", feed="local")
    clock.pass_by(days=10)
    await book.expire(clock())

    [muted] = await book.record([an_occurrence("store", kind=AlertKind.GATEWAY_DEGRADED)])
    await book.clear(fingerprint(AlertKind.GATEWAY_DEGRADED, ("store",)))
    [new] = await book.record([an_occurrence("store", kind=AlertKind.GATEWAY_DEGRADED)])

    assert (muted.is_muted, new.is_new) == (True, True)


async def test_old_resolved_alerts_are_forgotten_and_numbers_are_never_given_twice(
    book: Any, an_occurrence: Any, clock: Any, database: Any
) -> None:
    for name in "abc":
        await book.record([an_occurrence(name)])
    for seq in (1, 3):
        await book.resolve(seq, actor="a", feed="org")
    clock.pass_by(days=31)

    assert await book.prune(clock()) == 1

    assert [alert.seq for alert in await book.list(limit=10)] == [3, 2]
    assert await database.read("SELECT DISTINCT alert_seq FROM alert_history ORDER BY 1") == [(2,), (3,)]
    assert await database.read("SELECT alert_seq FROM detections") == [(3,)]
    [new] = await book.record([an_occurrence("d")])
    assert new.seq == 4


async def test_alerts_are_listed_newest_first_by_page_and_filter(book: Any, an_occurrence: Any) -> None:
    await book.record([an_occurrence(str(number)) for number in range(5)])
    await book.record([an_occurrence("policy", kind=AlertKind.POLICY_VIOLATION, severity=Severity.HIGH, taken=Taken.BLOCKED)])
    await book.record([an_occurrence("mild", kind=AlertKind.POLICY_VIOLATION, taken=Taken.BLOCKED)])
    await book.dismiss(2, actor="a", feed="local")

    async def seqs(**filters: Any) -> Any:
        return [alert.seq for alert in await book.list(**filters)]

    assert await seqs(limit=3) == [7, 6, 5]
    assert await seqs(limit=3, skip=3) == [4, 3, 2]
    assert await seqs(limit=3, after=5) == [4, 3, 2]
    assert await seqs(dismissed=True) == [2]
    assert await seqs(dismissed=False, limit=2) == [7, 6]
    assert await seqs(severity=Severity.HIGH) == [6]
    assert await seqs(kinds=[AlertKind.POLICY_VIOLATION]) == [7, 6]
    assert await seqs(kinds=local_selections("high_severity_denied_action")) == [6]
    assert await seqs(kinds=local_selections()) == [6, 5, 4, 3, 2, 1]
    assert await seqs(kinds=local_selections("time_anomaly")) == []
    assert (await book.counts()).open == 6


async def test_counts_say_how_many_stand_where(book: Any, an_occurrence: Any) -> None:
    await book.record([an_occurrence(str(number), severity=Severity.HIGH if number else Severity.LOW) for number in range(4)])
    await book.acknowledge(1, actor="a", feed="org")
    await book.resolve(2, actor="a", feed="org")

    counts = await book.counts()

    assert [alert.status for alert in await book.list(limit=2, after=3)] == [Status.RESOLVED, Status.ACKNOWLEDGED]
    assert (counts.open, counts.acknowledged, counts.resolved) == (2, 1, 1)
    for status, seqs in ((Status.OPEN, [4, 3]), (Status.ACKNOWLEDGED, [1]), (Status.RESOLVED, [2])):
        assert [alert.seq for alert in await book.list(status=status)] == seqs
        assert await book.count(status=status) == len(seqs)
    assert (await book.count(), await book.count(kinds=[AlertKind.POLICY_VIOLATION])) == (4, 0)
    assert counts.by_severity == {Severity.LOW: 1, Severity.HIGH: 2}
    assert await book.get(99) is None


async def test_a_type_that_is_toggled_off_raises_no_alert_until_it_is_on_again(book: Any, an_occurrence: Any) -> None:
    await book.set_toggles(changes={"prompt_size": False}, actor="dev")
    assert await book.record([an_occurrence()]) == []
    await book.record([an_occurrence("p", kind=AlertKind.METER_GAP)])

    choices = await book.set_toggles(changes={"prompt_size": True}, retention_days=7, actor="dev")
    [recorded] = await book.record([an_occurrence()])

    assert (choices.toggles["prompt_size"], choices.retention_days, recorded.is_new) == (True, 7, True)


async def test_the_choices_begin_with_all_on_and_the_config_s_retention(book: Any, database: Any) -> None:
    choices = await book.set_toggles(actor="dev")

    assert len(choices.toggles) == 10
    assert all(choices.toggles.values())
    assert choices.retention_days == 30
    assert await database.read("SELECT COUNT(*) FROM audit") == [(0,)]


async def test_what_the_config_file_defines_counts_before_a_choice_of_earlier(worlds: Any) -> None:
    before = worlds()
    await before.book.set_toggles(retention_days=7, actor="dev")
    after = worlds(alerting={"retention_days": 90})

    assert (await after.book.toggles()).retention_days == 90
    with pytest.raises(DefinedInConfigError, match="in the config file"):
        await after.book.set_toggles(retention_days=7, actor="dev")


@pytest.mark.parametrize(("change", "message"), [({"changes": {"pizza": True}}, "pizza"), ({"retention_days": 0}, "from 1 to")])
async def test_a_choice_that_does_not_exist_says_what_does(book: Any, change: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        await book.set_toggles(**change, actor="dev")


async def test_findings_wait_while_the_store_fails_and_none_is_lost(worlds: Any, an_occurrence: Any, database: Any) -> None:
    world = worlds()
    await database.read("SELECT 1")
    submit, database.submit = database.submit, _refusing
    world.book.enqueue([an_occurrence("a"), an_occurrence("b")])
    with pytest.raises(StoreError, match="disk full"):
        await world.book.drain()
    world.book.enqueue([an_occurrence("a")])
    world.book.enqueue_clear("nothing")
    assert "disk full" in str(world.book.last_error)

    database.submit = submit
    await world.book.drain()

    assert world.book.last_error is None
    assert [(alert.seq, alert.occurrence_count) for alert in await world.book.list(limit=5)] == [(2, 1), (1, 2)]


def _refusing(_work: Any, _done: Any) -> None:
    raise StoreError("disk full")
