"""Silences: made, changed, ended, kept over a restart, defined by the config file."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from alerting import silences as module
from alerting.matchers import parse_matcher
from alerting.settings import AlertingSettings
from alerting.silence import SilenceDraft, SilenceState
from alerting.silences import SilenceBook, UnknownSilenceError
from alerting.toggles import DefinedInConfigError

HOUR = timedelta(hours=1)
BASICS = {"kind": "prompt_size"}


def draft(clock: Any, *matchers: str, starts: timedelta = timedelta(0), ends: timedelta | None = HOUR, **changes: str) -> SilenceDraft:
    at = clock()
    return SilenceDraft(
        matchers=tuple(map(parse_matcher, matchers or ("kind=prompt_size",))),
        starts_at=at + starts,
        ends_at=None if ends is None else at + ends,
        **{"created_by": "ann", "comment": "maintenance", **changes},
    )


def silencing(book: SilenceBook, labels: dict[str, str]) -> list[str]:
    return [silence.id for silence in book.active() if silence.covers(labels)]


@pytest.fixture
def silences(database: Any, clock: Any) -> SilenceBook:
    return SilenceBook(database, defined=(), now=clock)


async def test_it_silences_from_its_beginning_to_its_end(silences: SilenceBook, clock: Any) -> None:
    made = await silences.add(draft(clock, starts=HOUR, ends=2 * HOUR), actor="ann")

    found = []
    for _ in range(3):
        found.append((made.state(clock()), made.matches(BASICS, clock()), len(silences.active())))
        clock.pass_by(hours=1)

    assert found == [(SilenceState.PENDING, False, 0), (SilenceState.ACTIVE, True, 1), (SilenceState.EXPIRED, False, 0)]


async def test_all_its_matchers_must_match(silences: SilenceBook, clock: Any) -> None:
    await silences.add(draft(clock, "kind=prompt_size", "user=~a.*"), actor="ann")

    assert silencing(silences, BASICS | {"user": "ann"})
    assert not silencing(silences, BASICS | {"user": "bob"})


async def test_a_beginning_in_the_past_is_now(silences: SilenceBook, clock: Any) -> None:
    assert (await silences.add(draft(clock, starts=-HOUR), actor="ann")).starts_at == clock()


async def test_silences_outlive_a_restart(silences: SilenceBook, clock: Any, database: Any) -> None:
    made = await silences.add(draft(clock, 'user=~"a\\\\.b"', 'agent!=""'), actor="ann")

    again = SilenceBook(database, defined=(), now=clock)
    await again.load()

    assert again.all() == [made]


async def test_expiring_ends_it_now_and_again_changes_nothing(silences: SilenceBook, clock: Any) -> None:
    made = await silences.add(draft(clock), actor="ann")
    clock.pass_by(minutes=1)

    ended = await silences.expire(made.id, actor="bob")
    clock.pass_by(minutes=1)
    again = await silences.expire(made.id, actor="bob")

    assert ended == again == silences.get(made.id)
    assert ended.ends_at == ended.updated_at == clock() - timedelta(minutes=1)
    assert ended.starts_at == made.starts_at
    assert silencing(silences, BASICS) == []


async def test_a_pending_one_that_expires_has_never_been_active(silences: SilenceBook, clock: Any) -> None:
    made = await silences.add(draft(clock, starts=HOUR, ends=2 * HOUR), actor="ann")

    ended = await silences.expire(made.id, actor="ann")

    assert ended.starts_at == ended.ends_at == clock()


async def test_an_active_one_can_be_prolonged_in_place(silences: SilenceBook, clock: Any) -> None:
    clock.pass_by(microseconds=1234)
    made = await silences.add(draft(clock), actor="ann")
    wanted = draft(clock, starts=-timedelta(microseconds=234), ends=5 * HOUR, comment="longer")  # amtool knows milliseconds
    clock.pass_by(minutes=30)

    changed = await silences.change(made.id, wanted, actor="bob")

    assert (changed.id, changed.starts_at, changed.ends_at, changed.comment) == (made.id, made.starts_at, wanted.ends_at, "longer")
    assert silences.all() == [changed]


async def test_other_matchers_make_another_silence_and_end_the_old(silences: SilenceBook, clock: Any) -> None:
    made = await silences.add(draft(clock), actor="ann")

    changed = await silences.change(made.id, draft(clock, "user=ann"), actor="ann")

    old = silences.get(made.id)
    assert old is not None
    assert changed.id != made.id
    assert old.state(clock()) is SilenceState.EXPIRED
    assert silences.all()[0] == changed


async def test_a_pending_one_can_be_moved_in_place_but_not_into_the_past(silences: SilenceBook, clock: Any) -> None:
    made = await silences.add(draft(clock, starts=HOUR, ends=3 * HOUR), actor="ann")

    moved = await silences.change(made.id, draft(clock, starts=2 * HOUR, ends=3 * HOUR), actor="ann")
    other = await silences.change(made.id, draft(clock, starts=-HOUR, ends=3 * HOUR), actor="ann")

    assert moved.id == made.id
    assert other.id != made.id
    assert other.starts_at == clock()


async def test_an_expired_one_that_is_changed_comes_back_as_another(silences: SilenceBook, clock: Any) -> None:
    made = await silences.add(draft(clock), actor="ann")
    ended = await silences.expire(made.id, actor="ann")

    again = await silences.change(made.id, draft(clock), actor="ann")

    assert again.id != made.id
    assert silences.get(made.id) == ended


async def test_what_changed_is_in_the_audit_trail(silences: SilenceBook, clock: Any, database: Any) -> None:
    made = await silences.add(draft(clock), actor="ann")
    await silences.expire(made.id, actor="bob")

    rows = await database.read("SELECT actor, action, subject, detail FROM audit ORDER BY seq")

    assert [row[:3] for row in rows] == [("ann", "silence.created", made.id), ("bob", "silence.expired", made.id)]
    assert json.loads(rows[0][3])["matchers"] == ['kind="prompt_size"']


async def test_one_that_has_been_over_for_long_is_deleted(silences: SilenceBook, clock: Any, database: Any) -> None:
    old = await silences.add(draft(clock), actor="ann")
    clock.pass_by(days=31)
    kept = await silences.add(draft(clock), actor="ann")

    assert await silences.prune(clock() - timedelta(days=30)) == 1

    assert silences.get(old.id) is None
    assert [silence.id for silence in silences.all()] == [kept.id]
    assert await database.read("SELECT id FROM silences") == [(kept.id,)]


@pytest.mark.parametrize(
    ("matchers", "changes", "why"),
    [
        ((), {"comment": " "}, "say why"),
        ((), {"comment": "x" * 2001}, "2,000"),
        ((), {"created_by": ""}, "who made it"),
        ((), {"starts": HOUR, "ends": HOUR}, "cannot begin"),
        ((), {"starts": -2 * HOUR, "ends": -HOUR}, "in the past"),
        ((), {"ends": None}, "needs an end"),
        ((), {"ends": timedelta(days=3651)}, "ten years"),
        (("serivce=openai",), {}, "did you mean 'service'"),
        (("colour=red",), {}, "No alert has the label 'colour'"),
        (("user=",), {}, "at least one must not match"),
        (("user=~.*", "agent!=x"), {}, "at least one must not match"),
        (("user=a",) * 51, {}, "1 to 50 matchers"),
    ],
)
async def test_what_makes_no_silence_is_refused(
    silences: SilenceBook, clock: Any, matchers: tuple[str, ...], changes: Any, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        await silences.add(draft(clock, *matchers, **changes), actor="ann")

    assert silences.all() == []


async def test_there_is_an_end_to_their_number(silences: SilenceBook, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    made = await silences.add(draft(clock), actor="ann")

    with pytest.raises(ValueError, match="let some expire"):
        await silences.add(draft(clock), actor="ann")

    await silences.expire(made.id, actor="ann")
    assert await silences.add(draft(clock), actor="ann")


async def test_an_unknown_one_cannot_be_ended(silences: SilenceBook) -> None:
    with pytest.raises(UnknownSilenceError, match="'nope'"):
        await silences.expire("nope", actor="ann")


async def test_the_config_file_defines_silences_that_only_it_can_change(database: Any, clock: Any) -> None:
    settings = AlertingSettings.model_validate({"silences": [{"matchers": "kind=prompt_size", "comment": "known"}]})
    book = SilenceBook(database, defined=settings.silences, now=clock)
    [silence] = book.all()

    assert silencing(book, BASICS) == [silence.id]
    assert silence.in_config
    with pytest.raises(DefinedInConfigError, match=r"alerting\.silences"):
        await book.expire(silence.id, actor="ann")
    with pytest.raises(DefinedInConfigError, match=r"alerting\.silences"):
        await book.change(silence.id, draft(clock), actor="ann")
    book.follow(())
    assert book.all() == []


def test_a_silence_of_the_config_file_has_the_same_id_at_each_start(database: Any, clock: Any) -> None:
    settings = AlertingSettings.model_validate({"silences": [{"matchers": ["user=ann"], "ends": "2026-04-01", "comment": "known"}]})

    first, second = (SilenceBook(database, defined=settings.silences, now=clock).all() for _ in range(2))

    assert first == second
    assert first[0].ends_at == datetime(2026, 4, 1, tzinfo=UTC)


def test_active_ones_come_first_and_the_next_to_end_before_the_others(database: Any, clock: Any) -> None:
    defined = [
        {"matchers": ["user=forever"], "comment": "x"},
        {"matchers": ["user=over"], "ends": "2020-01-01T00:00:00+02:00", "comment": "x"},
        {"matchers": ["user=later"], "starts": "2030-01-01", "comment": "x"},
        {"matchers": ["user=now"], "ends": "2029-01-01", "comment": "x"},
    ]
    settings = AlertingSettings.model_validate({"silences": defined})

    shown = SilenceBook(database, defined=settings.silences, now=clock).all()

    assert [silence.matchers[0].value for silence in shown] == ["now", "forever", "later", "over"]


@pytest.mark.parametrize(
    ("silence", "why"),
    [
        ({"matchers": ["user=ann"]}, "comment"),
        ({"matchers": [], "comment": "x"}, "1 to 50"),
        ({"matchers": ["user"], "comment": "x"}, "write name=value"),
        ({"matchers": ["usr=ann"], "comment": "x"}, "did you mean 'user'"),
        ({"matchers": ["user=ann"], "starts": "2026-02-01", "ends": "2026-01-01", "comment": "x"}, "cannot start"),
        ({"matchers": ["user=ann"], "ends": "9999-12-31T23:59:59-12:00", "comment": "x"}, "out of range"),
    ],
)
def test_a_silence_of_the_config_file_is_checked(silence: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        AlertingSettings.model_validate({"silences": [silence]})
