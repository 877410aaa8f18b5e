"""What a stream follows is what the history says, in its order; nothing is told twice or left out."""

from typing import Any

import pytest

from alerting.changes import AlertChanges, Position
from alerting.fingerprint import fingerprint


@pytest.fixture
def changes(database: Any) -> AlertChanges:
    return AlertChanges(database)


async def told(changes: AlertChanges, position: Position, limit: int = 100) -> list[tuple[int, str]]:
    return [(change.alert.seq, change.event) for change in await changes.after(position, limit=limit)]


async def test_every_change_of_the_history_is_told_in_order(book: Any, an_occurrence: Any, changes: AlertChanges, clock: Any) -> None:
    await book.record([an_occurrence("openai", "a"), an_occurrence("openai", "b"), an_occurrence("openai", "c")])
    await book.view(1, actor="ann", feed="local")
    await book.acknowledge(1, actor="ann", feed="org", note="mine")
    await book.resolve(1, actor="bob", feed=None)
    await book.dismiss(2, actor="bob", feed="local")
    clock.pass_by(days=2)
    await book.expire(clock())

    found = await changes.after(Position(0, 0), limit=100)

    assert [(change.alert.seq, change.event) for change in found] == [
        (1, "opened"),
        (2, "opened"),
        (3, "opened"),
        (1, "viewed"),
        (1, "acknowledged"),
        (1, "resolved"),
        (2, "dismissed"),
        (3, "expired"),
    ]
    for seq in (1, 2, 3):
        history = [(entry.action.value, entry.at, entry.actor, entry.feed, entry.note) for entry in await book.history(seq)]
        assert [(one.event, one.at, one.actor, one.feed, one.note) for one in found if one.alert.seq == seq] == history
        alert = await book.get(seq)
        assert all(one.alert == alert for one in found if one.alert.seq == seq)


async def test_raises_between_two_looks_are_one_change_with_its_count(book: Any, an_occurrence: Any, changes: AlertChanges) -> None:
    await book.record([an_occurrence("openai", "a"), an_occurrence("openai", "b")])
    seen = await changes.latest()
    for _ in range(50):
        await book.record([an_occurrence("openai", "a")])
    await book.record([an_occurrence("openai", "b")])
    await book.record([an_occurrence("openai", "a"), an_occurrence("openai", "a")])

    found = await changes.after(seen, limit=100)

    assert [(one.alert.seq, one.event, one.alert.occurrence_count) for one in found] == [(2, "raised", 2), (1, "raised", 53)]
    assert found[0].at == found[0].alert.last_seen_at
    assert await told(changes, found[-1].position) == []
    assert await changes.latest() == found[-1].position


async def test_a_muted_alert_whose_count_is_raised_is_told_too(book: Any, an_occurrence: Any, changes: AlertChanges) -> None:
    await book.record([an_occurrence()])
    await book.dismiss(1, actor="ann", feed="local")
    seen = await changes.latest()

    await book.record([an_occurrence()])

    assert await told(changes, seen) == [(1, "raised")]


async def test_a_condition_that_clears_is_told(book: Any, an_occurrence: Any, changes: AlertChanges) -> None:
    occurrence = an_occurrence()
    await book.record([occurrence])
    seen = await changes.latest()

    await book.clear(fingerprint(occurrence.finding.kind, occurrence.finding.episode))

    assert await told(changes, seen) == [(1, "condition_cleared")]


async def test_following_in_small_steps_tells_the_same_as_in_one(book: Any, an_occurrence: Any, changes: AlertChanges) -> None:
    for number in range(7):
        await book.record([an_occurrence("openai", str(number))])
        await book.record([an_occurrence("openai", str(number // 2))])
    position, steps = Position(0, 0), []
    while found := await changes.after(position, limit=2):
        steps += [(one.alert.seq, one.event) for one in found]
        position = found[-1].position

    assert sorted(steps) == sorted(await told(changes, Position(0, 0)))
    assert len(steps) == 7 + 4


async def test_what_is_deleted_lets_no_position_be_given_twice(
    book: Any, an_occurrence: Any, changes: AlertChanges, clock: Any, database: Any
) -> None:
    for name in "abc":
        await book.record([an_occurrence("openai", name)])
    await book.record([an_occurrence("openai", "a"), an_occurrence("openai", "b")])
    for seq in (3, 2, 1):
        await book.resolve(seq, actor="ann", feed=None)
    before = await changes.latest()
    clock.pass_by(days=40)

    assert await book.prune(clock()) == 1  # 3 is the newest alert, 1 the one that changed last

    assert await changes.latest() == before
    assert await database.read("SELECT COUNT(*) FROM alert_raises") == [(2,)]
    await book.record([an_occurrence("openai", "d")])
    await book.record([an_occurrence("openai", "d")])
    assert await told(changes, before) == [(4, "opened"), (4, "raised")]


@pytest.mark.parametrize(("text", "position"), [("0", Position(0, 0)), ("12.5", Position(12, 5)), ("0.0", Position(0, 0))])
def test_a_position_is_read_as_it_is_written(text: str, position: Position) -> None:
    assert Position.parse(text) == position
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("text", ["", "12", "1.", ".1", "-1.0", "1.2.3", "1,2", "a.b", "1.2 ", "9" * 16 + ".1", "१.२"])
def test_anything_else_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match="is no position"):
        Position.parse(text)
