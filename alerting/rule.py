"""One policy rule, compiled: what of it a call's names decide, and what only its size, its moment and its text do."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Final, Literal, cast
from zoneinfo import ZoneInfo

from alerting.rule_settings import Match, Not, RuleSettings, listed
from alerting.schedule import DAY_MINUTES, Schedule, days_of, minutes_of
from alerting.texts import Scan, known_kinds
from metering.call import Call, Consumption
from metering.scope import compile_patterns
from metering.settings import Patterns

type Value = str | tuple[str, ...] | None
type Test = Callable[[Value], bool]

NO_MODEL = ("no model",)
"""Stands for the model of a call that costs nothing and names none (a list, a probe): no test of a model holds for it."""

NAMED = ("provider", "service", "host", "path", "endpoint", "operation", "model", "user", "department", "agent", "key_id", "tools")
"""The fields that a call's names decide, alone and for good: calls of equal names match the same rules."""
PLACES = ("provider", "service", "host", "path", "endpoint", "operation")
"""The fields that say where a call goes and what for."""
TIMES = ("hours", "weekdays")
SIZES = ("min_input_tokens", "max_input_tokens", "min_bytes", "max_bytes")
TEXTS: Final[tuple[Literal["secrets", "text"], ...]] = ("secrets", "text")


class Unknown(StrEnum):
    """What must be known of a call before it is certain whether a rule is about it."""

    TOKENS = "tokens"
    """The exact count: until then only a bound is known."""
    TEXT = "text"
    """What stands in the prompt's text."""


def _model(call: Call) -> Value:
    return NO_MODEL if call.model is None and call.consumption is Consumption.FREE else call.model


READ: dict[str, Callable[[Call], Value]] = {
    "provider": attrgetter("provider"),
    "service": attrgetter("service"),
    "host": attrgetter("host"),
    "path": attrgetter("path"),
    "endpoint": attrgetter("endpoint"),
    "operation": attrgetter("operation"),
    "model": _model,
    "user": attrgetter("caller.user"),
    "department": attrgetter("caller.department"),
    "agent": attrgetter("caller.agent"),
    "key_id": attrgetter("caller.key_id"),
    "tools": attrgetter("tools"),
}
"""How each named field is read."""


def given(match: Match) -> tuple[str, ...]:
    """Return the fields that a match gives."""
    return tuple(name for name in (*NAMED, *TIMES, *SIZES, *TEXTS) if getattr(match, name) is not None)


def scope_of(match: Match) -> tuple[str, ...]:
    """Return the fields that say which calls a rule is tested on; what else it gives are its conditions.

    The scope is where a call goes and its model. A rule that says no more than that has the model as its condition,
    and a rule without a model is tested on every call.
    """
    fields = given(match)
    for scope in ((*PLACES, "model"), PLACES):
        if set(fields) - set(scope):
            return tuple(name for name in scope if name in fields)
    return ()


class Rule:
    """One rule, compiled. `position` is its place in the order in which rules are asked; the first that matches decides."""

    __slots__ = ("id", "is_static", "kinds", "position", "reads_text", "schedule", "scope", "settings", "tests")

    def __init__(self, settings: RuleSettings, *, position: int = 0) -> None:
        match = settings.match
        self.id = settings.id
        self.settings = settings
        self.position = position
        self.scope = scope_of(match)
        self.tests: dict[str, Test] = {name: _test(name, getattr(match, name)) for name in NAMED if getattr(match, name) is not None}
        """The test of each named field that is given."""
        self.schedule = schedule_of(match)
        self.kinds = _kinds(match)
        """The secrets that it looks for; with a `not`, all but those."""
        self.is_static = self.schedule is None and all(getattr(match, name) is None for name in (*SIZES, *TEXTS))
        """Whether the names of a call decide alone."""
        self.reads_text = match.secrets is not None or match.text is not None
        """Whether it looks into the prompt."""

    def may_match(self, call: Call) -> bool:
        """Whether all that the call's names decide holds."""
        return all(test(READ[name](call)) for name, test in self.tests.items())

    def in_scope(self, call: Call) -> bool:
        """Whether its conditions are tested on the call."""
        return all(self.tests[name](READ[name](call)) for name in self.scope)

    def matches(self, call: Call, *, tokens: int, exact: bool, scan: Scan | None) -> bool | Unknown:
        """Return whether the rest holds too, or what must be known first. `tokens` is a bound unless it is `exact`."""
        match = self.settings.match
        if self.schedule is not None and call.started_at not in self.schedule:
            return False
        if not _between(match.min_bytes, call.request_bytes, match.max_bytes):
            return False
        held = self._size(tokens, exact=exact)
        if held is False:
            return False
        if self.reads_text:
            if scan is None:
                return Unknown.TEXT
            if not (self.finds("secrets", scan) and self.finds("text", scan)):
                return False
        return held

    def finds(self, field: Literal["secrets", "text"], scan: Scan) -> bool:
        """Return whether what it asks of the prompt's text holds; a field that it does not give does."""
        match = self.settings.match
        if field == "secrets":
            return match.secrets is None or any(found.kind in self.kinds for found in scan.secrets)
        return match.text is None or any(pattern in scan.patterns for pattern in listed(match.text)) is not isinstance(match.text, Not)

    def _size(self, tokens: int, *, exact: bool) -> bool | Unknown:
        match = self.settings.match
        least, most = match.min_input_tokens, match.max_input_tokens
        if exact or (least is None and (most is None or tokens <= most)):
            return _between(least, tokens, most)
        if least is not None and tokens < least:
            return False  # the exact count is no larger
        return Unknown.TOKENS


def _between(least: int | None, value: int, most: int | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def schedule_of(match: Match) -> Schedule | None:
    """Return the minutes of the week that a match means; None where it says nothing of them."""
    if match.hours is None and match.weekdays is None:
        return None
    return Schedule(
        minutes=_of(match.hours, minutes_of, frozenset(range(DAY_MINUTES))),
        days=_of(match.weekdays, days_of, frozenset(range(7))),
        zone=ZoneInfo(match.timezone),
    )


def _of(patterns: Patterns | Not | None, read: Callable[[Sequence[str]], frozenset[int]], everything: frozenset[int]) -> frozenset[int]:
    if patterns is None:
        return everything
    named = read(listed(patterns))
    return everything - named if isinstance(patterns, Not) else named


def _kinds(match: Match) -> frozenset[str]:
    if match.secrets is None:
        return frozenset()
    named = known_kinds(listed(match.secrets))
    return known_kinds(("any",)) - named if isinstance(match.secrets, Not) else named


def _test(name: str, patterns: Patterns | Not) -> Test:
    """Return the test of one field. Several values (tools) hold when one of them does; `not` holds for one that is none of these."""
    excludes = isinstance(patterns, Not)
    included = compile_patterns(patterns.not_ if isinstance(patterns, Not) else patterns)
    if name == "tools":
        return lambda values: any(included(value) is not excludes for value in cast("tuple[str, ...]", values))
    if name == "model":
        return lambda value: value is not NO_MODEL and included(cast("str | None", value)) is not excludes
    return lambda value: included(cast("str | None", value)) is not excludes
