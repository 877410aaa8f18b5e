"""Which rule decides."""

from typing import Any

import pytest

from alerting.finding import Action, Severity
from alerting.policy import Policy
from alerting.rule import Unknown
from alerting.rule_settings import RuleSettings
from alerting.violation import violation
from metering.call import Consumption


def a_rule(action: str, *, priority: int = 0, rule_id: str = "", match: dict[str, object] | None = None, **more: object) -> RuleSettings:
    values = {"id": rule_id or f"{action}-{priority}", "title": "A rule", "match": match or {}, "action": action, "priority": priority}
    return RuleSettings.model_validate({**values, **more})


PRECEDENCE = [
    ([], "allow"),
    ([("allow", 0), ("alert", 0), ("block", 0)], "block"),
    ([("block", 0), ("alert", 0), ("allow", 0)], "block"),
    ([("allow", 0), ("alert", 0)], "alert"),
    ([("block", 0), ("allow", 1)], "allow"),
    ([("block", 1), ("allow", 1)], "block"),
    ([("block", 1), ("alert", 2)], "alert"),
    ([("allow", -1), ("block", -2)], "allow"),
    ([("alert", 5), ("block", 4), ("allow", 6)], "allow"),
]


@pytest.mark.parametrize(("rules", "decided"), PRECEDENCE)
def test_the_highest_priority_decides_and_among_equals_block_beats_alert_beats_allow(a_call: Any, rules: Any, decided: Any) -> None:
    policy = Policy([a_rule(action, priority=priority, rule_id=str(number)) for number, (action, priority) in enumerate(rules)])

    assert policy.decide(a_call(), tokens=1).action.value == decided


MATCHES = [
    ({"model": "gpt-4*"}, {}, True),
    ({"model": "GPT-4*"}, {}, True),
    ({"model": ["o3", "gpt-4o"]}, {}, True),
    ({"model": "gpt-4"}, {}, False),
    ({"model": "*"}, {"model": None}, False),
    ({"model": {"not": "o3"}}, {"model": None}, True),
    ({"department": {"not": ["engineering"]}}, {}, True),
    ({"department": {"not": ["engineering"]}}, {"caller": {"department": "engineering"}}, False),
    ({"department": {"not": ["engineering"]}}, {"caller": {"department": "sales"}}, True),
    ({"model": "gpt-4*", "user": "ann"}, {"caller": {"user": "bob"}}, False),
    ({"model": "gpt-4*", "user": "ann"}, {"caller": {"user": "ann"}}, True),
    ({"host": "*.openai.com", "path": "/v1/*", "provider": "openai"}, {}, True),
    ({"endpoint": "chat", "operation": "chat", "service": "openai"}, {}, True),
    ({"agent": "a*", "key_id": "k*"}, {"caller": {"agent": "abc", "key_id": "k1"}}, True),
    ({"tools": "shell*"}, {"tools": ("search", "shell_exec")}, True),
    ({"tools": "shell*"}, {"tools": ()}, False),
    ({"tools": {"not": ["search", "sum"]}}, {"tools": ("search", "shell")}, True),
    ({"tools": {"not": ["search", "sum"]}}, {"tools": ("search", "sum")}, False),
    ({"tools": {"not": ["search", "sum"]}}, {"tools": ()}, False),
    ({"model": {"not": "o3"}}, {"model": None, "consumption": Consumption.FREE}, False),
    ({"model": {"not": "o3"}}, {"consumption": Consumption.FREE}, True),
    ({"min_input_tokens": 100}, {}, True),
    ({"min_input_tokens": 101}, {}, False),
    ({"max_input_tokens": 100}, {}, True),
    ({"max_input_tokens": 99}, {}, False),
    ({"min_bytes": 105}, {}, True),
    ({"min_bytes": 106}, {}, False),
    ({"max_bytes": 105}, {}, True),
    ({"max_bytes": 104}, {}, False),
    ({"hours": "09:00-12:01"}, {}, True),
    ({"hours": "09:00-12:00"}, {}, False),
    ({"hours": ["22:00-06:00", "11:30-12:30"]}, {}, True),
    ({"hours": "22:00-06:00"}, {}, False),
    ({"hours": {"not": "09:00-17:00"}}, {}, False),
    ({"hours": "13:00-14:00", "timezone": "Europe/Berlin"}, {}, True),
    ({"hours": "12:00-13:00", "timezone": "Europe/Berlin"}, {}, False),
    ({"weekdays": "tue"}, {}, True),
    ({"weekdays": ["mon-wed", "sat"]}, {}, True),
    ({"weekdays": "fri-mon"}, {}, False),
    ({"weekdays": {"not": ["sat", "sun"]}}, {}, True),
    ({"weekdays": "wed", "timezone": "Pacific/Kiritimati"}, {}, True),
    ({"weekdays": "Tuesday", "hours": "00:00-24:00", "user": {"not": "ann"}}, {}, True),
]


@pytest.mark.parametrize(("match", "call", "expected"), MATCHES)
def test_a_rule_is_about_the_calls_that_its_match_says(a_call: Any, match: Any, call: Any, expected: Any) -> None:
    policy = Policy([a_rule("block", match=match)])

    decisions = [policy.decide(a_call(**call), tokens=100, exact=True).rule is not None for _ in range(2)]

    assert decisions == [expected, expected]


BOUNDS = [
    ({"min_input_tokens": 100}, 99, False),
    ({"min_input_tokens": 100}, 100, Unknown.TOKENS),
    ({"max_input_tokens": 100}, 100, True),
    ({"max_input_tokens": 100}, 101, Unknown.TOKENS),
    ({"min_input_tokens": 50, "max_input_tokens": 100}, 49, False),
    ({"min_input_tokens": 50, "max_input_tokens": 100}, 70, Unknown.TOKENS),
    ({"min_input_tokens": 50, "max_bytes": 1}, 70, False),
    ({"min_input_tokens": 50, "text": "x"}, 49, False),
    ({"min_input_tokens": 50, "text": "x"}, 70, Unknown.TEXT),
]


@pytest.mark.parametrize(("match", "bound", "expected"), BOUNDS)
def test_a_bound_decides_only_what_no_smaller_count_can_change(a_call: Any, match: Any, bound: Any, expected: Any) -> None:
    decision = Policy([a_rule("block", match=match)]).decide(a_call(), tokens=bound)

    assert (decision.unknown or decision.rule is not None) == expected


def test_a_rule_that_is_not_enabled_is_not_asked(a_call: Any) -> None:
    assert Policy([a_rule("block", enabled=False)]).decide(a_call(), tokens=1).rule is None


def test_what_is_remembered_tells_calls_apart_by_all_that_rules_look_at(a_call: Any) -> None:
    policy = Policy([a_rule("block", match={"user": "ann", "path": "/v1/*"})])

    seen = [
        policy.decide(a_call(caller={"user": user}, path=path), tokens=1).action
        for user in ("ann", "bob", "ann")
        for path in ("/v1/x", "/v2/x")
    ]

    assert seen == [Action.BLOCK, Action.ALLOW, Action.ALLOW, Action.ALLOW, Action.BLOCK, Action.ALLOW]


def test_what_is_remembered_is_bounded(a_call: Any) -> None:
    policy = Policy([a_rule("block", match={"path": "/never"})])

    for number in range(10_000):
        policy.decide(a_call(path=f"/{number}"), tokens=1)

    assert len(policy._remembered) <= 4_096  # noqa: SLF001 - what is kept in memory shows nowhere else


def test_two_rules_of_one_id_are_an_error() -> None:
    with pytest.raises(ValueError, match="two rules have the id 'a'"):
        Policy([a_rule("block", rule_id="a"), a_rule("allow", rule_id="a")])


def test_a_decision_tells_its_reason(a_call: Any) -> None:
    decided = Policy([a_rule("block", rule_id="SEC-003")]).decide(a_call(), tokens=1)

    assert decided.reason == "Rule SEC-003 (A rule) says block."
    assert Policy([]).decide(a_call(), tokens=1).reason == "No policy rule is about this call."


def test_a_violation_names_the_rule_and_what_it_looked_at(a_call: Any) -> None:
    match = {"model": "gpt-4*", "department": {"not": ["engineering"]}, "tools": "s*", "min_input_tokens": 10}
    rule = a_rule("block", rule_id="SEC-003", match=match, severity="high")
    call = a_call(caller={"key_id": "k1"}, tools=("shell",))

    found = violation(call, rule, tokens=1200)

    assert found.message == (
        "Policy rule SEC-003 (A rule) does not allow this call: model gpt-4o, department unknown, tools shell, "
        "1,200 input tokens (at least 10)."
    )
    assert (found.severity, found.episode) == (Severity.HIGH, ("SEC-003", "k1", "gpt-4o"))
    assert violation(call, a_rule("alert"), tokens=1).message.endswith("reports this call: model gpt-4o.")
