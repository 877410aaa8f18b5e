"""Whatever people and calls do in whatever order, the book says what a simple model says."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alerting.book import AlertBook
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Taken
from alerting.fingerprint import fingerprint
from alerting.settings import AlertingSettings
from storage.sqlite import SqliteDatabase

START = datetime(2026, 3, 10, tzinfo=UTC)
QUIET = timedelta(hours=24)
PERIOD = timedelta(hours=10)

KINDS = (AlertKind.PROMPT_SIZE, AlertKind.BUDGET_WARNING, AlertKind.GATEWAY_DEGRADED)


@dataclass
class Expected:
    """What the model knows of one alert."""

    kind: AlertKind
    key: str
    last_seen: datetime
    ends_at: datetime | None
    count: int = 0
    acknowledged: bool = False
    resolution: str | None = None


class BookAgainstModel(RuleBasedStateMachine):
    """Records, acknowledges, dismisses, resolves, clears and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.time = START
        self.alerts: list[Expected] = []
        self.open: dict[str, int] = {}
        self.mutes: dict[str, tuple[int, datetime]] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open_store(self) -> None:
        self.database = self.run(SqliteDatabase.open(self.folder / "book.db"))
        self.book = AlertBook(self.database, org_id="org", settings=AlertingSettings(), now=lambda: self.time)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.run(self.book.drain())
            self.run(self.database.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    # --- what happens, to the book and to the model ----------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), name=st.sampled_from("ab"), times=st.integers(1, 3), enqueue=st.booleans())
    def record(self, kind: AlertKind, name: str, times: int, enqueue: bool) -> None:  # noqa: FBT001  # hypothesis passes it
        occurrence = self.occurrence(kind, name)
        if enqueue:
            self.run(self.enqueued([occurrence] * times))
        else:
            self.run(self.book.record([occurrence] * times))

        key = fingerprint(kind, occurrence.finding.episode)
        number = self.mutes[key][0] if key in self.mutes else self.open.get(key)
        if number is None:
            number = self.open[key] = len(self.alerts)
            self.alerts.append(Expected(kind, key, self.time, occurrence.finding.ends_at))
        if key in self.mutes:
            self.mutes[key] = (number, self.time)
        self.alerts[number].count += times
        self.alerts[number].last_seen = self.time

    @rule(number=st.integers(0, 9))
    def acknowledge(self, number: int) -> None:
        self.run(self.book.acknowledge(number + 1, actor="p", feed="org"))
        if number < len(self.alerts) and not self.alerts[number].resolution:
            self.alerts[number].acknowledged = True

    @rule(number=st.integers(0, 9))
    def resolve(self, number: int) -> None:
        self.run(self.book.resolve(number + 1, actor="p", feed="org"))
        self.end(number, "resolved")

    @rule(number=st.integers(0, 9))
    def dismiss(self, number: int) -> None:
        found = self.run(self.book.dismiss(number + 1, actor="p", feed="local"))
        assert found is (number < len(self.alerts))
        if self.end(number, "dismissed"):
            self.mutes[self.alerts[number].key] = (number, self.time)

    @rule(name=st.sampled_from("ab"))
    def clear(self, name: str) -> None:
        key = fingerprint(AlertKind.GATEWAY_DEGRADED, self.occurrence(AlertKind.GATEWAY_DEGRADED, name).finding.episode)
        was_open = key in self.open
        assert self.run(self.book.clear(key)) is was_open
        self.mutes.pop(key, None)
        if was_open:
            self.end(self.open[key], "condition_cleared")

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.time += timedelta(hours=hours)
        over = [number for number in self.open.values() if self.is_over(self.alerts[number])]
        assert self.run(self.book.expire(self.time)) == len(over)
        for number in over:
            self.end(number, "expired")
        self.mutes = {key: mute for key, mute in self.mutes.items() if not self.is_quiet(*mute)}

    async def enqueued(self, occurrences: list[Occurrence]) -> None:
        self.book.enqueue(occurrences)
        await self.book.drain()

    # --- the model's own ------------------------------------------------------------------------------------------------

    def occurrence(self, kind: AlertKind, name: str) -> Occurrence:
        starts_at = START + (self.time - START) // PERIOD * PERIOD
        is_period = kind is AlertKind.BUDGET_WARNING
        finding = Finding(
            kind=kind,
            action=Action.ALERT,
            severity=Severity.MEDIUM,
            title="t",
            message="m",
            episode=(name, starts_at.isoformat()) if is_period else (name,),
            ends_at=starts_at + PERIOD if is_period else None,
        )
        return Occurrence(finding=finding, taken=Taken.ALERTED, at=self.time)

    def end(self, number: int, resolution: str) -> bool:
        if number >= len(self.alerts) or self.alerts[number].resolution:
            return False
        self.alerts[number].resolution = resolution
        del self.open[self.alerts[number].key]
        return True

    def is_over(self, alert: Expected) -> bool:
        if alert.ends_at:
            return alert.ends_at <= self.time
        return alert.kind is not AlertKind.GATEWAY_DEGRADED and alert.last_seen + QUIET <= self.time

    def is_quiet(self, number: int, since: datetime) -> bool:
        alert = self.alerts[number]
        if alert.ends_at:
            return alert.ends_at <= self.time
        return alert.kind is not AlertKind.GATEWAY_DEGRADED and since + QUIET <= self.time

    # --- what must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def the_book_says_what_the_model_says(self) -> None:
        if not hasattr(self, "database"):
            return
        stored = list(reversed(self.run(self.book.list(limit=1000))))
        seen = [(a.kind, a.occurrence_count, a.acknowledged_at is not None, a.resolution, a.last_seen_at) for a in stored]
        assert seen == [(a.kind, a.count, a.acknowledged, a.resolution, a.last_seen) for a in self.alerts]
        [(detections,)] = self.run(self.database.read("SELECT COUNT(*) FROM detections"))
        assert detections == sum(alert.count for alert in self.alerts)
        twice = self.run(self.database.read("SELECT fingerprint FROM alerts WHERE resolved_at IS NULL GROUP BY 1 HAVING COUNT(*) > 1"))
        assert twice == []


BookAgainstModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestBookAgainstModel = BookAgainstModel.TestCase
