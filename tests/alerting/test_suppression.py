"""What holds an alert back, while the alert itself stays as it is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from alerting.alert import Alert, AlertAction
from alerting.book import AlertBook
from alerting.finding import AlertKind, Occurrence, Subject
from alerting.matchers import parse_matcher
from alerting.silence import SilenceDraft
from alerting.silences import SilenceBook
from alerting.suppression import HeldBack, Suppression
from storage.database import Work

type Raise = Callable[..., Any]


@pytest.fixture
def silences(database: Any, clock: Any) -> SilenceBook:
    return SilenceBook(database, defined=(), now=clock)


@pytest.fixture
def suppression(database: Any, silences: SilenceBook, clock: Any) -> Suppression:
    return Suppression(database, silences, now=clock)


@pytest.fixture
def opened(book: AlertBook, an_occurrence: Callable[..., Occurrence]) -> Raise:
    async def make(kind: AlertKind, *episode: str, **more: Any) -> Alert:
        [recorded] = await book.record([an_occurrence(*episode, kind=kind, **more)])
        alert = await book.get(recorded.seq)
        assert alert is not None
        return alert

    return make


async def test_a_silence_holds_back_the_alerts_it_matches(
    opened: Raise, silences: SilenceBook, suppression: Suppression, clock: Any
) -> None:
    ann = await opened(AlertKind.PROMPT_SIZE, "ann", subject=Subject(user="ann"))
    bob = await opened(AlertKind.PROMPT_SIZE, "bob", subject=Subject(user="bob"))
    draft = SilenceDraft(
        matchers=(parse_matcher("user=ann"),), starts_at=clock(), ends_at=clock() + timedelta(hours=1), created_by="x", comment="x"
    )
    made = await silences.add(draft, actor="x")

    during = await suppression.now()
    clock.pass_by(hours=1)
    after = await suppression.now()

    assert during.of(ann) == HeldBack(silenced_by=(made.id,))
    assert bool(during.of(ann))
    assert not during.of(bob)
    assert not after.of(ann)


async def test_an_exceeded_budget_holds_back_its_own_warnings(opened: Raise, book: AlertBook, suppression: Suppression) -> None:
    mine = await opened(AlertKind.BUDGET_WARNING, "b", "0.8", subject=Subject(budget_id="b"))
    other = await opened(AlertKind.BUDGET_WARNING, "c", "0.8", subject=Subject(budget_id="c"))
    size = await opened(AlertKind.PROMPT_SIZE, "b", subject=Subject(budget_id="b"))
    exceeded = await opened(AlertKind.BUDGET_EXCEEDED, "b", "1", subject=Subject(service="openai", budget_id="b"))

    held = await suppression.now()

    assert held.of(mine).inhibited_by == (exceeded,)
    assert not any(map(held.of, (other, size, exceeded)))
    await book.resolve(exceeded.seq, actor="ann", feed=None)
    assert not (await suppression.now()).of(mine)


async def test_a_period_that_is_over_holds_nothing_back(opened: Raise, suppression: Suppression, clock: Any) -> None:
    subject = Subject(budget_id="b")
    await opened(AlertKind.BUDGET_EXCEEDED, "b", "1", subject=subject, ends_at=clock() + timedelta(hours=1))
    clock.pass_by(hours=1)  # and nothing has expired it yet

    warning = await opened(AlertKind.BUDGET_WARNING, "b", "0.8", subject=subject)

    assert not (await suppression.now()).of(warning)


async def test_who_is_locked_out_is_told_of_once(opened: Raise, book: AlertBook, suppression: Suppression) -> None:
    anns = await opened(AlertKind.POLICY_VIOLATION, "ann", subject=Subject(user="ann", key_id="k"))
    bobs = await opened(AlertKind.POLICY_VIOLATION, "bob", subject=Subject(user="bob", key_id="k"))
    nobodys = await opened(AlertKind.POLICY_VIOLATION, "k", subject=Subject(key_id="k"))
    lock = await opened(AlertKind.USER_LOCKED_OUT, "ann", subject=Subject(user="ann", key_id="k"))

    held = await suppression.now()

    assert held.of(anns).inhibited_by == (lock,)
    assert not any(map(held.of, (bobs, nobodys, lock)))
    await book.clear(lock.fingerprint, resolution=AlertAction.CONDITION_CLEARED)
    assert not (await suppression.now()).of(anns)


async def test_a_key_that_is_locked_out_holds_back_what_it_does(opened: Raise, suppression: Suppression) -> None:
    keys = await opened(AlertKind.POLICY_VIOLATION, "k", subject=Subject(key_id="k"))
    lock = await opened(AlertKind.USER_LOCKED_OUT, "key_id", "k", subject=Subject(key_id="k"))

    assert (await suppression.now()).of(keys).inhibited_by == (lock,)


async def test_nothing_holds_back_what_is_resolved(opened: Raise, book: AlertBook, suppression: Suppression) -> None:
    warning = await opened(AlertKind.BUDGET_WARNING, "b", "0.8", subject=Subject(budget_id="b"))
    await opened(AlertKind.BUDGET_EXCEEDED, "b", "1", subject=Subject(budget_id="b"))
    await book.resolve(warning.seq, actor="ann", feed=None)
    resolved = await book.get(warning.seq)

    assert resolved is not None
    assert not (await suppression.now()).of(resolved)


async def test_inside_a_transaction_what_it_wrote_counts(
    book: AlertBook, database: Any, suppression: Suppression, opened: Raise, an_occurrence: Callable[..., Occurrence]
) -> None:
    warning = await opened(AlertKind.BUDGET_WARNING, "b", "0.8", subject=Subject(budget_id="b"))
    exceeded = an_occurrence("b", "1", kind=AlertKind.BUDGET_EXCEEDED, subject=Subject(budget_id="b"))

    def work() -> Work[HeldBack]:
        yield from book.work([exceeded])
        return (yield from suppression.work()).of(warning)

    assert [alert.kind for alert in (await database.write(work)).inhibited_by] == [AlertKind.BUDGET_EXCEEDED]


async def test_the_question_is_answered_by_its_index(database: Any) -> None:
    question = (
        "EXPLAIN QUERY PLAN SELECT MAX(seq) FROM alerts WHERE resolved_at IS NULL AND kind IN ('budget_exceeded', 'user_locked_out') "
        "AND (expires_at IS NULL OR expires_at > ?) GROUP BY kind, subject"
    )

    plan = await database.read(question, (0,))

    assert any("alerts_inhibiting" in str(row[-1]) for row in plan)
