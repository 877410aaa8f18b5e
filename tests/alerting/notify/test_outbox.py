"""What is told of an alert is written together with the change that it tells of."""

from collections.abc import Callable
from typing import Any

import pytest

from alerting.finding import Occurrence
from alerting.fingerprint import fingerprint
from storage.database import Sql, Work

type Maker = Callable[..., Occurrence]


async def events(house: Any) -> list[object]:
    return [row[0] for row in await house.rows()]


async def test_a_new_alert_is_told_once_however_often_it_recurs(house: Any, occur: Maker, recorder: Any) -> None:
    house.outbox.add(recorder)

    for _ in range(3):
        await house.book.record([occur()])

    assert [row[:4] for row in await house.rows()] == [
        ("alert.created", "ops", "alert.created GPT-4 usage by non-engineering user open", "pending")
    ]


async def test_each_change_is_told_with_the_alert_as_it_stands_after_it(house: Any, occur: Maker, recorder: Any) -> None:
    house.outbox.add(recorder)
    (alert,) = await house.book.record([occur()])

    await house.book.acknowledge(alert.seq, actor="jane", feed=None)
    await house.book.acknowledge(alert.seq, actor="jane", feed=None)  # nothing changes
    await house.book.view(alert.seq, actor="jane", feed=None)  # nobody is told that somebody looked
    await house.book.resolve(alert.seq, actor="jane", feed=None)
    await house.book.resolve(alert.seq, actor="jane", feed=None)

    assert [row[2].split()[-1] for row in await house.rows()] == ["open", "acknowledged", "resolved"]
    assert await events(house) == ["alert.created", "alert.acknowledged", "alert.resolved"]


async def test_what_ends_by_time_by_itself_or_by_dismissal_is_told(house: Any, occur: Maker, recorder: Any) -> None:
    house.outbox.add(recorder)
    expired, cleared, queued, dismissed = [occur(episode=(str(number),)) for number in range(4)]
    recorded = await house.book.record([dismissed])
    await house.book.dismiss(recorded[0].seq, actor="jane", feed=None)
    await house.book.dismiss(recorded[0].seq, actor="jane", feed=None)
    await house.book.record([cleared, queued])
    await house.book.clear(fingerprint(cleared.finding.kind, cleared.finding.episode))
    house.book.enqueue_clear(fingerprint(queued.finding.kind, queued.finding.episode))
    await house.book.drain()
    house.book.enqueue([expired])
    await house.book.drain()
    house.clock.pass_by(days=2)
    await house.book.expire(house.clock())

    assert (await events(house)).count("alert.created") == 4
    assert (await events(house)).count("alert.resolved") == 4


async def test_a_change_that_is_rolled_back_is_told_to_nobody(house: Any, occur: Maker, recorder: Any) -> None:
    house.outbox.add(recorder)

    def work() -> Work[None]:
        yield from house.book.work([occur()])
        yield Sql("INSERT INTO meta (name, value) VALUES ('x', NULL)")

    with pytest.raises(Exception, match="NOT NULL"):
        await house.database.write(work)

    assert await house.rows() == []
    assert await house.book.list() == []


async def test_while_no_channel_listens_nothing_is_written(house: Any, occur: Maker, recorder: Any) -> None:
    recorder.targets = ()
    house.outbox.add(recorder)

    await house.book.record([occur()])

    assert await house.rows() == []


async def test_all_who_are_told_of_a_change_are_told_of_one_event(house: Any, occur: Maker, recorder: Any) -> None:
    recorder.targets = ("ops", "audit")
    house.outbox.add(recorder)

    await house.book.record([occur()])

    ids = await house.database.read("SELECT DISTINCT event_id FROM deliveries")
    assert len(ids) == 1
    assert ids[0][0].startswith("evt_")
    assert len(await house.rows()) == 2


async def test_a_channel_that_fails_to_say_what_to_tell_costs_neither_the_alert_nor_the_others_their_word(
    house: Any, occur: Maker, recorder: Any
) -> None:
    class Broken(type(recorder)):
        def compose(self, event: Any) -> Any:
            raise KeyError(event.id)

    house.outbox.add(Broken(name="broken"))
    house.outbox.add(recorder)

    await house.book.record([occur()])

    assert len(await house.book.list()) == 1
    assert [row[:2] for row in await house.rows()] == [("alert.created", "ops")]


async def test_two_channels_of_one_name_are_refused(house: Any, recorder: Any) -> None:
    house.outbox.add(recorder)

    with pytest.raises(ValueError, match="two channels named 'recorder'"):
        house.outbox.add(recorder)
