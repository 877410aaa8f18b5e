"""Findings on their way into the store: merged, in order, kept while it fails."""

import asyncio
from typing import Any

import pytest

from alerting import outgoing
from alerting.alert import AlertAction
from alerting.finding import AlertKind
from alerting.fingerprint import fingerprint
from alerting.pending import MOST_DETECTIONS, Cleared, Pending
from storage.database import ConstraintError, Done, Failed, StoreError

DEGRADED = AlertKind.GATEWAY_DEGRADED


def test_groups_that_are_put_back_join_what_came_meanwhile(an_occurrence: Any) -> None:
    pending = Pending()
    pending.add(an_occurrence("a"), "a")
    pending.clear("b")
    taken = pending.take()
    pending.add(an_occurrence("a"), "a")
    pending.add(an_occurrence("b"), "b")

    pending.put_back(taken)

    again = pending.take()
    assert [step if isinstance(step, Cleared) else (step.fingerprint, step.count) for step in again] == [("a", 2), Cleared("b"), ("b", 1)]
    assert not pending


def test_a_finding_after_a_clearing_is_not_merged_with_those_before(an_occurrence: Any) -> None:
    pending = Pending()
    for _ in range(2):
        pending.add(an_occurrence("a"), "a")
        pending.clear("a")

    pending.put_back(pending.take())

    assert len(pending.take()) == 4


def test_of_too_many_waiting_findings_the_number_is_kept(an_occurrence: Any) -> None:
    pending, occurrence = Pending(), an_occurrence()
    for _ in range(MOST_DETECTIONS + 5):
        pending.add(occurrence, "a")

    [group] = pending.take()

    assert not isinstance(group, Cleared)
    assert (group.count, len(group.detections)) == (MOST_DETECTIONS + 5, MOST_DETECTIONS)


async def test_degraded_and_well_again_within_one_batch_keep_their_order(worlds: Any) -> None:
    world = worlds()
    for message in ("first", "second"):
        world.gate.degraded("canary", message)
        world.gate.recovered("canary")
    world.gate.degraded("canary", "third")

    alerts = await world.alerts(DEGRADED)

    assert [(alert.message, alert.resolution) for alert in alerts] == [
        ("third", None),
        ("second", AlertAction.CONDITION_CLEARED),
        ("first", AlertAction.CONDITION_CLEARED),
    ]


async def test_what_the_store_refused_is_tried_again_by_itself(
    worlds: Any, an_occurrence: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "RETRY_AFTER_SECONDS", 0.01)
    book, submit, tries = worlds().book, database.submit, asyncio.Queue[int]()

    def failing_twice(work: Any, done: Any) -> None:
        tries.put_nowait(1)
        if tries.qsize() > 2:
            submit(work, done)
        else:
            done(Failed(StoreError("locked")))

    monkeypatch.setattr(database, "submit", failing_twice)
    book.enqueue([an_occurrence()])

    async with asyncio.timeout(60):
        while not await book.list(limit=1):  # noqa: ASYNC110 - the store has no event to wait for
            await asyncio.sleep(0.01)
    await book.drain()
    assert (book.last_error, tries.qsize()) == (None, 3)


async def test_a_batch_that_a_well_store_refuses_blocks_no_other(
    worlds: Any, an_occurrence: Any, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = worlds().book
    monkeypatch.setattr(database, "submit", lambda _work, done: done(Failed(ConstraintError("twice"))))
    book.enqueue([an_occurrence("bad")])
    with pytest.raises(StoreError, match="twice"):
        await book.drain()
    monkeypatch.undo()

    book.enqueue([an_occurrence("good")])
    await book.drain()

    assert (book.lost, [alert.seq for alert in await book.list(limit=5)]) == (1, [1])


async def test_findings_that_come_during_a_write_make_the_next_one(worlds: Any, an_occurrence: Any, database: Any) -> None:
    book, submit, held = worlds().book, database.submit, []
    database.submit = lambda work, done: held.append((work, done))
    book.enqueue([an_occurrence("a")])
    drained = asyncio.ensure_future(book.drain())
    await asyncio.sleep(0)
    book.enqueue([an_occurrence("b")])
    another = asyncio.ensure_future(book.drain())
    await asyncio.sleep(0)
    database.submit = submit

    [(work, done)] = held
    done(Done(await database.write(work)))
    await asyncio.gather(drained, another)

    assert await book.clear(fingerprint(AlertKind.PROMPT_SIZE, ("b",)))
    assert len(await book.list(limit=5)) == 2
