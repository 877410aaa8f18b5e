"""While a silence covers an alert nobody is told of it; who was not told of its beginning is not told of its end."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from alerting.finding import AlertKind, Occurrence
from alerting.matchers import Matcher, MatchOperator
from alerting.notify.holding import Course, Holding
from alerting.notify.sender import Sender
from alerting.silence import SilenceDraft
from alerting.silences import SilenceBook
from alerting.suppression import Suppression

type Maker = Callable[..., Occurrence]


@pytest.fixture
async def silences(house: Any) -> SilenceBook:
    return SilenceBook(house.database, defined=(), now=house.clock)


@pytest.fixture
def holding(house: Any, silences: SilenceBook) -> Holding:
    return Holding(house.database, Suppression(house.database, silences, now=house.clock))


async def silence(silences: SilenceBook, house: Any) -> Any:
    matcher = Matcher(name="user", operator=MatchOperator.EQUAL, value="jane.smith@acme.com")
    end = house.clock() + timedelta(hours=1)
    draft = SilenceDraft(matchers=(matcher,), starts_at=house.clock(), ends_at=end, comment="known", created_by="jane")
    return await silences.add(draft, actor="jane")


async def states(house: Any) -> list[tuple[object, object]]:
    return [(row[0], row[3]) for row in await house.rows()]


async def turn(sender: Sender) -> None:
    """Do what the sender does in one turn of its loop."""
    await sender._release()  # noqa: SLF001 - one turn, without waiting for the next
    for target in await sender._waiting():  # noqa: SLF001
        await sender._serve(*target)  # noqa: SLF001


async def test_a_silenced_alert_is_told_when_the_silence_is_over(
    house: Any, occur: Maker, recorder: Any, silences: SilenceBook, holding: Holding
) -> None:
    house.outbox.add(recorder)
    one = await silence(silences, house)
    await house.book.record([occur()])
    sender = house.sender(holding=holding)

    await turn(sender)
    assert await states(house) == [("alert.created", "held")]
    assert (await house.rows())[0][6] == f"held back by the silence {one.id}"
    house.clock.pass_by(minutes=59)
    await turn(sender)
    assert recorder.sent == []

    house.clock.pass_by(minutes=1)
    await turn(sender)
    assert await states(house) == [("alert.created", "delivered")]


async def test_of_an_alert_that_ends_under_a_silence_nobody_hears(
    house: Any, occur: Maker, recorder: Any, silences: SilenceBook, holding: Holding
) -> None:
    house.outbox.add(recorder)
    await silence(silences, house)
    (alert,) = await house.book.record([occur()])
    sender = house.sender(holding=holding)
    await turn(sender)

    await house.book.resolve(alert.seq, actor="jane", feed=None)
    house.clock.pass_by(seconds=5)
    await turn(sender)

    assert await states(house) == [("alert.created", "dropped"), ("alert.resolved", "dropped")]
    assert recorder.sent == []


async def test_who_was_told_of_the_beginning_is_told_of_the_end_though_it_is_silenced_by_then(
    house: Any, occur: Maker, recorder: Any, silences: SilenceBook, holding: Holding
) -> None:
    house.outbox.add(recorder)
    (alert,) = await house.book.record([occur()])
    sender = house.sender(holding=holding)
    await turn(sender)
    await silence(silences, house)
    await house.book.acknowledge(alert.seq, actor="jane", feed=None)
    await turn(sender)

    await house.book.resolve(alert.seq, actor="jane", feed=None)
    await turn(sender)

    assert await states(house) == [("alert.created", "delivered"), ("alert.acknowledged", "held"), ("alert.resolved", "delivered")]


async def test_an_alert_that_another_says_more_than_is_held_back(house: Any, occur: Maker, recorder: Any, holding: Holding) -> None:
    house.outbox.add(recorder)
    lockout = occur(kind=AlertKind.USER_LOCKED_OUT, episode=("jane.smith@acme.com",))
    (locked,) = await house.book.record([lockout])
    (violation,) = await house.book.record([occur()])

    course, why = await holding.course(violation.seq, channel="recorder", target="ops")

    assert (course, why) == (Course.HOLD, f"held back by the alert {locked.id}, which says more")
    assert (await holding.course(locked.seq, channel="recorder", target="ops"))[0] is Course.SEND
    assert (await holding.course(999, channel="recorder", target="ops"))[0] is Course.SEND  # forgotten meanwhile, and told before
