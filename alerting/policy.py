"""Which policy rule decides on a call: the highest priority that matches; among equals block beats alert beats allow."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from alerting.finding import Action, Severity
from alerting.rule import NAMED, READ, Rule, Test, Unknown, Value
from alerting.rule_counts import Tally
from alerting.rule_settings import RESERVED, Match, RuleSettings, listed
from alerting.texts import Scan, Scanner
from metering.call import Call
from metering.providers.catalog import CANARY_HOST

CANARY_RULE_ID = f"{RESERVED}canary"

_PRECEDENCE = {Action.BLOCK: 0, Action.ALERT: 1, Action.ALLOW: 2}
_REMEMBERED = 4_096
"""Combinations of caller, model and path whose candidates are remembered; and values of each field."""
_CALLER = frozenset({"user", "department", "agent", "key_id"})

_CANARY = RuleSettings.model_construct(  # its id is one that no rule of a person may have
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
    unknown: Unknown | None = None
    """What must be known before there is a decision; ask again then."""
    position: int = 0
    """The place of the rule in the order of rules; behind the last one when no rule decided."""
    tally: Tally | None = None
    """Where the decision is to be counted; None where no rule has the call in its scope."""

    @property
    def action(self) -> Action:
        """What is to be done."""
        return self.rule.action if self.rule else Action.ALLOW

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        if self.unknown is not None:
            return f"It depends on the {self.unknown.value} of the prompt."
        if self.rule is None:
            return "No policy rule is about this call."
        return f"Rule {self.rule.id} ({self.rule.title}) says {self.rule.action.value}."


class _Entry:
    """The rules that may decide on calls of some names, in order, and what each of them says."""

    __slots__ = ("candidates", "otherwise", "sure")

    def __init__(self, candidates: Sequence[Rule], tally: Tally | None, *, end: int) -> None:
        self.candidates = [(rule, Decision(rule.settings, position=rule.position, tally=tally)) for rule in candidates]
        self.otherwise = Decision(position=end, tally=tally)
        first = self.candidates[0] if self.candidates else None
        self.sure = self.otherwise if first is None else first[1] if first[0].is_static else None
        """The decision where names alone tell it."""


class _Field:
    """The tests of all rules on one field: a value is tested once, and then known as the set (a bit each) of rules for which it holds."""

    __slots__ = ("_known", "_tests", "_untested", "out_of_scope", "read")

    def __init__(self, name: str, rules: Sequence[Rule], everything: int) -> None:
        self.read = READ[name]
        self._tests: list[tuple[int, Test]] = [(1 << rule.position, rule.tests[name]) for rule in rules if name in rule.tests]
        self._untested = everything & ~sum(bit for bit, _test in self._tests)
        self.out_of_scope = everything & ~sum(1 << rule.position for rule in rules if name in rule.scope)
        self._known: dict[Value, int] = {}

    def holds(self, value: Value) -> int:
        """Return the rules whose test of this field a value passes, those without one included."""
        found = self._known.get(value)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[value] = self._untested | sum(bit for bit, test in self._tests if test(value))
        return found


def in_order(rules: Iterable[RuleSettings]) -> list[RuleSettings]:
    """Return the enabled rules in the order in which they decide."""
    return sorted((rule for rule in rules if rule.enabled), key=lambda rule: (-rule.priority, _PRECEDENCE[rule.action]))


class Policy:
    """All rules, in the order in which they are asked. Raises ValueError when two have one id.

    The order: priority, highest first; then block before alert before allow; then the order in which they were given.
    """

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        for rule_id, number in Counter(rule.id for rule in rules).items():
            if number > 1:
                raise ValueError(f"two rules have the id {rule_id!r}: give each its own, alerts are kept by it")
        self.settings = tuple(rules)
        self.rules = tuple(Rule(rule, position=position) for position, rule in enumerate((_CANARY, *in_order(rules))))
        """Those that are enabled, the gateway's own canary first."""
        self.scanner = _scanner(self.rules)
        """Looks prompts through for what the rules ask of their text; None when none does."""
        everything = (1 << len(self.rules)) - 1
        used = [name for name in NAMED if any(name in rule.tests for rule in self.rules)]
        self._everything = everything
        self._fields = [_Field(name, self.rules, everything) for name in used]
        self._key = _key_of(used)
        self._remembered: dict[Hashable, _Entry] = {}
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._tallies: dict[int, Tally | None] = {}

    def decide(self, call: Call, *, tokens: int, exact: bool = False, scan: Scan | None = None) -> Decision:
        """Return the decision on a call whose prompt has `tokens` tokens, an upper bound unless it is `exact`.

        It is final unless something is `unknown`: then that must be found out, and asked again.
        """
        entry = self._remembered.get(key := self._key(call))
        if entry is None:
            entry = self._remember(key, call)
        if entry.sure is not None:
            return entry.sure
        for rule, decision in entry.candidates:
            held = rule.is_static or rule.matches(call, tokens=tokens, exact=exact, scan=scan)
            if held is True:
                return decision
            if held is not False:
                return Decision(unknown=held)
        return entry.otherwise

    def _remember(self, key: Hashable, call: Call) -> _Entry:
        for memory in (self._remembered, self._entries, self._tallies):
            if len(memory) >= _REMEMBERED:
                memory.clear()
        matching = scoped = self._everything
        for field in self._fields:
            holds = field.holds(field.read(call))
            matching &= holds
            scoped &= holds | field.out_of_scope
        entry = self._entries.get((matching, scoped))
        if entry is None:
            entry = self._entries[matching, scoped] = _Entry(self._candidates(matching), self._tally(scoped), end=len(self.rules))
        self._remembered[key] = entry
        return entry

    def _candidates(self, matching: int) -> list[Rule]:
        """Return the rules that may decide, best first; none after one that surely decides."""
        candidates: list[Rule] = []
        for rule in self._those(matching):
            candidates.append(rule)
            if rule.is_static:
                break
        return candidates

    def _tally(self, scoped: int) -> Tally | None:
        if scoped not in self._tallies:
            rules = [rule for rule in self._those(scoped) if rule.id != CANARY_RULE_ID]
            self._tallies[scoped] = Tally(rules) if rules else None
        return self._tallies[scoped]

    def _those(self, bits: int) -> list[Rule]:
        return [rule for rule in self.rules if bits >> rule.position & 1]


def _key_of(used: Sequence[str]) -> Callable[[Call], Hashable]:
    """Return what tells calls apart as far as the rules look."""
    paths = [f"caller.{name}" if name in _CALLER else name for name in used]
    return attrgetter(*paths, *(["consumption"] if "model" in used else []))


def _scanner(rules: Sequence[Rule]) -> Scanner | None:
    if not any(rule.reads_text for rule in rules):
        return None
    kinds = frozenset[str]().union(*(rule.kinds for rule in rules))
    return Scanner(kinds=kinds, patterns=[pattern for rule in rules for pattern in listed(rule.settings.match.text)])
