"""What waits in the outbox reaches its targets: in order, again after a failure, and never lost."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from alerting.finding import Occurrence
from alerting.notify.channel import Delivery, Result
from alerting.notify.schedule import PAUSES, pause_after
from alerting.notify.sender import Sender

type Maker = Callable[..., Occurrence]


async def test_what_is_put_in_is_sent_soon_and_in_order(house: Any, occur: Maker, recorder: Any, running: Any) -> None:
    house.outbox.add(recorder)
    async with running(house.sender()) as sender:
        (alert,) = await house.book.record([occur()])
        await house.book.resolve(alert.seq, actor="jane", feed=None)

        sent = await recorder.gets(2)
        await house.turned(sender)

    assert [delivery.event for delivery in sent] == ["alert.created", "alert.resolved"]
    assert [row[3:] for row in await house.rows()] == [("delivered", 1, 200, None), ("delivered", 1, 200, None)]


async def test_what_waited_while_nobody_sent_is_sent_later(house: Any, occur: Maker, recorder: Any, running: Any) -> None:
    house.outbox.add(recorder)
    await house.book.record([occur()])

    async with running(house.sender()):
        await recorder.gets(1)


async def test_a_failed_delivery_is_tried_again_with_the_same_event_until_it_is_a_dead_letter(
    house: Any, occur: Maker, recorder: Any, running: Any
) -> None:
    recorder.answers = [Result(error="HTTP 500", status=500)] * 10
    house.outbox.add(recorder)
    await house.book.record([occur()])

    async with running(house.sender()) as sender:
        for attempt in range(1, 11):
            await recorder.gets(1)
            await house.turned(sender)
            assert (await house.rows())[0][4] == attempt
            house.clock.pass_by(days=2)
            sender.wake()

    assert {(delivery.event_id, delivery.body) for delivery in recorder.sent} == {(recorder.sent[0].event_id, recorder.sent[0].body)}
    assert [delivery.attempt for delivery in recorder.sent] == list(range(1, 11))
    assert (await house.rows())[0][3:] == ("dead", 10, 500, "HTTP 500")


async def test_no_attempt_is_made_before_its_pause_is_over(house: Any, occur: Maker, recorder: Any, running: Any) -> None:
    recorder.answers = [Result(error="HTTP 503", status=503, retry_after=timedelta(hours=1))]
    house.outbox.add(recorder)
    await house.book.record([occur()])
    async with running(house.sender()) as sender:
        await recorder.gets(1)
        await house.turned(sender)

        house.clock.pass_by(minutes=59)
        assert await sender._waiting() == []  # noqa: SLF001 - that nothing is sent can be seen in no other way
        house.clock.pass_by(minutes=1)
        sender.wake()
        await recorder.gets(1)


async def test_a_target_that_fails_holds_up_no_other_and_rests(house: Any, occur: Maker, recorder: Any, running: Any) -> None:
    class Picky(type(recorder)):
        async def send(self, delivery: Delivery) -> Result:
            await super().send(delivery)
            return Result(error="refused") if delivery.target == "ops" else Result(status=204)

    channel = Picky(targets=("ops", "audit"))
    house.outbox.add(channel)
    for number in range(3):
        await house.book.record([occur(episode=(str(number),))])

    async with running(house.sender()) as sender:
        await channel.gets(4)  # three to the one, and one to the other
        await house.turned(sender)

    assert sorted(delivery.target for delivery in channel.sent) == ["audit", "audit", "audit", "ops"]


async def test_a_target_is_left_alone_longer_each_time_it_fails(house: Any, occur: Maker, recorder: Any, running: Any) -> None:
    recorder.answers = [Result(error="refused")] * 12
    house.outbox.add(recorder)
    for number in range(12):
        await house.book.record([occur(episode=(str(number),))])

    rests = []
    async with running(house.sender()) as sender:
        for _ in range(12):
            await recorder.gets(1)
            await house.turned(sender)
            until, _rest = sender._rests["recorder", "ops"]  # noqa: SLF001 - nobody else knows when it is over
            rests.append((until - house.clock()).total_seconds())
            house.clock.time = until
            sender.wake()

    assert rests == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]


async def test_a_final_failure_is_a_dead_letter_at_once_and_the_next_is_sent(house: Any, occur: Maker, recorder: Any, running: Any) -> None:
    recorder.answers = [Result(error="gone", final=True, status=410)]
    house.outbox.add(recorder)
    for number in range(2):
        await house.book.record([occur(episode=(str(number),))])

    async with running(house.sender()) as sender:
        await recorder.gets(2)
        await house.turned(sender)

    assert [row[3] for row in await house.rows()] == ["dead", "delivered"]


async def test_a_channel_that_raises_or_hangs_is_a_failure_of_its_delivery(
    house: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerting.notify.sender._LONGEST_SEND", 0.01)
    sender = Sender(house.database, house.outbox, now=house.clock)
    delivery = Delivery(event_id="evt_1", event="x", target="ops", body="", attempt=1, created_at=house.clock())

    class Broken(type(recorder)):
        async def send(self, delivery: Delivery) -> Result:
            if delivery.attempt == 1:
                raise KeyError("token-of-somebody")
            await asyncio.Event().wait()
            raise AssertionError

    assert await sender.send(Broken(), delivery) == Result(error="the channel failed: KeyError")
    hung = Delivery(event_id="evt_1", event="x", target="ops", body="", attempt=2, created_at=house.clock())
    assert await sender.send(Broken(), hung) == Result(error="no answer within 0.01 seconds")
    assert (await sender.send(None, delivery)).final


def test_the_pauses_are_those_of_the_schedule_with_a_fifth_of_jitter() -> None:
    for attempt, base in enumerate(PAUSES, start=1):
        pauses = [pause_after(attempt) or timedelta(0) for _ in range(50)]
        assert all(base <= pause <= base * 1.2 for pause in pauses)
        assert len(set(pauses)) > 1
    assert pause_after(len(PAUSES) + 1) is None
    assert pause_after(1, retry_after=timedelta(minutes=7)) == timedelta(minutes=7)
    assert pause_after(1, retry_after=timedelta(days=300)) == timedelta(hours=24)


async def test_a_sender_that_dies_after_a_message_was_sent_sends_it_once_more_with_the_same_id(
    house: Any, occur: Maker, recorder: Any, running: Any
) -> None:
    dies = asyncio.Event()

    class Dying(type(recorder)):
        async def send(self, delivery: Delivery) -> Result:
            await super().send(delivery)
            if len(self.sent) == 1:
                dies.set()
                await asyncio.Event().wait()  # the message is out, and nothing is noted any more
            return Result(status=200)

    channel = Dying()
    house.outbox.add(channel)
    await house.book.record([occur()])

    async with running(house.sender()):
        await dies.wait()
    async with running(house.sender()) as sender:
        first, second = await channel.gets(2)
        await house.turned(sender)

    assert first == second
    assert [row[3:5] for row in await house.rows()] == [("delivered", 1)]


async def test_that_somebody_was_not_told_is_said_until_each_is_told_again(house: Any, occur: Maker, recorder: Any, running: Any) -> None:
    class Picky(type(recorder)):
        ill: bool = True

        async def send(self, delivery: Delivery) -> Result:
            await super().send(delivery)
            return Result(error="gone", final=True, status=410) if self.ill else Result(status=200)

    channel, heard = Picky(targets=("ops", "audit")), []
    house.outbox.add(channel)
    sender = house.sender()
    sender.on_trouble = heard.append
    async with running(sender):
        await house.book.record([occur()])
        await channel.gets(2)
        await house.turned(sender)
        channel.ill = False
        await house.book.record([occur(episode=("2",))])
        await channel.gets(2)
        await house.turned(sender)

    assert sorted(heard[:2]) == [f"The recorder {name} was not told of an alert (attempts: 1): gone" for name in ("audit", "ops")]
    assert heard[2:] == [None]
