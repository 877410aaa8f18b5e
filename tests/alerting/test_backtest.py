"""What a rule would have made of calls that a real gate judged and a real ledger kept."""

from typing import Any

import pytest

from alerting.backtest import Outcome, RuleBacktest, Summary
from alerting.rule_settings import RuleSettings
from metering.call import Consumption


def a_rule(rule_id: str, action: str = "alert", *, priority: int = 0, **match: Any) -> RuleSettings:
    values = {"id": rule_id, "title": f"Rule {rule_id} of the test", "match": match, "action": action, "priority": priority}
    return RuleSettings.model_validate(values)


async def rows_of(world: Any, *calls: Any) -> Any:
    """Pass calls through the gate and return their rows."""
    for call in calls:
        verdict = await world.gate.admit(call)
        if not verdict.blocked:
            world.answer(call)
    await world.settled()
    return await world.ledger.rows()


async def test_a_rule_decides_on_what_it_matches_and_no_rule_before_it_does(worlds: Any, a_call: Any) -> None:
    rows = await rows_of(worlds(), a_call(model="gpt-4o"), a_call(model="o3"), a_call(model="gpt-4o", caller={"user": "ann"}))
    test = RuleBacktest(a_rule("new", model="gpt-*"), [a_rule("ann", "allow", user="ann", priority=1)])

    assert [test.judge(row).outcome for row in rows] == [Outcome.DECIDES, Outcome.NO, Outcome.ELSEWHERE]


async def test_a_rule_stands_in_the_place_of_the_one_with_its_id(worlds: Any, a_call: Any) -> None:
    rows = await rows_of(worlds(), a_call(model="gpt-4o"))
    before = a_rule("same", "block", model="gpt-4o")

    assert RuleBacktest(a_rule("same", model="o3"), [before]).judge(rows[0]).outcome is Outcome.NO


async def test_what_a_row_does_not_keep_is_unknown_and_not_guessed(worlds: Any, a_call: Any) -> None:
    rows = await rows_of(worlds(), a_call(model="gpt-4o", tools=("shell",), text="x" * 400))
    judged = RuleBacktest(a_rule("new", tools="shell", text="secret", min_input_tokens=100)).judge(rows[0])

    assert judged.outcome is Outcome.UNKNOWN
    assert judged.lacks == ("tools", "text")
    assert RuleBacktest(a_rule("new", min_input_tokens=40)).judge(rows[0]).lacks == ("tokens",)


async def test_a_rule_about_tools_is_not_unknown_where_the_rest_of_it_tells(worlds: Any, a_call: Any) -> None:
    rows = await rows_of(worlds(), a_call(model="gpt-4o"), a_call(model=None, wire_format=None, consumption=Consumption.UNREAD))

    assert RuleBacktest(a_rule("new", tools="shell", model="o3")).judge(rows[0]).outcome is Outcome.NO
    assert RuleBacktest(a_rule("new", tools="shell")).judge(rows[1]).outcome is Outcome.NO  # no tools are read there


async def test_an_unknown_rule_before_makes_the_decision_unknown(worlds: Any, a_call: Any) -> None:
    rows = await rows_of(worlds(), a_call(model="gpt-4o"))
    test = RuleBacktest(a_rule("new", model="gpt-*"), [a_rule("text", "block", text="secret")])

    judged = test.judge(rows[0])

    assert (judged.outcome, judged.lacks) == (Outcome.UNKNOWN, ("text",))


SIZES = [(10_000, Outcome.NO), (600, Outcome.NO), (100, Outcome.DECIDES), (1, Outcome.DECIDES)]


@pytest.mark.parametrize(("least", "expected"), SIZES)
async def test_a_size_that_was_counted_is_told_to_the_token(worlds: Any, a_call: Any, least: Any, expected: Any) -> None:
    world = worlds(rules=[a_rule("live", min_input_tokens=150).model_dump(by_alias=True, exclude_none=True)])
    rows = await rows_of(world, a_call(text="word " * 500))

    assert rows[0].input_tokens_bound is None
    assert rows[0].rule_id == "live"
    assert RuleBacktest(a_rule("new", min_input_tokens=least)).judge(rows[0]).outcome is expected


async def test_a_call_that_a_rule_blocked_by_its_size_is_told_too(worlds: Any, a_call: Any) -> None:
    live = a_rule("live", "block", min_input_tokens=150)
    rows = await rows_of(worlds(rules=[live.model_dump(by_alias=True, exclude_none=True)]), a_call(text="word " * 500))

    assert rows[0].state == "refused"
    assert RuleBacktest(live).judge(rows[0]).outcome is Outcome.DECIDES


async def test_a_call_that_was_refused_before_any_rule_was_asked_is_left_out(worlds: Any, a_call: Any) -> None:
    from alerting.finding import Refusal  # noqa: PLC0415  # only here

    world = worlds()
    await world.gate.refuse(a_call(), refusal=Refusal.UNREADABLE, message="two models")
    rows = await world.ledger.rows()

    assert RuleBacktest(a_rule("new")).judge(rows[0]).outcome is Outcome.NOT_JUDGED


async def test_a_summary_counts_by_day_user_and_model_and_keeps_samples(worlds: Any, a_call: Any, clock: Any) -> None:
    world = worlds(mode="monitor", rules=[a_rule("same", "block", model="gpt-*").model_dump(by_alias=True, exclude_none=True)])
    calls = [a_call(caller={"user": "ann"}), a_call(model="o3"), a_call()]
    clock.pass_by(days=1)
    rows = await rows_of(world, *calls, a_call(caller={"user": "ann"}))
    test = RuleBacktest(a_rule("same", "block", model="gpt-*"))
    summary = Summary(action=test.rule.action, most_samples=2)

    summary.add(map(test.judge, rows), rule_id="same")

    assert (summary.calls, summary.fired, summary.blocked, summary.fired_live) == (4, 3, 3, 3)
    assert summary.by["user"] == {"ann": 2, "-": 1}
    assert summary.by["day"] == {"2026-03-10": 2, "2026-03-11": 1}
    assert summary.by["model"] == {"gpt-4o": 3}
    assert len(summary.samples) == 2
