"""Entries in the store: what is grouped, what is held back, who answers what, and that nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from alerting.book import AlertBook
from alerting.entries import EntryBook
from alerting.entry_answers import Answer, NoEntryError, NotAllowedError
from alerting.entry_configs import NoConfigError
from alerting.entry_follower import _ENDED, _LAPSED, _NEW, UNDONE
from alerting.entry_settings import LABELS, SHIPPED, EntryConfigSettings
from alerting.finding import AlertKind, Subject, Taken
from alerting.matchers import parse_matcher
from alerting.settings import AlertingSettings
from alerting.silence import SilenceDraft
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from alerting.toggles import DefinedInConfigError
from storage.database import Sql, StoreError
from storage.sqlite import SqliteDatabase

LONG_AGO = datetime(2020, 1, 1, tzinfo=None).astimezone()
ONE = EntryConfigSettings(title="All", time_window_seconds=60, min_events=1)
THREE = EntryConfigSettings(title="Three", time_window_seconds=60, min_events=3)

type Find = Callable[..., Awaitable[None]]


def book_of(database: SqliteDatabase, alerts: AlertBook, clock: Any) -> EntryBook:
    suppression = Suppression(database, SilenceBook(database, defined=(), now=clock), now=clock)
    return EntryBook(database, alerts, suppression=suppression, line="here", now=clock)


@pytest.fixture
def silences(database: Any, clock: Any) -> SilenceBook:
    return SilenceBook(database, defined=(), now=clock)


@pytest.fixture
async def entries(database: Any, book: AlertBook, silences: SilenceBook, clock: Any) -> AsyncIterator[EntryBook]:
    yield EntryBook(database, book, suppression=Suppression(database, silences, now=clock), line="here", now=clock)
    await book.drain()


@pytest.fixture
def find(book: AlertBook, an_occurrence: Any, clock: Any) -> Find:
    """Return a recorder of findings, so many seconds later, by this agent."""

    async def make(after: float = 0, *, agent: str = "bot", kind: AlertKind = AlertKind.PROMPT_SIZE, **more: Any) -> None:
        clock.pass_by(seconds=after)
        subject = Subject(service="openai", agent=agent, endpoint="chat")
        await book.record([an_occurrence(agent, kind=kind, subject=subject, **more)])

    return make


async def shown(entries: EntryBook) -> list[tuple[str, str, int]]:
    return [(one.title, one.place.name, len(one.events)) for one in (await entries.page(since=LONG_AGO)).entries]


async def test_what_happens_close_together_at_one_place_is_one_entry(entries: EntryBook, find: Find) -> None:
    await entries.configs.follow_file([ONE])
    for after, agent in ((0, "a"), (60, "a"), (0.1, "b"), (61, "a"), (0.1, "b")):
        await find(after, agent=agent)

    assert await shown(entries) == [
        ("All", "openai/a/chat", 2),
        ("All", "openai/b/chat", 1),
        ("All", "openai/a/chat", 1),
        ("All", "openai/b/chat", 1),
    ]


async def test_too_few_make_no_entry_and_enough_make_one_with_all_of_them(entries: EntryBook, find: Find) -> None:
    await entries.configs.follow_file([THREE])
    await find()
    await find(30)
    before = await shown(entries)
    await find(31)
    meanwhile = await shown(entries)
    await find(29)

    assert (before, meanwhile) == ([], [])
    assert await shown(entries) == [("Three", "openai/bot/chat", 3)]
    assert len((await entries.detections(since=LONG_AGO)).detections) == 4


async def test_each_config_groups_on_its_own_what_it_is_for(entries: EntryBook, find: Find) -> None:
    await entries.configs.follow_file(
        [
            ONE,
            EntryConfigSettings(title="Drift", labels=("prompt_drift",)),
            EntryConfigSettings(title="Bots", rois=("*/bot*/*",)),
        ]
    )
    await find(agent="bot-1")
    await find(agent="ann", kind=AlertKind.PROMPT_DRIFT)

    assert sorted(await shown(entries)) == [
        ("All", "openai/ann/chat", 1),
        ("All", "openai/bot-1/chat", 1),
        ("Bots", "openai/bot-1/chat", 1),
        ("Drift", "openai/ann/chat", 1),
    ]


async def test_kinds_that_the_feed_does_not_have_are_neither_detections_nor_entries(entries: EntryBook, find: Find) -> None:
    await entries.configs.follow_file([ONE])
    await find(kind=AlertKind.RULE_DORMANT)

    assert await shown(entries) == []
    assert (await entries.detections(since=LONG_AGO)).detections == []


async def test_a_silence_makes_no_entry_and_keeps_the_detections(entries: EntryBook, find: Find, clock: Any) -> None:
    await entries.configs.follow_file([ONE, THREE])
    [one, _three] = await entries.configs.all()
    await find(agent="a")
    await entries.configs.silence(one.id, until=clock() + timedelta(seconds=100), actor="p")
    await find(99, agent="a")
    silent = await shown(entries)
    await find(1, agent="a")

    assert silent == [("All", "openai/a/chat", 1)]
    assert await shown(entries) == [("All", "openai/a/chat", 1), ("All", "openai/a/chat", 1)]
    assert len((await entries.detections(since=LONG_AGO)).detections) == 3


async def test_a_silence_of_one_place_leaves_the_others_and_can_be_lifted(entries: EntryBook, find: Find, clock: Any) -> None:
    await entries.configs.follow_file([ONE])
    [one] = await entries.configs.all()
    silenced = await entries.configs.silence(one.id, place="openai/a/chat", until=clock() + timedelta(days=1), actor="p")
    await find(agent="a")
    await find(agent="b")
    before = await shown(entries)
    lifted = await entries.configs.silence(one.id, place="openai/a/chat", until=None, actor="p")
    await find(agent="a")

    assert before == [("All", "openai/b/chat", 1)]
    assert await shown(entries) == [("All", "openai/b/chat", 1), ("All", "openai/a/chat", 1)]
    assert (list(silenced.silences), list(lifted.silences)) == (["openai/a/chat"], [])


async def test_what_nobody_is_told_of_makes_no_entry(entries: EntryBook, silences: SilenceBook, find: Find, clock: Any) -> None:
    await entries.configs.follow_file([ONE])
    draft = SilenceDraft(
        matchers=(parse_matcher("agent=a"),), starts_at=clock(), ends_at=clock() + timedelta(hours=1), created_by="p", comment="planned"
    )
    await silences.add(draft, actor="p")
    await find(agent="a")
    await find(agent="b")

    assert await shown(entries) == [("All", "openai/b/chat", 1)]


async def test_the_recurrence_of_a_dismissed_alert_makes_no_entry(entries: EntryBook, book: AlertBook, find: Find) -> None:
    await entries.configs.follow_file([ONE])
    await find()
    await entries.follow()
    await book.dismiss(1, actor="p", feed="local")
    await find(600)

    assert await shown(entries) == [("All", "openai/bot/chat", 1)]
    assert len((await entries.detections(since=LONG_AGO)).detections) == 2


async def test_a_restart_goes_on_where_the_last_run_ended(
    entries: EntryBook, find: Find, book: AlertBook, database: Any, clock: Any
) -> None:
    await entries.configs.follow_file([ONE, THREE])
    await find()
    await find(1)
    await entries.follow()
    await find(1)
    again = book_of(database, book, clock)
    await again.configs.follow_file([ONE, THREE])

    await find(1)

    assert sorted(await shown(again)) == [("All", "openai/bot/chat", 4), ("Three", "openai/bot/chat", 4)]


async def test_two_gateways_on_one_store_make_no_twins(
    database: SqliteDatabase, entries: EntryBook, book: AlertBook, find: Find, clock: Any
) -> None:
    other = await SqliteDatabase.open(database.path)
    rival = book_of(other, AlertBook(other, org_id="org", settings=book._settings, now=clock), clock)  # noqa: SLF001  # the same settings
    await entries.configs.follow_file([ONE, THREE])
    for _ in range(10):
        for agent in ("a", "b", "c"):
            await find(1, agent=agent)
        await asyncio.gather(entries.follow(), rival.follow(), entries.follow(), rival.follow())

    seen = await shown(rival)
    await other.close()

    assert sorted(seen) == sorted((title, f"openai/{agent}/chat", 10) for title in ("All", "Three") for agent in ("a", "b", "c"))
    assert await database.read("SELECT COUNT(*) FROM entry_events") == [(60,)]


async def test_moments_of_entries_and_changes_only_grow_though_the_clock_is_set_back(entries: EntryBook, find: Find, clock: Any) -> None:
    await entries.configs.follow_file([ONE])
    for agent, hours in (("a", 0), ("b", -5), ("c", 1)):
        clock.pass_by(hours=hours)
        await find(agent=agent)
        await entries.follow()

    page = await entries.page(since=LONG_AGO)
    made = [one.created_at for one in page.entries]
    changed = [one.updated_at for one in (await entries.detections(since=LONG_AGO, updated_at=LONG_AGO)).detections]

    assert made == sorted(set(made))
    assert changed == sorted(set(changed))
    assert [len((await entries.page(since=moment)).entries) for moment in made] == [2, 1, 0]


# --- what a detection says ------------------------------------------------------------------------------------------------


async def test_a_detection_says_where_and_how_long(worlds: Any, database: Any, clock: Any, a_call: Any) -> None:
    world = worlds(detectors={"prompt_size": {"max_tokens": 1}, "prompt_drift": {"enabled": False}})
    call = a_call(text="much more than one", caller={"agent": "bot", "user": "ann"})
    await world.gate.admit(call)
    await world.settled()
    own = book_of(database, world.book, clock)
    [running] = (await own.detections(since=LONG_AGO)).detections
    clock.pass_by(seconds=2.5)
    world.answer(call)
    await world.settled()

    [ended] = (await own.detections(since=LONG_AGO, updated_at=running.updated_at)).detections

    assert (running.duration, running.downtime, running.line) == (None, timedelta(0), "test")
    assert (ended.duration, ended.downtime, ended.label) == (timedelta(seconds=2.5), timedelta(0), "prompt_size")
    assert (ended.place.name, ended.place.title) == ("openai/bot/chat", "bot: chat of openai")
    assert (await own.detections(since=LONG_AGO, updated_at=ended.updated_at)).detections == []


async def test_downtime_counts_until_the_block_is_over_and_that_is_a_change(entries: EntryBook, find: Find, clock: Any) -> None:
    await find(kind=AlertKind.RATE_LIMIT_HIT, taken=Taken.BLOCKED, retry_after=timedelta(seconds=30))
    [at_once] = (await entries.detections(since=LONG_AGO)).detections
    clock.pass_by(seconds=10)
    [meanwhile] = (await entries.detections(since=LONG_AGO)).detections
    clock.pass_by(seconds=60)
    [after] = (await entries.detections(since=LONG_AGO, updated_at=at_once.updated_at)).detections

    assert [one.downtime.total_seconds() for one in (at_once, meanwhile, after)] == [0, 10, 30]
    assert meanwhile.updated_at == at_once.updated_at < after.updated_at


async def test_a_lockout_holds_until_it_is_lifted(entries: EntryBook, find: Find, book: AlertBook, clock: Any) -> None:
    await find(kind=AlertKind.USER_LOCKED_OUT, taken=Taken.BLOCKED)
    clock.pass_by(minutes=5)
    [alert] = await book.list(limit=1)
    await book.clear(alert.fingerprint)
    clock.pass_by(minutes=5)

    [found] = (await entries.detections(since=LONG_AGO)).detections

    assert found.downtime == timedelta(minutes=5)


async def test_a_refused_call_was_held_for_as_long_as_it_took_to_refuse(worlds: Any, database: Any, clock: Any, a_call: Any) -> None:
    rule = {"id": "r", "title": "No", "match": {"model": "*"}, "action": "block", "severity": "high"}
    world = worlds(rules=[rule])
    call = a_call(caller={"user": "ann"})
    clock.pass_by(seconds=0.25)
    await world.gate.admit(call)
    await world.settled()

    [found] = (await book_of(database, world.book, clock).detections(since=LONG_AGO)).detections

    assert (found.duration, found.downtime) == (timedelta(seconds=0.25), timedelta(seconds=0.25))
    assert found.place.name == "openai/ann/chat"


async def test_a_budget_that_is_used_up_holds_the_place_until_its_period_ends(worlds: Any, database: Any, clock: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "all", "limit": "300 tokens", "wait": "0s"}])
    call = a_call(caller={"agent": "bot"})
    await world.gate.admit(call)
    world.answer(call, input_tokens=200, output_tokens=200)
    await world.settled()
    refused = await world.gate.admit(a_call(caller={"agent": "bot"}))
    await world.settled()
    own = book_of(database, world.book, clock)
    clock.pass_by(hours=2)
    at_two = (await own.detections(since=LONG_AGO)).detections
    clock.pass_by(hours=20)
    at_ten = (await own.detections(since=LONG_AGO)).detections

    assert refused.blocked
    assert {one.place.name for one in at_two} == {"openai/bot/chat"}
    assert [one.downtime.total_seconds() / 3600 for one in at_two if one.downtime] == [2]
    assert [one.downtime.total_seconds() / 3600 for one in at_ten if one.downtime] == [12]


async def test_a_call_whose_end_nobody_saw_is_not_waited_for(entries: EntryBook, find: Find, clock: Any, database: Any) -> None:
    await find(call_id="never-written")
    [before] = (await entries.detections(since=LONG_AGO)).detections
    clock.pass_by(days=2)
    await entries.follow()

    assert before.duration is None
    assert await database.read("SELECT due FROM detections") == [(0,)]


async def test_a_detection_of_an_alert_that_is_gone_stops_nobody(entries: EntryBook, find: Find, database: Any) -> None:
    await find()
    await find(agent="other")
    await database.write(_delete_the_first_alert)

    assert [one.place.name for one in (await entries.detections(since=LONG_AGO)).detections] == ["openai/other/chat"]


def _delete_the_first_alert() -> Any:
    yield Sql("DELETE FROM alerts WHERE seq = 1")


async def test_a_page_of_detections_ends_between_two_moments(
    entries: EntryBook, book: AlertBook, an_occurrence: Any, clock: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("alerting.entry_reading.PAGE", 3)
    for size in (2, 5, 4):
        clock.pass_by(seconds=1)
        await book.record([an_occurrence(str(number)) for number in range(size)])

    sizes, since = [], LONG_AGO
    while True:
        page = await entries.detections(since=since)
        sizes.append(len(page.detections))
        if not page.more:
            break
        since = page.detections[-1].detected_at

    assert sizes == [2, 5, 4]


# --- what people answer ---------------------------------------------------------------------------------------------------

CHOICES = EntryConfigSettings.model_validate(
    {
        "title": "Choices",
        "preset_tags": [{"tag_category": "action", "text": "Stopped"}, {"tag_category": "root_cause", "text": "Bug"}],
        "ack_mechanisms": ["view", "set_root_cause"],
    }
)


async def test_the_first_answer_of_each_kind_stays(entries: EntryBook, find: Find, book: AlertBook, clock: Any) -> None:
    await entries.configs.follow_file([EntryConfigSettings(title="Free", allow_custom_action=True, allow_custom_root_cause=True)])
    await find()
    [entry] = (await entries.page(since=LONG_AGO)).entries
    for text in ("first", "second"):
        clock.pass_by(seconds=1)
        await entries.answer(entry.id, Answer.VIEW, actor="p")
        await entries.answer(entry.id, Answer.ACT, actor="p", text=text)
        await entries.answer(entry.id, Answer.ROOT_CAUSE, actor="p", text=text)
        await entries.answer(entry.id, Answer.ACKNOWLEDGE, actor="p")
        answered = await entries.answer(entry.id, Answer.DISMISS, actor="p")

    first = entry.created_at + timedelta(seconds=1)
    moments = (answered.viewed_at, answered.acted_at, answered.root_cause_set_at, answered.acknowledged_at, answered.dismissed_at)
    assert {moment.replace(microsecond=0) for moment in moments if moment} == {first.replace(microsecond=0)}
    assert (answered.action_taken, answered.root_cause) == ("first", "first")
    assert answered.updated_at > first
    history = [(one.action, one.feed, one.actor, one.note) for one in await book.history(1)]
    assert history[1:] == [
        ("viewed", "entries", "p", None),
        ("acted", "entries", "p", "first"),
        ("acted", "entries", "p", "Root cause: first"),
        ("acknowledged", "entries", "p", None),
        ("dismissed", "entries", "p", None),
    ]


async def test_an_entry_is_acknowledged_by_what_its_config_says_and_its_alerts_with_it(
    entries: EntryBook, find: Find, book: AlertBook
) -> None:
    await entries.configs.follow_file([CHOICES])
    await find()
    [entry] = (await entries.page(since=LONG_AGO)).entries

    acted = await entries.answer(entry.id, Answer.ACT, actor="p", text="Stopped")
    caused = await entries.answer(entry.id, Answer.ROOT_CAUSE, actor="p", text="Bug")

    assert (acted.acknowledged_at, caused.acknowledged_at is not None) == (None, True)
    alert = await book.get(1)
    assert alert is not None
    assert alert.acknowledged_by == "p"
    assert [(one.action, one.note) for one in await book.history(1)][1:] == [
        ("acted", "Stopped"),
        ("acted", "Root cause: Bug"),
        ("acknowledged", None),
    ]


@pytest.mark.parametrize(
    ("answer", "text", "said"),
    [
        (Answer.ACKNOWLEDGE, None, "acknowledged by view, set_root_cause"),
        (Answer.ACT, "Bug", "choose one of: 'Stopped'"),
        (Answer.ROOT_CAUSE, "stopped", "choose one of: 'Bug'"),
    ],
)
async def test_what_the_config_does_not_allow_is_refused_and_changes_nothing(
    entries: EntryBook, find: Find, answer: Answer, text: str | None, said: str
) -> None:
    await entries.configs.follow_file([CHOICES])
    await find()
    [entry] = (await entries.page(since=LONG_AGO)).entries

    with pytest.raises(NotAllowedError, match=said):
        await entries.answer(entry.id, answer, actor="p", text=text)

    assert await entries.get(entry.id) == entry


async def test_an_entry_is_answered_by_its_alerts_once_all_are(entries: EntryBook, find: Find, book: AlertBook, clock: Any) -> None:
    await entries.configs.follow_file([ONE])
    await find()
    await find(1, kind=AlertKind.PROMPT_DRIFT)
    [entry] = (await entries.page(since=LONG_AGO)).entries
    clock.pass_by(minutes=1)
    await book.acknowledge(1, actor="p", feed="org")
    half = await entries.get(entry.id)
    clock.pass_by(minutes=1)
    await book.acknowledge(2, actor="p", feed="org")
    whole = await entries.get(entry.id)
    await book.dismiss(1, actor="p", feed="local")
    await book.dismiss(2, actor="p", feed="local")

    gone = await entries.get(entry.id)

    assert (half.acknowledged_at, whole.acknowledged_at, whole.updated_at, whole.dismissed_at) == (None, clock(), clock(), None)
    assert gone.dismissed_at == clock()


async def test_an_entry_of_a_config_that_is_gone_is_still_answered(entries: EntryBook, find: Find) -> None:
    await entries.configs.follow_file([CHOICES])
    await find()
    [entry] = (await entries.page(since=LONG_AGO)).entries
    await entries.configs.follow_file([])

    assert (await entries.answer(entry.id, Answer.VIEW, actor="p")).acknowledged_at is not None
    with pytest.raises(NoEntryError):
        await entries.answer("none", Answer.VIEW, actor="p")


# --- configs --------------------------------------------------------------------------------------------------------------


async def test_three_configs_are_shipped_and_each_label_is_in_one(entries: EntryBook) -> None:
    await entries.configs.follow_file(SHIPPED)

    shipped = [(one.settings.title, one.settings.time_window_seconds, one.settings.min_events) for one in await entries.configs.all()]
    assert shipped == [("Security", 300, 1), ("Spend", 3_600, 1), ("Traffic anomalies", 600, 3)]
    assert sorted(label for one in SHIPPED for label in one.labels) == sorted(LABELS)


def test_a_config_that_cannot_be_meant_is_refused() -> None:
    twice = {"entry_configs": [{"title": "A"}, {"title": "A"}]}
    for settings, said in (
        (twice, "'A' stands twice"),
        ({"entry_configs": [{"title": "A", "labels": ["rule_dormant"]}]}, "'rule_dormant' is no label of a detection"),
        ({"entry_configs": [{"title": "A", "labels": "prompt_size"}]}, "labels"),
        ({"entry_configs": [{"title": "A", "ack_mechanisms": ["view", "view"]}]}, "one of them stands twice"),
    ):
        with pytest.raises(ValidationError, match=said):
            AlertingSettings.model_validate(settings)


async def test_a_config_of_the_file_keeps_its_moments_until_it_changes(entries: EntryBook, clock: Any) -> None:
    moments = []
    for settings in (ONE, ONE, ONE.model_copy(update={"min_events": 2})):
        await entries.configs.follow_file([settings])
        [kept] = await entries.configs.all()
        moments.append((kept.created_at, kept.updated_at))
        clock.pass_by(hours=1)

    assert moments[0] == moments[1]
    assert (moments[2][0], moments[2][1] > moments[1][1]) == (moments[1][0], True)


async def test_configs_are_made_changed_and_removed_with_a_trace(entries: EntryBook, find: Find, database: Any, clock: Any) -> None:
    await entries.configs.follow_file([THREE])
    made = await entries.configs.create(ONE, actor="p")
    await find()
    changed = await entries.configs.change(made.id, ONE.model_copy(update={"title": "Other"}), actor="p")
    await find(61)
    await entries.configs.silence(made.id, until=clock() + timedelta(hours=1), actor="p")
    await entries.configs.remove(made.id, actor="p")
    await find(61)

    assert (changed.id, changed.settings.title, changed.origin) == (made.id, "Other", "store")
    assert [title for title, _, _ in await shown(entries)] == ["All", "Other"]
    trail = [row for (row,) in await database.read("SELECT action FROM audit ORDER BY seq")]
    assert trail == ["entry_config.created", "entry_config.updated", "entry_silence.created", "entry_config.deleted"]
    assert [one.settings.title for one in await entries.configs.all()] == ["Three"]


async def test_a_config_of_the_file_is_changed_in_the_file_alone(entries: EntryBook) -> None:
    await entries.configs.follow_file([ONE])
    [kept] = await entries.configs.all()

    with pytest.raises(DefinedInConfigError, match=r"alerting\.entry_configs"):
        await entries.configs.change(kept.id, THREE, actor="p")
    with pytest.raises(DefinedInConfigError):
        await entries.configs.remove(kept.id, actor="p")
    with pytest.raises(NoConfigError):
        await entries.configs.remove("none", actor="p")
    with pytest.raises(NoConfigError):
        await entries.configs.silence("none", until=None, actor="p")
    with pytest.raises(NoConfigError):
        await entries.configs.get("none")


async def test_a_stored_config_that_cannot_be_read_stops_nobody(entries: EntryBook, find: Find, database: Any) -> None:
    made = await entries.configs.create(ONE, actor="p")
    await entries.configs.create(THREE, actor="p")
    await find()
    [entry] = (await entries.page(since=LONG_AGO)).entries
    await database.write(lambda: _spoil(made.id))
    await find(61)

    assert await entries.configs.broken() == [made.id]
    assert await shown(entries) == [("All", "openai/bot/chat", 1)]
    assert len((await entries.detections(since=LONG_AGO)).detections) == 2
    with pytest.raises(NotAllowedError, match="made by another version"):
        await entries.answer(entry.id, Answer.VIEW, actor="p")
    await entries.configs.remove(made.id, actor="p")
    assert await entries.configs.broken() == []


async def test_what_is_known_is_shown_while_the_store_cannot_be_written(
    entries: EntryBook, find: Find, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_work: Any) -> None:
        raise StoreError("the disk is full")

    await entries.configs.follow_file([ONE])
    await find(agent="a")
    await entries.follow()
    await find(agent="b")
    with monkeypatch.context() as patched:
        patched.setattr(database, "write", full)
        meanwhile = await shown(entries)
        detected = (await entries.detections(since=LONG_AGO)).detections
        with pytest.raises(StoreError, match="disk is full"):
            await entries.follow()

    assert meanwhile == [("All", "openai/a/chat", 1)]
    assert [one.place.name for one in detected] == ["openai/a/chat"]
    assert len(await shown(entries)) == 2


def _spoil(config_id: str) -> Any:
    yield Sql("UPDATE entry_configs SET definition = ? WHERE id = ?", ('{"title": "x", "labels": ["of tomorrow"]}', config_id))


# --- retention ------------------------------------------------------------------------------------------------------------


async def test_what_nobody_touched_for_long_is_deleted_with_all_that_hangs_on_it(
    entries: EntryBook, find: Find, database: Any, clock: Any
) -> None:
    await entries.configs.follow_file([EntryConfigSettings(title="Wide", time_window_seconds=604_800), THREE])
    [wide, _three] = await entries.configs.all()
    await find(agent="old")
    await find(agent="long")
    await entries.follow()
    await entries.configs.silence(wide.id, place="x", until=clock() + timedelta(hours=1), actor="p")
    clock.pass_by(days=6)
    await find(agent="long")
    await entries.follow()
    clock.pass_by(days=5)

    deleted = await entries.prune(clock() - timedelta(days=7))

    assert deleted == 1
    assert await shown(entries) == [("Wide", "openai/long/chat", 1)]
    for table, left in (("entry_events", 1), ("entry_alerts", 1), ("entry_silences", 0), ("places", 1), ("entry_waiting", 1)):
        assert await database.read(f"SELECT COUNT(*) FROM {table}") == [(left,)], table  # noqa: S608  # the names above
    assert [one.name for one in await entries.places()] == ["openai/long/chat"]


async def test_looking_for_new_detections_reads_none_of_the_old(database: Any) -> None:
    questions = {"undone": (UNDONE, (1, 2)), "new": (_NEW, (1,)), "ended": (_ENDED, (1,)), "lapsed": (_LAPSED, (1, 1))}

    for name, (question, params) in questions.items():
        plan = " ".join(str(row[3]) for row in await database.read(f"EXPLAIN QUERY PLAN {question}", params))
        assert "SCAN d" not in plan, (name, plan)
        assert "detections_detected" not in plan, (name, plan)
