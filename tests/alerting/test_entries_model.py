"""Whatever is detected, silenced, read, restarted and by how many gateways: entries are what the contract's own words make of it."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from alerting.book import AlertBook
from alerting.entries import EntryBook
from alerting.entry_configs import EVERYWHERE
from alerting.entry_settings import EntryConfigSettings
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from alerting.settings import AlertingSettings
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from storage.sqlite import SqliteDatabase

START = datetime(2026, 3, 10, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
CONFIGS = (
    EntryConfigSettings(title="each", time_window_seconds=10, min_events=1),
    EntryConfigSettings(title="three", time_window_seconds=20, min_events=3),
    EntryConfigSettings(title="some", time_window_seconds=30, min_events=2, labels=("prompt_size",), rois=("*/a/*",)),
)
KINDS = (AlertKind.PROMPT_SIZE, AlertKind.RATE_LIMIT_HIT)


@dataclass
class Detected:
    """What the model remembers of a detection."""

    at: datetime
    place: str
    label: str
    silent: frozenset[str]
    """The configs that made no entry of it."""


@dataclass
class Lane:
    """Entries of one config at one place, in the words of the contract."""

    entries: list[list[datetime]] = field(default_factory=list)
    waiting: list[datetime] = field(default_factory=list)

    def take(self, at: datetime, config: EntryConfigSettings) -> None:
        window = timedelta(seconds=config.time_window_seconds)
        if self.entries and at - self.entries[-1][-1] <= window:
            self.entries[-1].append(at)
            return
        self.waiting = [*(one for one in self.waiting if at - one <= window), at]
        if len(self.waiting) >= config.min_events:
            self.entries.append(self.waiting)
            self.waiting = []


def naive(detections: list[Detected], config: EntryConfigSettings) -> list[tuple[str, list[datetime]]]:
    """Return the entries that a config makes, grouped one by one in memory."""
    lanes: dict[str, Lane] = {}
    for one in detections:
        if config.takes(one.label, one.place) and config.title not in one.silent:
            lanes.setdefault(one.place, Lane()).take(one.at, config)
    return sorted((place, events) for place, lane in lanes.items() for events in lane.entries)


class EntriesAgainstModel(RuleBasedStateMachine):
    """Detects, silences, waits, and lets two gateways group in turn, at once, and after a restart."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.time = START
        self.detections: list[Detected] = []
        self.silences: dict[tuple[str, str], datetime] = {}
        self.polled: list[str] = []
        self.since = LONG_AGO

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open_store(self) -> None:
        self.first, self.second = (self.run(SqliteDatabase.open(self.folder / "entries.db")) for _ in range(2))
        self.alerts = AlertBook(self.first, org_id="org", settings=AlertingSettings(), now=lambda: self.time)
        self.gateways = [self.gateway(self.first), self.gateway(self.second)]
        self.run(self.gateways[0].configs.follow_file(CONFIGS))
        self.ids = {one.settings.title: one.id for one in self.run(self.gateways[0].configs.all())}

    def gateway(self, database: SqliteDatabase) -> EntryBook:
        alerts = AlertBook(database, org_id="org", settings=AlertingSettings(), now=lambda: self.time)
        suppression = Suppression(database, SilenceBook(database, defined=(), now=lambda: self.time), now=lambda: self.time)
        return EntryBook(database, alerts, suppression=suppression, line="here", now=lambda: self.time)

    def teardown(self) -> None:
        if hasattr(self, "first"):
            try:
                self.entries_are_what_the_contract_says()
            finally:
                self.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        for database in (self.first, self.second):
            self.run(database.close())

    # --- what happens ---------------------------------------------------------------------------------------------------

    @rule(agent=st.sampled_from("ab"), kind=st.sampled_from(KINDS), times=st.integers(1, 3), step=st.integers(0, 9))
    def detect(self, agent: str, kind: AlertKind, times: int, step: int) -> None:
        for _ in range(times):
            self.time += timedelta(seconds=step, microseconds=1)
            finding = Finding(
                kind=kind,
                action=Action.ALERT,
                severity=Severity.MEDIUM,
                title="t",
                message="m",
                episode=(agent,),
                subject=Subject(service="s", agent=agent, endpoint="chat"),
            )
            self.run(self.alerts.record([Occurrence(finding=finding, taken=Taken.ALERTED, at=self.time)]))
            place = f"s/{agent}/chat"
            silent = frozenset(
                title for (title, where), until in self.silences.items() if self.time < until and where in (EVERYWHERE, place)
            )
            self.detections.append(Detected(self.time, place, kind.value, silent))

    @rule(seconds=st.sampled_from([1, 10, 11, 20, 31, 300]))
    def wait(self, seconds: int) -> None:
        self.time += timedelta(seconds=seconds)

    @rule(title=st.sampled_from([one.title for one in CONFIGS]), agent=st.sampled_from(["", "a", "b"]), seconds=st.sampled_from([0, 5, 25]))
    def silence(self, title: str, agent: str, seconds: int) -> None:
        where, until = f"s/{agent}/chat" if agent else EVERYWHERE, self.time + timedelta(seconds=seconds)
        given = until if seconds else None
        self.run(self.gateways[0].configs.silence(self.ids[title], place=where, until=given, actor="p"))
        self.silences[title, where] = until

    @rule(number=st.integers(0, 1))
    def group_at_one(self, number: int) -> None:
        self.run(self.gateways[number].follow())

    @rule()
    def group_at_both_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(one.follow() for one in (*self.gateways, *self.gateways)))

        self.run(both())

    @rule(number=st.integers(0, 1))
    def restart(self, number: int) -> None:
        self.gateways[number] = self.gateway(self.first if number == 0 else self.second)
        self.run(self.gateways[number].configs.follow_file(CONFIGS))

    @rule(number=st.integers(0, 1))
    def poll(self, number: int) -> None:
        page = self.run(self.gateways[number].page(since=self.since))
        self.polled += [one.id for one in page.entries]
        if page.entries:
            self.since = page.entries[-1].created_at

    # --- what must hold, asked now and then: each question groups what is left -----------------------------------------

    @rule()
    def entries_are_what_the_contract_says(self) -> None:
        page = self.run(self.gateways[1].page(since=LONG_AGO))
        made = sorted((one.title, one.place.name, [event.detected_at for event in one.events]) for one in page.entries)
        expected = sorted((config.title, *one) for config in CONFIGS for one in naive(self.detections, config))
        assert made == expected
        assert all(one.event_count == len(one.events) for one in page.entries)
        assert [one.id for one in page.entries][: len(self.polled)] == self.polled
        shown = self.run(self.gateways[0].detections(since=LONG_AGO)).detections
        assert [one.detected_at for one in shown] == [one.at for one in self.detections]
        changes = [one.updated_at for one in shown]
        assert all(len(list(same)) == 1 for _, same in groupby(sorted(changes)))


EntriesAgainstModel.TestCase.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEntriesAgainstModel = EntriesAgainstModel.TestCase


@pytest.mark.soak
def test_for_long() -> None:
    run_state_machine_as_test(EntriesAgainstModel, settings=settings(EntriesAgainstModel.TestCase.settings, max_examples=500))
