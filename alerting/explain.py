"""How the rules decide on one call, step by step."""

from dataclasses import dataclass
from enum import StrEnum

from alerting.policy import CANARY_RULE_ID, Decision, Policy
from alerting.rule import READ, SIZES, TEXTS, TIMES, Rule
from alerting.rule_settings import Not, listed
from alerting.texts import Scan
from metering.call import Call
from metering.settings import Patterns


class Outcome(StrEnum):
    """What came of one rule."""

    DECIDES = "decides"
    NO_MATCH = "no match"
    NOT_ASKED = "not asked"
    """A rule before it decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One field of a rule, held against a call."""

    field: str
    said: str
    """What the rule says of it."""
    value: str
    """What the call has."""
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rule, in the order in which they are asked."""

    rule: Rule
    outcome: Outcome
    tests: tuple[Test, ...] = ()


def explain(policy: Policy, call: Call, *, tokens: int, scan: Scan) -> tuple[Decision, tuple[Step, ...]]:
    """Return the decision on a call with exactly so many tokens, and what came of each rule. Nothing is counted."""
    decision = policy.decide(call, tokens=tokens, exact=True, scan=scan)
    steps = [
        Step(rule=rule, outcome=Outcome.NOT_ASKED)
        if rule.position > decision.position
        else Step(
            rule=rule,
            outcome=Outcome.DECIDES if rule.position == decision.position else Outcome.NO_MATCH,
            tests=tuple(_tests(rule, call, tokens=tokens, scan=scan)),
        )
        for rule in policy.rules
        if rule.id != CANARY_RULE_ID
    ]
    return decision, tuple(steps)


def _tests(rule: Rule, call: Call, *, tokens: int, scan: Scan) -> list[Test]:
    match = rule.settings.match
    tests = [
        Test(field=name, said=_said(getattr(match, name)), value=_shown(READ[name](call)), held=test(READ[name](call)))
        for name, test in rule.tests.items()
    ]
    if rule.schedule is not None:
        said = ", ".join(f"{name} {_said(getattr(match, name))}" for name in TIMES if getattr(match, name) is not None)
        at = call.started_at.astimezone(rule.schedule.zone)
        tests.append(Test(field="time", said=f"{said} in {match.timezone}", value=f"{at:%a %H:%M}", held=call.started_at in rule.schedule))
    for name in SIZES:
        if (bound := getattr(match, name)) is not None:
            value = tokens if name.endswith("tokens") else call.request_bytes
            held = value >= bound if name.startswith("min") else value <= bound
            said = f"at {'least' if name.startswith('min') else 'most'} {bound:,}"
            tests.append(Test(field=name[4:], said=said, value=f"{value:,}", held=held))
    tests += [
        Test(field=name, said=_said(getattr(match, name)), value=_in_text(rule, name, scan), held=rule.finds(name, scan))
        for name in TEXTS
        if getattr(match, name) is not None
    ]
    return tests


def _said(patterns: Patterns | Not | None) -> str:
    said = " or ".join(map(repr, listed(patterns)))
    return f"not {said}" if isinstance(patterns, Not) else said


def _shown(value: str | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "unknown" if value is None else value


def _in_text(rule: Rule, name: str, scan: Scan) -> str:
    if name == "secrets":
        return ", ".join(f"{found.kind} in {found.place}" for found in scan.secrets if found.kind in rule.kinds) or "none"
    patterns = listed(rule.settings.match.text)
    found = [f"pattern {number} in {scan.patterns[pattern]}" for number, pattern in enumerate(patterns, 1) if pattern in scan.patterns]
    return ", ".join(found) or "no pattern"
