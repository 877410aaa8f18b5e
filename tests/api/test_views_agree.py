"""Whatever is done through whichever feed, in whatever order: every view, the history and a simple model say the same."""

import contextlib
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from alerting.entry_settings import SHIPPED
from alerting.finding import Finding, Occurrence
from alerting.fingerprint import fingerprint
from alerting.kinds import KINDS
from alerting.usage_measures import Measurement
from alerting.usage_watch import Firing, UsageWatch, finding_of
from api.services import Services
from tests.support.expected import QUIET, SORTS, USAGE, Done, Expected, Sort
from tests.support.house import House
from tests.support.views import CHECKS, ORG, Living
from tollwatch.control import Commands, ControlError

SILENCE = timedelta(hours=3)

SPENDING = {"name": "spending", "type": "cost_threshold", "threshold": 1, "period": "hour"}

WAYS = st.sampled_from(["recorded", "enqueued", "shared"])
"""How findings come into the book."""

ANSWERS = [
    ("local", "dismiss"),
    *(("rules", verb) for verb in ("acknowledge", "resolve")),
    *(("org", status) for status in ("acknowledged", "resolved")),
    *(("cli", command) for command in ("acknowledge", "resolve", "dismiss", "act")),
]
"""Through which feed people answer an alert, and how."""


class ViewsAgree(Living, RuleBasedStateMachine):
    """Findings, people and time, through every feed; the store and the API are real."""

    def __init__(self, template: Services) -> None:
        super().__init__()
        self.template = template
        self.folder = Path(tempfile.mkdtemp())

    @initialize()
    def open_house(self) -> None:
        self.house: House = self.run(House.open(self.folder, template=self.template, now=lambda: self.time))
        self.run(self.house.services.entries.configs.follow_file(SHIPPED))
        self.ask("POST", "/api/account/alerts", json=SPENDING, status=201)

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.run(self.house.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    # --- findings and time -----------------------------------------------------------------------------------------------

    @rule(
        found=st.lists(st.tuples(st.sampled_from(sorted(SORTS)), st.sampled_from("aab"), st.integers(1, 3)), min_size=1, max_size=4),
        way=WAYS,
    )
    def find_some(self, found: list[tuple[str, str, int]], way: str) -> None:
        for sort, name, times in found:
            self.find(sort, name, times, way)

    @rule()
    def fire(self) -> None:
        services = self.house.services
        watch = UsageWatch(
            self.house.database, services.alerts, services.usage_alerts, budgets=(), expire_after=QUIET, now=lambda: self.time
        )
        [alert] = services.usage_alerts.all
        measured = Measurement(value=2.0, beyond=True, told="too much", evidence={})
        firing = Firing(alert=alert, bucket=alert.bucket(self.time), measured=measured)
        is_first = firing.bucket.starts_at not in self.fired
        assert self.run(watch.fire(firing, self.time)) is is_first
        self.run(services.entries.follow())
        if is_first:
            self.fired.add(firing.bucket.starts_at)
            self.expect(USAGE, alert.id, 1, finding_of(firing, now=self.time, lasts=QUIET))

    @rule(number=st.integers(0, 99), times=st.integers(1, 3), way=WAYS)
    def find_again(self, number: int, times: int, way: str) -> None:
        if (alert := self.some(number)) and alert.sort is not USAGE:
            self.find(next(name for name, sort in SORTS.items() if sort is alert.sort), alert.name, times, way)

    def find(self, sort: str, name: str, times: int, way: str) -> None:
        occurrence = self.occurrence(SORTS[sort], name)
        self.run(self.record([occurrence] * times, way))
        self.run(self.house.services.entries.follow())

        if not (self.off and SORTS[sort].local == "prompt_size"):
            self.expect(SORTS[sort], name, times, occurrence.finding)
        else:
            assert self.unseen_detections() == {}

    async def record(self, occurrences: list[Occurrence], way: str) -> None:
        book = self.house.services.alerts
        if way == "recorded":
            await book.record(occurrences)
        elif way == "shared":
            await self.house.database.write(lambda: book.work(occurrences))
        else:
            book.enqueue(occurrences)
            await book.drain()

    def expect(self, sort: Sort, name: str, times: int, finding: Finding) -> None:
        key = fingerprint(sort.kind, finding.episode)
        if key in self.mutes and sort.ends == "quiet" and self.is_over(*self.mutes[key]):
            del self.mutes[key]  # quiet for long enough, though nothing swept it
        muted = self.mutes.get(key)
        if muted:
            alert = muted[0]
            self.mutes[key] = (alert, self.time)
        elif key in self.open:
            alert = self.open[key]
        else:
            alert = self.open[key] = Expected(len(self.alerts) + 1, sort, name, key, self.time, finding.ends_at)
            alert.history.append(("opened", None, None))
            self.alerts.append(alert)
        if alert.count:
            self.raised.add(alert.seq)
        alert.count += times
        alert.last_seen = self.time
        new = self.unseen_detections()
        assert list(new.values()) == [alert.seq] * times
        self.detections |= new
        if muted or self.held_back(alert):
            self.held |= set(new)

    @rule(minutes=st.sampled_from([1, 4, 59, 600, 1500]), swept=st.sampled_from([True, True, False]))
    def wait(self, minutes: int, swept: bool) -> None:  # noqa: FBT001  # hypothesis passes it
        self.time += timedelta(minutes=minutes)
        if swept:
            self.sweep()

    def sweep(self) -> None:
        over = [alert for alert in self.open.values() if self.is_over(alert, alert.last_seen)]
        assert self.run(self.house.services.alerts.expire(self.time)) == len(over)
        for alert in over:
            self.end(alert, "expired", feed=None)
        self.mutes = {key: mute for key, mute in self.mutes.items() if not self.is_over(*mute)}

    @rule(sort=st.sampled_from(["locked", "degraded", "conflict"]), name=st.sampled_from("aab"), later=st.booleans())
    def clear(self, sort: str, name: str, later: bool) -> None:  # noqa: FBT001  # hypothesis passes it
        key = fingerprint(SORTS[sort].kind, self.occurrence(SORTS[sort], name).finding.episode)
        self.run(self.clearing(key, later=later))
        self.mutes.pop(key, None)
        if alert := self.open.get(key):
            self.end(alert, "condition_cleared", feed=None)

    async def clearing(self, key: str, *, later: bool) -> None:
        book = self.house.services.alerts
        if later:
            book.enqueue_clear(key)
            await book.drain()
        else:
            assert await book.clear(key) is (key in self.open)

    @rule(what=st.sampled_from(["restart", "toggle"]))
    def operate(self, what: str) -> None:
        if what == "restart":
            self.restart()
        else:
            self.toggle()

    def restart(self) -> None:
        self.run(self.house.close())
        self.house = self.run(House.open(self.folder, template=self.template, now=lambda: self.time))

    def toggle(self) -> None:
        self.off = not self.off
        self.ask("PUT", "/api/alerts/config", json={"toggles": {"prompt_size": not self.off}})

    # --- people, through the feeds and the command line ------------------------------------------------------------------

    def some(self, number: int) -> Expected | None:
        return self.alerts[number % len(self.alerts)] if self.alerts else None

    @rule(number=st.integers(0, 99), way=st.sampled_from(ANSWERS))
    def answer(self, number: int, way: tuple[str, str]) -> None:
        feed, verb = way
        if feed == "local":
            self.dismiss_locally(number)
        elif feed == "rules":
            self.answer_as_author(number, verb)
        elif feed == "org":
            self.patch(number, verb)
        else:
            self.command(number, verb)

    def dismiss_locally(self, number: int) -> None:
        alert = self.some(number)
        shown = alert is not None and alert.sort.local is not None
        self.ask("POST", "/api/alerts/dismiss", json={"id": f"alert_{alert.seq if alert else 7}"}, status=200 if shown else 404)
        if alert and shown:
            self.dismissed(alert, "local")

    def answer_as_author(self, number: int, verb: str) -> None:
        alert = self.some(number)
        known = alert is not None and KINDS[alert.sort.kind].rules_type is not None
        status = 404 if not known else 409 if alert and alert.resolution and verb == "acknowledge" else 200
        body = {"json": {"resolution_note": "fixed"}} if verb == "resolve" else {}
        self.ask("POST", f"/api/v1/alerts/alert-{alert.seq if alert else 7:03d}/{verb}", status=status, **body)
        if not alert or status != 200:
            return
        if verb == "acknowledge":
            self.acknowledged(alert, "rules")
        else:
            self.end(alert, "resolved", feed="rules", note="fixed")

    def patch(self, number: int, status: str) -> None:
        alert = self.some(number)
        if alert is None or alert.sort.org is None:
            return
        refused = status == "acknowledged" and alert.resolution is not None
        self.ask("PATCH", f"{ORG}/{self.id_of(alert)}", json={"status": status}, status=409 if refused else 200)
        if refused:
            return
        if status == "acknowledged":
            self.acknowledged(alert, "org")
        else:
            self.end(alert, "resolved", feed="org")

    def command(self, number: int, command: str) -> None:
        alert = self.some(number)
        services = self.house.services
        commands = Commands(tokens=services.access.tokens, alerts=services.alerts)
        given = {"id": f"alert_{alert.seq if alert else 7}", "actor": "cli", "text": "did it", "note": None}
        refused = alert is None or (command == "acknowledge" and alert.resolution is not None)
        with pytest.raises(ControlError) if refused else contextlib.nullcontext():
            self.run(commands.answer(f"alerts.{command}", given))
        if refused or alert is None:
            return
        if command in {"acknowledge", "act"}:
            self.acknowledged(alert, "cli")
        if command == "act":
            alert.history.append(("acted", "cli", "did it"))
        if command == "resolve":
            self.end(alert, "resolved", feed="cli")
        if command == "dismiss":
            self.dismissed(alert, "cli")

    @rule(number=st.integers(0, 99), verb=st.sampled_from(["view", "acknowledge", "act", "root_cause", "dismiss"]))
    def answer_entry(self, number: int, verb: str) -> None:
        ids = [one["id"] for one in self.entries_shown()]
        if not ids:
            return
        entry_id = ids[number % len(ids)]
        text = {"act": "None needed", "root_cause": "Other"}.get(verb)
        self.ask("POST", f"/api/v1/alerts/entries/{entry_id}/{verb}", **({"json": {"text": text}} if text else {}))
        done = self.entries.setdefault(entry_id, Done())
        is_first = not (done.acted if verb == "act" else done.caused)
        done.viewed |= verb == "view"
        done.acted |= verb == "act"
        done.caused |= verb == "root_cause"
        done.dismissed |= verb == "dismiss"
        done.acknowledged |= verb in {"acknowledge", "act", "root_cause"}
        for alert in self.members(entry_id):
            if verb == "view" and not alert.viewed:
                alert.viewed = True
                alert.history.append(("viewed", "entries", None))
            if verb == "dismiss":
                self.dismissed(alert, "entries")
            if text and is_first:
                alert.history.append(("acted", "entries", text if verb == "act" else f"Root cause: {text}"))
            if verb in {"acknowledge", "act", "root_cause"}:
                self.acknowledged(alert, "entries")

    @rule(name=st.sampled_from("aab"), label=st.sampled_from(["user", "user", "budget_id"]))
    def silence(self, name: str, label: str) -> None:
        wanted = {
            "matchers": [{"name": label, "value": name, "isRegex": False}],
            "startsAt": self.time.isoformat(),
            "endsAt": (self.time + SILENCE).isoformat(),
            "createdBy": "p",
            "comment": "c",
        }
        made = self.ask("POST", "/alertmanager/api/v2/silences", json=wanted)["silenceID"]
        self.silences[made] = (f"{label}={name}", self.time + SILENCE)

    @rule(number=st.integers(0, 99))
    def expire_silence(self, number: int) -> None:
        if not self.silences:
            return
        silence_id = sorted(self.silences)[number % len(self.silences)]
        self.ask("DELETE", f"/alertmanager/api/v2/silence/{silence_id}")
        matcher, ends_at = self.silences[silence_id]
        self.silences[silence_id] = (matcher, min(ends_at, self.time))

    # --- what must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def every_view_says_what_the_model_says(self) -> None:
        if not hasattr(self, "house"):
            return
        for check in CHECKS:
            check(self)


SHORT = settings(max_examples=5, stateful_step_count=20, deadline=None)
LONG = settings(max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("extent", [SHORT, pytest.param(LONG, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])], ids=["short", "long"])
def test_all_views_agree_whatever_is_done(services: Services, extent: settings) -> None:
    run_state_machine_as_test(lambda: ViewsAgree(services), settings=extent)
