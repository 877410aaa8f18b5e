"""How often rules were tested, and what came of it."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerting.policy import Policy
from alerting.rule_counts import RuleCounts, RuleOutcome
from alerting.rule_settings import RuleSettings
from storage.database import StoreError
from storage.sqlite import SqliteDatabase

GPT4 = {"id": "GPT4", "title": "t", "match": {"model": "gpt-4*", "department": {"not": "eng"}}, "action": "block", "priority": 2}
ANN = {"id": "ANN", "title": "t", "match": {"provider": "openai", "user": "ann"}, "action": "alert", "priority": 1}
O3 = {"id": "O3", "title": "t", "match": {"model": "o3*"}, "action": "allow"}
NIGHT = {"id": "NIGHT", "title": "t", "match": {"hours": "20:00-24:00"}, "action": "alert", "priority": -1}


def a_policy(*rules: dict[str, Any]) -> Policy:
    return Policy([RuleSettings.model_validate(rule) for rule in rules])


@pytest.fixture
def counts(database: SqliteDatabase) -> RuleCounts:
    return RuleCounts(database)


def judge(policy: Policy, counts: RuleCounts, call: Any) -> None:
    decision = policy.decide(call, tokens=1, exact=True)
    if decision.tally is not None:
        counts.add(decision.tally, decision.position, call.started_at)


async def numbers(counts: RuleCounts, since: date = date(2026, 1, 1)) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for count in await counts.since(since):
        found[count.rule_id, count.outcome.value] += count.number
    return dict(found)


async def test_each_rule_counts_the_calls_in_its_scope_by_what_came_of_them(counts: RuleCounts, a_call: Any) -> None:
    policy = a_policy(GPT4, ANN, O3, NIGHT)
    calls = [
        a_call(),
        a_call(caller={"department": "eng", "user": "ann"}),
        a_call(caller={"department": "eng"}),
        a_call(model="o3", caller={"user": "ann"}),
        a_call(model="o3-mini"),
        a_call(model="claude", provider="anthropic"),
        a_call(model="claude", provider="anthropic", started_at=datetime(2026, 3, 10, 21, tzinfo=UTC)),
    ]

    for call in calls:
        judge(policy, counts, call)

    assert await numbers(counts) == {
        ("GPT4", "block"): 1,
        ("GPT4", "unmatched"): 2,
        ("ANN", "passed_over"): 1,
        ("ANN", "alert"): 2,
        ("ANN", "unmatched"): 2,
        ("O3", "passed_over"): 3,
        ("O3", "unmatched"): 3,
        ("O3", "allow"): 1,
        ("NIGHT", "passed_over"): 4,
        ("NIGHT", "unmatched"): 2,
        ("NIGHT", "alert"): 1,
    }


async def test_counts_stand_by_day_with_the_last_call_of_each(counts: RuleCounts, a_call: Any, clock: Any) -> None:
    policy = a_policy(GPT4)
    for hours in (0, 1, 11, 13):
        judge(policy, counts, a_call(started_at=clock() + timedelta(hours=hours)))

    found = await counts.since(date(2026, 3, 10))

    assert [(count.day, count.outcome, count.number, count.last_at) for count in found] == [
        (date(2026, 3, 10), RuleOutcome.BLOCK, 3, clock() + timedelta(hours=11)),
        (date(2026, 3, 11), RuleOutcome.BLOCK, 1, clock() + timedelta(hours=13)),
    ]
    assert [count.day for count in await counts.since(date(2026, 3, 11))] == [date(2026, 3, 11)]
    assert all(count.is_evaluation for count in found)


async def test_counts_are_exact_after_a_clean_stop_and_go_on_after_it(database: SqliteDatabase, a_call: Any) -> None:
    policy, first = a_policy(GPT4), RuleCounts(database)
    for _ in range(1000):
        judge(policy, first, a_call())
    await first.drain()
    second = RuleCounts(database)
    for _ in range(10):
        judge(a_policy(GPT4), second, a_call())
    await second.drain()

    assert await numbers(RuleCounts(database)) == {("GPT4", "block"): 1010}


def test_counts_are_those_that_counting_each_rule_on_each_call_gives(a_call: Any) -> None:
    rules = [{"id": f"R{n}", "title": "t", "match": {"user": f"u{n % 40}"}, "action": ("block", "allow")[n % 2]} for n in range(50)]
    policy, chosen = a_policy(*rules), random.Random(3)
    expected: Counter[tuple[str, str]] = Counter()
    tally = None
    for _ in range(500):
        decision = policy.decide(a_call(caller={"user": f"u{chosen.randrange(60)}"}), tokens=1)
        assert decision.tally is not None
        tally = decision.tally
        tally.add(decision.position, a_call().started_at)
        for rule in policy.rules[1:]:
            outcome = rule.settings.action.value if rule.position == decision.position else None
            expected[rule.id, outcome or ("unmatched" if rule.position < decision.position else "passed_over")] += 1

    assert tally is not None
    assert {(count.rule_id, count.outcome.value): count.number for count in tally.empty()} == dict(expected)
    assert tally.empty() == []


async def test_a_policy_that_was_swapped_out_loses_no_count(counts: RuleCounts, a_call: Any) -> None:
    old, new = a_policy(GPT4), a_policy({**GPT4, "action": "alert"})
    judge(old, counts, a_call())
    judge(new, counts, a_call())
    judge(old, counts, a_call())

    assert await numbers(counts) == {("GPT4", "block"): 2, ("GPT4", "alert"): 1}


async def test_counts_wait_while_the_store_fails(database: SqliteDatabase, a_call: Any, tmp_path: Any) -> None:
    counts, policy = RuleCounts(database), a_policy(GPT4)
    await database.close()
    judge(policy, counts, a_call())

    with pytest.raises(StoreError, match="Cannot write the counts of rules"):
        await counts.drain()
    judge(policy, counts, a_call())
    counts._database = again = await SqliteDatabase.open(tmp_path / "tollwatch.db")  # noqa: SLF001 - the disk is well again
    await counts.drain()

    assert await numbers(RuleCounts(again)) == {("GPT4", "block"): 2}
    await again.close()


async def test_calls_are_counted_without_a_write_each(database: SqliteDatabase, a_call: Any) -> None:
    counts, policy = RuleCounts(database), a_policy(*({**GPT4, "id": f"R{number}"} for number in range(100)))
    for _ in range(500):
        judge(policy, counts, a_call())

    assert await database.read("SELECT COUNT(*) FROM rule_counts") == [(0,)]
    await counts.flush()
    assert await database.read("SELECT COUNT(*), SUM(evaluations) FROM rule_counts") == [(100, 50_000)]


async def test_the_gate_counts_each_call_once_and_refused_ones_too(worlds: Any, a_call: Any, database: SqliteDatabase) -> None:
    size = {"id": "SIZE", "title": "t", "match": {"min_input_tokens": 1000}, "action": "block", "priority": 3}
    text = {"id": "TEXT", "title": "t", "match": {"text": "hello"}, "action": "block"}
    world = worlds(rules=[size, ANN, text])

    for call in (a_call(text="hello " * 2000), a_call(text="hello"), a_call(caller={"user": "ann"}), a_call(text="bye " * 990)):
        await world.gate.admit(call)
    await world.counts.drain()

    assert await numbers(RuleCounts(database)) == {
        ("SIZE", "block"): 1,
        ("SIZE", "unmatched"): 3,
        ("ANN", "passed_over"): 1,
        ("ANN", "alert"): 1,
        ("ANN", "unmatched"): 2,
        ("TEXT", "passed_over"): 2,
        ("TEXT", "block"): 1,
        ("TEXT", "unmatched"): 1,
    }
