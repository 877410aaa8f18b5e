"""Which rules get in each other's way, and the alerts that say so."""

from typing import Any

import pytest

from alerting.conflicts import OPPOSITE, SHADOWED, Analysis, analyse, analyse_one, conflict_findings
from alerting.rule_settings import RuleSettings


def a_rule(rule_id: str, action: str, *, priority: int = 0, enabled: bool = True, **match: Any) -> RuleSettings:
    values = {"id": rule_id, "title": f"Rule {rule_id} of the test", "match": match, "action": action}
    return RuleSettings.model_validate({**values, "priority": priority, "enabled": enabled})


CONFLICTS: list[tuple[list[RuleSettings], list[tuple[str, str, str]]]] = [
    ([], []),
    ([a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", department="sales")], [("B", "A", OPPOSITE)]),
    ([a_rule("A", "allow", model="gpt-4*"), a_rule("B", "block", department="sales")], [("A", "B", OPPOSITE)]),
    ([a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", department="sales", priority=1)], []),
    ([a_rule("A", "block", model="gpt-4*"), a_rule("B", "alert", department="sales")], []),
    ([a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", model="claude-*")], []),
    ([a_rule("A", "block", model="gpt-*"), a_rule("B", "allow", model="gpt-4*")], [("B", "A", SHADOWED)]),
    ([a_rule("A", "block", model="gpt-4*"), a_rule("B", "block", model="gpt-4o")], [("B", "A", SHADOWED)]),
    ([a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", model="gpt-*", priority=-1)], []),
    ([a_rule("A", "block"), a_rule("B", "alert", model="gpt-*", priority=1)], []),
    ([a_rule("A", "block", priority=1), a_rule("B", "alert", model="gpt-*", enabled=False)], []),
    (
        [a_rule("A", "block", department="sales"), a_rule("B", "alert", department={"not": "sales"}), a_rule("C", "allow", model="o3")],
        [("C", "A, B", SHADOWED), ("C", "A", OPPOSITE)],
    ),
    (
        [
            a_rule("A", "block", weekdays="mon-fri", priority=2),
            a_rule("B", "block", model="o3", priority=2),
            a_rule("C", "alert", weekdays="sat-sun", priority=1),
            a_rule("D", "alert", hours="09:00-10:00"),
        ],
        [("D", "A, C", SHADOWED)],
    ),
]


@pytest.mark.parametrize(("rules", "expected"), CONFLICTS)
def test_opposites_of_one_priority_and_rules_that_never_decide_are_conflicts(rules: Any, expected: Any) -> None:
    findings = conflict_findings(analyse(rules))

    told = [(f.evidence["rule_id"], f.evidence["conflicting_rule_id"], f.evidence["conflict_type"]) for f in findings]
    assert told == expected


def test_an_overlap_comes_with_a_call_that_both_rules_match() -> None:
    analysis = analyse([a_rule("A", "block", model="gpt-4*"), a_rule("B", "alert", model="*-mini", department={"not": "sales"})])

    assert [(one.first.id, one.second.id, one.is_conflict) for one in analysis.overlaps] == [("A", "B", False)]
    assert analysis.overlaps[0].example == "model gpt-4-mini, department a"


def test_a_rule_that_no_call_can_match_is_said_to_be_impossible() -> None:
    analysis = analyse([a_rule("A", "block", endpoint="chats"), a_rule("B", "allow", endpoint="chat")])

    assert [rule.id for rule in analysis.impossible] == ["A"]
    assert (analysis.overlaps, analysis.shadows) == ((), ())


def test_what_cannot_be_decided_is_said_and_is_no_conflict() -> None:
    entangled = f"*a{'?' * 16}"

    analysis = analyse([a_rule("A", "block", model=entangled), a_rule("B", "allow", model=entangled.upper())])

    assert any("rule A leaves anything to rule B" in sentence and "20,000 states" in sentence for sentence in analysis.undecided)
    assert analysis.shadows == ()


@pytest.mark.parametrize("rules", [rules for rules, _expected in CONFLICTS])
def test_one_rule_held_against_the_others_shows_what_holding_all_together_shows_of_it(rules: list[RuleSettings]) -> None:
    everything = analyse(rules)

    for rule in (rule for rule in rules if rule.enabled):
        one = analyse_one(rule.id, rules)

        assert {(o.first.id, o.second.id) for o in one.overlaps} == {
            (o.first.id, o.second.id) for o in everything.overlaps if rule in (o.first, o.second)
        }
        alone = {(s.rule.id, s.by[0].id) for s in everything.shadows if len(s.by) == 1}
        expected = {(shadowed, by) for shadowed, by in alone if rule.id in {shadowed, by}}
        expected |= {(s.rule.id, s.by[0].id) for s in everything.shadows if s.rule == rule}
        assert {(s.rule.id, s.by[0].id) for s in one.shadows} == expected


def test_a_rule_that_is_off_or_that_no_call_can_match_is_in_nobodys_way() -> None:
    rules = [a_rule("A", "block", endpoint="chats"), a_rule("B", "allow"), a_rule("C", "block", enabled=False)]

    assert [rule.id for rule in analyse_one("A", rules).impossible] == ["A"]
    assert analyse_one("C", rules) == Analysis()


MATCHES: list[dict[str, Any]] = [{"department": "sales"}, {"model": "gpt-4o"}]


def test_a_message_says_what_counts() -> None:
    opposite, shadowed = (
        conflict_findings(analyse([a_rule("A", "block", model="gpt-4*"), a_rule("B", "allow", **match)]))[0] for match in MATCHES
    )

    assert opposite.message.endswith("a same call (model gpt-4, department sales) at the same priority 0; the block counts.")
    assert shadowed.message.endswith("never decides: rule A decides on every call that it matches, so it never allows.")
    assert opposite.subject.rule_id == "B"


def test_hundreds_of_rules_are_held_against_each_other_in_seconds() -> None:
    rules = [
        a_rule(
            f"R{number}", "block" if number % 2 else "allow", priority=number % 5, model=f"model-{number % 70}*", user=f"*{number % 9}@x"
        )
        for number in range(200)
    ]

    analysis = analyse(rules)

    assert not analysis.undecided
    assert len(analysis.overlaps) > 10
