"""How the rules decide on a call, step by step."""

from typing import Any

from alerting.explain import Outcome, explain
from alerting.policy import Policy
from alerting.rule_settings import RuleSettings
from alerting.texts import Scan

RULES: list[dict[str, Any]] = [
    {"id": "TEXT", "match": {"secrets": "any", "text": ["owl", "raven"]}, "action": "block", "priority": 3},
    {"id": "NIGHT", "match": {"hours": "22:00-06:00", "weekdays": {"not": ["sat", "sun"]}, "timezone": "Europe/Berlin"}, "action": "block"},
    {"id": "SIZE", "match": {"min_input_tokens": 10, "max_bytes": 5_000, "tools": ["search", "sum"]}, "action": "alert"},
    {"id": "LAST", "match": {"user": {"not": "ann"}}, "action": "allow"},
]


def test_each_rule_that_was_asked_tells_what_of_it_held(a_call: Any) -> None:
    policy = Policy([RuleSettings.model_validate({"title": "t", **rule}) for rule in RULES])
    call = a_call(text="4242 4242 4242 4242 raven", tools=("search", "shell"))
    assert policy.scanner is not None

    decision, steps = explain(policy, call, tokens=2_000, scan=policy.scanner.scan(call.prompt))
    _, quiet = explain(policy, a_call(), tokens=2_000, scan=Scan())

    assert decision.reason == "Rule TEXT (t) says block."
    assert [(step.rule.id, step.outcome) for step in steps] == [
        ("TEXT", Outcome.DECIDES),
        ("NIGHT", Outcome.NOT_ASKED),
        ("SIZE", Outcome.NOT_ASKED),
        ("LAST", Outcome.NOT_ASKED),
    ]
    assert [(one.field, one.said, one.value, one.held) for one in steps[0].tests] == [
        ("secrets", "'any'", "credit_card in text 1 of 1", True),
        ("text", "'owl' or 'raven'", "pattern 2 in text 1 of 1", True),
    ]
    assert [(one.field, one.said, one.value, one.held) for step in quiet for one in step.tests] == [
        ("secrets", "'any'", "none", False),
        ("text", "'owl' or 'raven'", "no pattern", False),
        ("time", "hours '22:00-06:00', weekdays not 'sat' or 'sun' in Europe/Berlin", "Tue 13:00", False),
        ("tools", "'search' or 'sum'", "none", False),
        ("input_tokens", "at least 10", "2,000", True),
        ("bytes", "at most 5,000", "105", True),
        ("user", "not 'ann'", "unknown", True),
    ]


def test_what_the_policy_decides_on_is_what_is_told(a_call: Any) -> None:
    policy = Policy([RuleSettings.model_validate({"title": "t", **rule}) for rule in RULES[2:3]])

    decision, steps = explain(policy, a_call(tools=("sum",)), tokens=10, scan=Scan())

    assert (decision.action.value, steps[0].outcome, steps[0].tests[0].value) == ("alert", Outcome.DECIDES, "sum")
