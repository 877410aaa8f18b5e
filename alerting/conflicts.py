"""Which rules get in each other's way: pairs that decide differently on a same call, and rules that never decide at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from alerting.finding import Action, AlertKind, Finding, Subject
from alerting.globs import UndecidedError, may_meet
from alerting.kinds import KINDS
from alerting.overlap import Example, Shown, example_of, said_by
from alerting.policy import in_order
from alerting.rule import NAMED
from alerting.rule_settings import RuleSettings
from metering.settings import Patterns

OPPOSITE, SHADOWED = "opposite_actions", "shadowed"
_OPPOSITE = frozenset({Action.ALLOW, Action.BLOCK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two rules that match a same call and differ in what to do with it; `first` decides."""

    first: RuleSettings
    second: RuleSettings
    example: str

    @property
    def is_conflict(self) -> bool:
        """Whether one allows what the other blocks, and nobody said by a priority which of them counts."""
        return self.first.priority == self.second.priority and {self.first.action, self.second.action} >= _OPPOSITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A rule that never decides, since every call that it matches is decided before by one of `by`."""

    rule: RuleSettings
    by: tuple[RuleSettings, ...]
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All that is found among rules. `undecided` are sentences on what could not be decided within bounds."""

    overlaps: tuple[Overlap, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    impossible: tuple[RuleSettings, ...] = ()
    """Rules that no call can match."""
    undecided: tuple[str, ...] = ()


def analyse(rules: Sequence[RuleSettings]) -> Analysis:
    """Hold all enabled rules against each other. Takes a second for some hundred rules that differ: to be called in a thread."""
    search = _Search(in_order(rules))
    search.run()
    return search.found()


def analyse_one(rule_id: str, rules: Sequence[RuleSettings]) -> Analysis:
    """Hold one enabled rule against all others, which is much less work. Rules that it shadows only together with others are left out."""
    search = _Search(in_order(rules))
    search.run_one(rule_id)
    return search.found()


def conflict_findings(analysis: Analysis) -> list[Finding]:
    """Return what is worth an alert: opposite actions at one priority, and rules that never decide."""
    shadows = [_shadowed(shadow) for shadow in analysis.shadows]
    known = {finding.episode for finding in shadows}
    opposites = [_opposite(overlap) for overlap in analysis.overlaps if overlap.is_conflict]
    return shadows + [finding for finding in opposites if finding.episode not in known]


class _Search:
    """One pass over rules in the order in which they decide."""

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        self._rules = rules
        self._names = {rule.id: _names(rule) for rule in rules}
        self._said = {rule.id: tuple(said_by(rule.match)) for rule in rules}
        self.overlaps: list[Overlap] = []
        self.shadows: list[Shadow] = []
        self.impossible: list[RuleSettings] = []
        self.undecided: list[str] = []
        self._met: dict[str, list[RuleSettings]] = {}
        """By the id of a rule: the earlier rules that match calls of it."""

    def run(self) -> None:
        possible = [rule for rule in self._rules if self._is_possible(rule)]
        for first, second in combinations(possible, 2):
            self._pair(first, second)
        for rule in possible:
            self._shade(rule)

    def run_one(self, rule_id: str) -> None:
        found = next((index for index, rule in enumerate(self._rules) if rule.id == rule_id), None)
        if found is None or not self._is_possible(rule := self._rules[found]):
            return
        for first in self._rules[:found]:
            self._pair(first, rule)
        self._shade(rule)
        for second in self._rules[found + 1 :]:
            self._pair(rule, second)
            if rule in self._met.get(second.id, ()):
                self._shade(second)

    def found(self) -> Analysis:
        return Analysis(
            overlaps=tuple(self.overlaps),
            shadows=tuple(self.shadows),
            impossible=tuple(self.impossible),
            undecided=tuple(self.undecided),
        )

    def _is_possible(self, rule: RuleSettings) -> bool:
        example = self._ask(f"whether any call matches rule {rule.id}", [rule], [])
        if example is None:
            self.impossible.append(rule)
        return example is not None

    def _pair(self, first: RuleSettings, second: RuleSettings) -> None:
        others = self._names[second.id]
        if any(name in others and not may_meet(globs, others[name]) for name, globs in self._names[first.id].items()):
            return
        example = self._ask(f"whether rules {first.id} and {second.id} match a same call", [first, second], [])
        if not example:
            return
        self._met.setdefault(second.id, []).append(first)
        if first.action is not second.action:
            self.overlaps.append(Overlap(first=first, second=second, example=example))

    def _shade(self, rule: RuleSettings) -> None:
        earlier = self._met.get(rule.id, [])
        for one in earlier:
            if self._ask(f"whether rule {one.id} leaves anything to rule {rule.id}", [rule], [one]) is None:
                self.shadows.append(self._shadow(rule, (one,)))
                return
        if len(earlier) > 1 and self._ask(f"whether the rules before {rule.id} together leave it anything", [rule], earlier) is None:
            self.shadows.append(self._shadow(rule, self._needed(rule, earlier)))

    def _needed(self, rule: RuleSettings, earlier: Sequence[RuleSettings]) -> tuple[RuleSettings, ...]:
        """Return those of the earlier rules without which something would be left."""
        needed = list(earlier)
        for one in earlier:
            fewer = [other for other in needed if other is not one]
            if self._ask("", [rule], fewer) is None:
                needed = fewer
        return tuple(needed)

    def _shadow(self, rule: RuleSettings, by: tuple[RuleSettings, ...]) -> Shadow:
        return Shadow(rule=rule, by=by, example=self._ask("", [rule], []) or "")

    def _ask(self, question: str, wanted: Sequence[RuleSettings], unwanted: Sequence[RuleSettings]) -> str | None:
        """Return an example in words, None where no call can; what cannot be decided counts as an example without words."""
        try:
            example = example_of([self._said[rule.id] for rule in wanted], [self._said[rule.id] for rule in unwanted])
        except UndecidedError as error:
            if question:
                self.undecided.append(f"Cannot decide {question}: {error}")
            return ""
        return None if example is None else in_words(example)


def _names(rule: RuleSettings) -> dict[str, Patterns]:
    """Return the globs of the fields that have one value a call: where they have nothing in common, two rules have not."""
    return {name: said for name in NAMED if name != "tools" and isinstance(said := getattr(rule.match, name), str | tuple)}


def in_words(example: Example) -> str:
    """Return an example as one reads it: `model gpt-4o, department unknown`."""
    return ", ".join(f"{field} {_shown(value)}" for field, value in example.items()) or "any call"


def _shown(value: Shown) -> str:
    if value is None:
        return "unknown"
    return " and ".join(value) or "none" if isinstance(value, tuple) else str(value) or "''"


def _shadowed(shadow: Shadow) -> Finding:
    rule, by = shadow.rule, shadow.by
    ids = ", ".join(one.id for one in by)
    same = {one.action for one in by} == {rule.action}
    who = f"rule {ids} decides" if len(by) == 1 else f"the rules {ids} together decide"
    effect = "so it is not needed" if same else f"so it never {rule.action.value}s"
    return _finding(
        rule,
        ids,
        kind=SHADOWED,
        title=f"Rule {rule.id} never decides",
        message=f"Rule {rule.id} ({rule.title}) never decides: {who} on every call that it matches, {effect}.",
        overlap=shadow.example,
    )


def _opposite(overlap: Overlap) -> Finding:
    first, second = overlap.first, overlap.second
    return _finding(
        second,
        first.id,
        kind=OPPOSITE,
        title=f"Rules {first.id} and {second.id} contradict each other",
        message=(
            f"Rule {first.id} ({first.title}) {first.action.value}s and rule {second.id} ({second.title}) {second.action.value}s a same "
            f"call ({overlap.example}) at the same priority {first.priority}; the {first.action.value} counts."
        ),
        overlap=overlap.example,
    )


def _finding(rule: RuleSettings, other: str, *, kind: str, title: str, message: str, overlap: str) -> Finding:
    return Finding(
        kind=AlertKind.RULE_CONFLICT,
        action=Action.ALERT,
        severity=KINDS[AlertKind.RULE_CONFLICT].severity_of(blocked=False),
        title=title,
        message=message,
        episode=(rule.id, other),
        subject=Subject(rule_id=rule.id),
        evidence={"rule_id": rule.id, "conflicting_rule_id": other, "conflict_type": kind, "overlap": overlap},
        remedy="Give one of the rules another priority, narrow its match, or take it out.",
    )
