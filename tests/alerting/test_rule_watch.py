"""Alerts about rules over simulated weeks: each is raised once, stays while its condition holds, and ends with it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from alerting.alert import Status
from alerting.book import AlertBook
from alerting.conflicts import Analysis
from alerting.finding import AlertKind
from alerting.policy import Policy
from alerting.rule_counts import RuleCounts
from alerting.rule_hooks import Message, Report, RuleHooks
from alerting.rule_settings import RuleSettings
from alerting.rule_watch import RuleWatch, read_health
from alerting.settings import RuleHealthSettings

KEPT = {"description": "Costs are bound by contract.", "owner": "platform team"}


def a_rule(rule_id: str, action: str, **match: Any) -> RuleSettings:
    return RuleSettings.model_validate({"id": rule_id, "title": f"Rule {rule_id} of the test", "match": match, "action": action})


class Watched:
    """Rules that change, over a real store, book and counts."""

    def __init__(self, database: Any, book: AlertBook, clock: Any, a_call: Callable[..., Any], settings: RuleHealthSettings) -> None:
        self.rules: list[RuleSettings] = []
        self.counts = RuleCounts(database)
        self.database, self.book, self.clock, self.a_call, self.settings = database, book, clock, a_call, settings
        self.watch = RuleWatch(database=database, book=book, counts=self.counts, rules=lambda: self.rules, settings=settings, now=clock)

    async def change(self, *rules: RuleSettings) -> None:
        self.rules = list(rules)
        await self.watch.changed()
        await self.watch.check()

    def call(self, number: int = 1, **changes: Any) -> None:
        """Judge some calls as the gate does, and count them."""
        policy = Policy(self.rules)
        for _ in range(number):
            call = self.a_call(**changes)
            decision = policy.decide(call, tokens=1, exact=True)
            if decision.tally is not None:
                self.counts.add(decision.tally, decision.position, call.started_at)

    async def days(self, number: int, *, calls: int = 0, **changes: Any) -> None:
        """Let days pass; each has an hourly check at its end, after its calls."""
        for _ in range(number):
            self.clock.pass_by(days=1)
            self.call(calls, **changes)
            await self.watch.check()

    async def open(self, kind: AlertKind) -> list[str]:
        return sorted(str(alert.subject.rule_id) for alert in await self.book.list(kinds=[kind], dismissed=False))

    async def all(self, kind: AlertKind) -> Any:
        return await self.book.list(kinds=[kind])

    async def score(self, rule_id: str) -> int:
        healths = await read_health(self.database, self.counts, self.rules, analysis=Analysis(), settings=self.settings, now=self.clock())
        return next(one.score for one in healths if one.rule.id == rule_id)


@pytest.fixture
async def watched(database: Any, book: AlertBook, clock: Any, a_call: Any) -> Any:
    made = Watched(database, book, clock, a_call, RuleHealthSettings())
    yield made
    await made.counts.drain()


def kept(rule_id: str, action: str, **match: Any) -> RuleSettings:
    return a_rule(rule_id, action, **match).model_copy(update=KEPT)


# --- conflicts -----------------------------------------------------------------------------------------------------------


async def test_a_conflict_is_alerted_once_and_ends_when_the_rules_change(watched: Watched) -> None:
    block, allow = a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", department="sales")

    await watched.change(block, allow)
    await watched.change(block, allow)

    (alert,) = await watched.all(AlertKind.RULE_CONFLICT)
    assert (alert.status, alert.occurrence_count, alert.severity) == (Status.OPEN, 1, "high")
    assert alert.evidence[0]["conflicting_rule_id"] == "A"

    await watched.change(block, allow.model_copy(update={"priority": 1}))

    (alert,) = await watched.all(AlertKind.RULE_CONFLICT)
    assert (alert.status, alert.resolution) == (Status.RESOLVED, "condition_cleared")


async def test_a_conflict_that_a_person_ended_comes_back_only_when_it_began_anew(watched: Watched) -> None:
    rules = [a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", department="sales")]
    await watched.change(*rules)
    (alert,) = await watched.all(AlertKind.RULE_CONFLICT)

    await watched.book.dismiss(alert.seq, actor="ann", feed="rules")
    await watched.change(*rules)

    assert await watched.open(AlertKind.RULE_CONFLICT) == []

    await watched.change(rules[0])
    await watched.change(*rules)

    assert await watched.open(AlertKind.RULE_CONFLICT) == ["B"]


async def test_a_conflict_of_another_type_is_another_alert(watched: Watched) -> None:
    await watched.change(a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", department="sales"))
    await watched.change(a_rule("A", "block"), a_rule("B", "allow", department="sales"))

    first, second = sorted(await watched.all(AlertKind.RULE_CONFLICT), key=lambda alert: alert.seq)
    assert (first.status, second.status) == (Status.RESOLVED, Status.OPEN)
    assert (first.evidence[0]["conflict_type"], second.evidence[0]["conflict_type"]) == ("opposite_actions", "shadowed")


async def test_the_watch_looks_at_once_and_at_each_change(watched: Watched) -> None:
    changed = asyncio.Event()
    watched.rules = [a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", department="sales")]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(watched.watch.run(changed))
        while await watched.open(AlertKind.RULE_CONFLICT) != ["B"]:  # noqa: ASYNC110 - the store is what tells
            await asyncio.sleep(0)
        watched.rules = []
        changed.set()
        while await watched.open(AlertKind.RULE_CONFLICT):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
        running.cancel()


# --- dormancy ------------------------------------------------------------------------------------------------------------


async def test_a_rule_is_dormant_after_ninety_days_without_evaluation_and_wakes_at_the_next(watched: Watched) -> None:
    await watched.change(kept("A", "block", model="o3", user="ann"), kept("B", "block", model="gpt-4*", user="ann"))

    await watched.days(90, calls=1, model="gpt-4o", caller={"user": "bob"})
    assert await watched.open(AlertKind.RULE_DORMANT) == []

    await watched.days(10, calls=1, model="gpt-4o", caller={"user": "bob"})
    assert await watched.open(AlertKind.RULE_DORMANT) == ["A"]
    (alert,) = await watched.all(AlertKind.RULE_DORMANT)
    assert (alert.occurrence_count, alert.severity) == (1, "low")
    assert alert.message == "Rule A has not been evaluated since it was enabled on 2026-03-10"

    watched.call(model="o3", caller={"user": "bob"})
    await watched.watch.check()

    assert [one.resolution for one in await watched.all(AlertKind.RULE_DORMANT)] == ["condition_cleared"]


async def test_a_rule_that_is_enabled_again_is_as_good_as_new(watched: Watched) -> None:
    rule = kept("A", "block", model="o3", user="ann")
    await watched.change(rule)
    await watched.days(95)
    await watched.change(rule.model_copy(update={"enabled": False}))
    assert await watched.open(AlertKind.RULE_DORMANT) == []

    await watched.change(rule)
    await watched.days(89)

    assert await watched.open(AlertKind.RULE_DORMANT) == []


# --- deny rate -----------------------------------------------------------------------------------------------------------


async def test_a_high_deny_rate_is_told_as_published_and_ends_below_the_margin(watched: Watched) -> None:
    await watched.change(kept("SEC-003", "block", model="gpt-4*", department={"not": "engineering"}))

    watched.call(9, caller={"department": "sales"})
    await watched.watch.check()
    assert await watched.open(AlertKind.RULE_HIGH_DENY_RATE) == []  # nine are too few

    watched.call(9, caller={"department": "sales"})
    watched.call(7, caller={"department": "engineering"})
    await watched.watch.check()
    (alert,) = await watched.all(AlertKind.RULE_HIGH_DENY_RATE)
    assert alert.message == "Rule SEC-003 has a 72% DENY rate over the last 30 days"
    assert alert.evidence[0] == {"rule_id": "SEC-003", "deny_rate": 0.72, "evaluation_count": 25, "period_days": 30}

    watched.call(15, caller={"department": "engineering"})  # 18 of 40 are 0.45: not below it
    await watched.watch.check()
    assert await watched.open(AlertKind.RULE_HIGH_DENY_RATE) == ["SEC-003"]

    watched.call(1, caller={"department": "engineering"})
    await watched.watch.check()
    assert await watched.open(AlertKind.RULE_HIGH_DENY_RATE) == []

    watched.call(2, caller={"department": "sales"})  # above 0.45 again, and not above 0.5
    await watched.watch.check()
    assert len(await watched.all(AlertKind.RULE_HIGH_DENY_RATE)) == 1


async def test_what_was_denied_more_than_thirty_days_ago_does_not_count(watched: Watched) -> None:
    await watched.change(kept("A", "block", model="gpt-4*", department="sales"))
    watched.call(20, caller={"department": "sales"})
    await watched.days(29)
    assert await watched.open(AlertKind.RULE_HIGH_DENY_RATE) == ["A"]

    await watched.days(1)

    assert await watched.open(AlertKind.RULE_HIGH_DENY_RATE) == []


# --- health --------------------------------------------------------------------------------------------------------------


async def test_a_rule_in_use_that_is_described_and_owned_is_wholly_healthy(watched: Watched) -> None:
    await watched.change(kept("A", "block", model="gpt-4*", department="sales"))
    watched.call(1, caller={"department": "sales"})
    watched.call(1, caller={"department": "engineering"})

    assert await watched.score("A") == 100


async def test_a_decline_is_told_once_and_ends_when_the_score_is_back(watched: Watched) -> None:
    rule = kept("A", "block", model="gpt-4*", department="sales")
    await watched.change(rule)
    watched.call(1, caller={"department": "sales"})
    watched.call(1, caller={"department": "engineering"})
    await watched.days(1)

    await watched.change(rule.model_copy(update={"owner": None, "description": None}))
    await watched.days(3)

    (alert,) = await watched.all(AlertKind.RULE_HEALTH_DECLINE)
    assert (alert.status, alert.occurrence_count) == (Status.OPEN, 1)
    assert alert.message == "The health score of rule A fell from 100 to 80"
    assert (alert.evidence[0]["previous_score"], alert.evidence[0]["ownership"], alert.evidence[0]["completeness"]) == (100, 0, 50)

    await watched.change(rule.model_copy(update={"owner": None}))  # 90: not within 5 of 100
    assert await watched.open(AlertKind.RULE_HEALTH_DECLINE) == ["A"]

    await watched.change(rule)
    assert await watched.open(AlertKind.RULE_HEALTH_DECLINE) == []


async def test_a_slow_decline_is_told_when_it_falls_below_forty(watched: Watched) -> None:
    await watched.change(a_rule("A", "block", model={"not": "*"}, department={"not": "sales"}).model_copy(update={"title": "A"}))

    await watched.days(200)

    (alert,) = await watched.all(AlertKind.RULE_HEALTH_DECLINE)
    assert alert.evidence[0]["previous_score"] >= 40 > alert.evidence[0]["score"]


async def test_what_is_known_outlives_a_restart(watched: Watched, database: Any, clock: Any, a_call: Any) -> None:
    rules = [a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", department="sales")]
    await watched.change(*rules)
    await watched.days(60)

    again = Watched(database, watched.book, clock, a_call, watched.settings)
    await again.change(*rules)
    await again.days(31)

    assert len(await again.all(AlertKind.RULE_CONFLICT)) == 1
    assert await again.open(AlertKind.RULE_DORMANT) == ["A", "B"]


# --- one rule, when somebody asks ------------------------------------------------------------------------------------------


async def test_a_rule_is_measured_when_somebody_asks_for_it_and_a_decline_is_told_at_once(watched: Watched) -> None:
    used = kept("A", "block", model="gpt-4*", department="sales")
    await watched.change(used)
    watched.call(1, caller={"department": "sales"})
    watched.call(1, caller={"department": "engineering"})
    await watched.days(1)
    watched.clock.pass_by(days=120)

    healthy = await watched.watch.health("A")
    assert await watched.open(AlertKind.RULE_HEALTH_DECLINE) == []  # to be read is not to be measured
    measured = await watched.watch.evaluate("A")

    assert healthy is not None
    assert measured is not None
    assert (healthy.score, measured.score) == (68, 68)
    assert watched.watch.is_dormant(measured)
    assert await watched.open(AlertKind.RULE_HEALTH_DECLINE) == ["A"]
    assert (measured.record.score, measured.record.measured_at) == (68, watched.clock())


async def test_no_health_is_told_of_a_rule_that_is_off_or_does_not_exist(watched: Watched) -> None:
    await watched.change(kept("A", "block", model="o3").model_copy(update={"enabled": False}))

    assert [await watched.watch.health(rule_id) for rule_id in ("A", "B")] == [None, None]
    assert [await watched.watch.evaluate(rule_id) for rule_id in ("A", "B")] == [None, None]


async def test_what_was_reported_about_a_rule_ends_with_the_rule_and_not_before(watched: Watched) -> None:
    await watched.change(kept("A", "block", model="o3"), kept("B", "block", model="o4"))
    hooks = RuleHooks(watched.database, watched.book, now=watched.clock)
    for rule_id in ("A", "B"):
        report = Report(kind=AlertKind.RULE_HEALTH_DECLINE, rule_id=rule_id, message=None, metadata={})
        await hooks.raise_alert(Message(hook="ci", id=rule_id), report)

    await watched.days(2)
    await watched.change(kept("A", "block", model="o3").model_copy(update={"enabled": False}))

    assert await watched.open(AlertKind.RULE_HEALTH_DECLINE) == ["A"]
    assert {one.resolution for one in await watched.all(AlertKind.RULE_HEALTH_DECLINE)} == {None, "condition_cleared"}
