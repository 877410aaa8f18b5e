"""Which policy rule decides on a call: the highest priority that matches; among equals block beats alert beats allow."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import cast

from alerting.finding import Action, AlertKind, Finding, Severity
from alerting.settings import Match, Not, RuleSettings
from alerting.subjects import NOBODY, shown, subject_of
from metering.call import Call
from metering.providers.catalog import CANARY_HOST
from metering.scope import compile_patterns
from metering.settings import Patterns

CANARY_RULE_ID = "tollwatch:canary"

_FIELDS = {
    "provider": "provider",
    "model": "model",
    "operation": "operation",
    "endpoint": "endpoint",
    "host": "host",
    "path": "path",
    "service": "service",
    "user": "caller.user",
    "department": "caller.department",
    "agent": "caller.agent",
    "key_id": "caller.key_id",
}
"""Field of a match → where a call keeps it."""

_PRECEDENCE = {Action.BLOCK: 0, Action.ALERT: 1, Action.ALLOW: 2}
_REMEMBERED = 4_096
"""Combinations of caller, model and path whose candidates are remembered."""

_CANARY = RuleSettings(
    id=CANARY_RULE_ID,
    title="The start-up canary is never sent",
    match=Match(host=CANARY_HOST),
    action=Action.BLOCK,
    severity=Severity.LOW,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say of a call. Without a rule, no rule is about it and it is allowed."""

    rule: RuleSettings | None = None
    depends_on_tokens: bool = False
    """The rule asks for a size: with a smaller count another may decide."""

    @property
    def action(self) -> Action:
        """What is to be done."""
        return self.rule.action if self.rule else Action.ALLOW

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        if self.rule is None:
            return "No policy rule is about this call."
        return f"Rule {self.rule.id} ({self.rule.title}) says {self.rule.action.value}."


class Rule:
    """One rule, its globs compiled."""

    __slots__ = ("_static", "settings", "tools")

    def __init__(self, settings: RuleSettings) -> None:
        self.settings = settings
        self.tools = compile_patterns(settings.match.tools) if settings.match.tools is not None else None
        self._static = [
            (attrgetter(path), _test(patterns))
            for name, path in _FIELDS.items()
            if (patterns := cast("Patterns | Not | None", getattr(settings.match, name))) is not None
        ]

    def may_match(self, call: Call) -> bool:
        """Whether all matches but its tools and its size hold: what can be remembered."""
        return all(test(read(call)) for read, test in self._static)

    @property
    def is_static(self) -> bool:
        """Whether nothing else is to be tested."""
        return self.tools is None and self.settings.match.min_input_tokens is None

    def matches(self, call: Call, *, tokens: int) -> bool:
        """Whether its tools and its size hold too."""
        least = self.settings.match.min_input_tokens
        if least is not None and tokens < least:
            return False
        return self.tools is None or any(map(self.tools, call.tools))


def in_order(rules: Iterable[RuleSettings]) -> list[RuleSettings]:
    """Return the enabled rules in the order in which they decide."""
    return sorted((rule for rule in rules if rule.enabled), key=lambda rule: (-rule.priority, _PRECEDENCE[rule.action]))


class Policy:
    """All rules. Raises ValueError when two have one id."""

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        ids = [rule.id for rule in rules]
        if twice := sorted({rule_id for rule_id in ids if ids.count(rule_id) > 1}):
            raise ValueError(f"two rules have the id {twice[0]!r}: give each its own, alerts are kept by it")
        self.settings = tuple(rules)
        self._rules = tuple(map(Rule, (_CANARY, *in_order(rules))))
        self._key = _key_of(self._rules)
        self._remembered: dict[Hashable, tuple[Rule, ...]] = {}

    def decide(self, call: Call, *, tokens: int) -> Decision:
        """Return the decision on a call whose prompt has `tokens` tokens.

        `tokens` may be an upper bound: the decision is final unless it `depends_on_tokens`, and then needs the exact count.
        """
        for rule in self._candidates(call):
            if rule.is_static or rule.matches(call, tokens=tokens):
                return Decision(rule.settings, rule.settings.match.min_input_tokens is not None)
        return Decision()

    def _candidates(self, call: Call) -> tuple[Rule, ...]:
        key = self._key(call)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = tuple(self._collect(call))
        return found

    def _collect(self, call: Call) -> list[Rule]:
        """Return the rules that may decide, best first; none after one that surely decides."""
        candidates: list[Rule] = []
        for rule in self._rules:
            if rule.may_match(call):
                candidates.append(rule)
                if rule.is_static:
                    break
        return candidates


def _key_of(rules: Sequence[Rule]) -> Callable[[Call], Hashable]:
    """Return what tells calls apart as far as these rules look."""
    used = [path for name, path in _FIELDS.items() if any(getattr(rule.settings.match, name) is not None for rule in rules)]
    return attrgetter(*used)


def _test(patterns: Patterns | Not) -> Callable[[str | None], bool]:
    if not isinstance(patterns, Not):
        return compile_patterns(patterns)
    excluded = compile_patterns(patterns.not_)
    return lambda value: not excluded(value)


def violation(call: Call, rule: RuleSettings, *, tokens: int) -> Finding:
    """Return the finding on a call that a rule alerts on or blocks."""
    caller = call.caller.user or call.caller.key_id or NOBODY
    verb = "does not allow this call" if rule.action is Action.BLOCK else "reports this call"
    return Finding(
        kind=AlertKind.POLICY_VIOLATION,
        action=rule.action,
        severity=rule.severity,
        title=rule.title,
        message=f"Policy rule {rule.id} ({rule.title}) {verb}: {_facts(call, rule.match, tokens=tokens)}.",
        episode=(rule.id, caller, call.model or NOBODY),
        subject=subject_of(call, rule_id=rule.id),
        evidence={"rule_id": rule.id, "model": shown(call.model), "operation": call.operation, "department": call.caller.department},
        remedy="Use what the rule allows, or ask whoever keeps the rules to change it.",
        silent=rule.id == CANARY_RULE_ID,
    )


def _facts(call: Call, match: Match, *, tokens: int) -> str:
    """Return the values of the call that the rule looked at."""
    facts = [f"{name} {shown(attrgetter(path)(call)) or 'unknown'}" for name, path in _FIELDS.items() if getattr(match, name) is not None]
    if match.tools is not None:
        facts.append(f"tools {shown(', '.join(call.tools[:5]))}")
    if match.min_input_tokens is not None:
        facts.append(f"{tokens:,} input tokens (at least {match.min_input_tokens:,})")
    return ", ".join(facts) or f"model {shown(call.model) or 'unknown'}"
