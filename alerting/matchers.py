"""Matchers of labels, with the meaning and the notation that Prometheus gives them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import re2

LONGEST_VALUE = 1_000
_NOTATION = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)


class MatchOperator(StrEnum):
    """How a value is compared; patterns must match the whole of it."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    DIFFERS = "!~"

    @property
    def is_equal(self) -> bool:
        """Whether it asks for what is alike."""
        return self in {MatchOperator.EQUAL, MatchOperator.MATCHES}

    @property
    def is_regex(self) -> bool:
        """Whether it compares with a pattern."""
        return self in {MatchOperator.MATCHES, MatchOperator.DIFFERS}


_OPERATORS = {(operator.is_equal, operator.is_regex): operator for operator in MatchOperator}


def operator_of(*, is_equal: bool, is_regex: bool) -> MatchOperator:
    """Return the operator that Alertmanager writes as two flags."""
    return _OPERATORS[is_equal, is_regex]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """One condition on one label. A label that is missing has the empty value."""

    name: str
    operator: MatchOperator
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet the condition."""
        found = labels.get(self.name, "")
        alike = _pattern(self.value).fullmatch(found) is not None if self.operator.is_regex else found == self.value
        return alike is self.operator.is_equal

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        return f'{self.name}{self.operator}"{value}"'


def parse_matcher(text: str) -> Matcher:
    r"""Return the matcher of `name="value"` (`=`, `!=`, `=~`, `!~`; quotes are optional, `\"`, `\\` and `\n` are escapes).

    Raises ValueError with the remedy.
    """
    match = _NOTATION.fullmatch(text)
    if match is None:
        raise ValueError(f"Cannot read the matcher {text[:100]!r}: write name=value, name!=value, name=~pattern or name!~pattern")
    return checked(Matcher(name=match[1], operator=MatchOperator(match[2]), value=_unquoted(match[3])))


def checked(matcher: Matcher) -> Matcher:
    """Return a matcher that can be asked. Raises ValueError for a value that is too long or a pattern that RE2 does not take."""
    if len(matcher.value) > LONGEST_VALUE:
        raise ValueError(f"The value of the matcher on {matcher.name!r} has {len(matcher.value):,} characters: {LONGEST_VALUE:,} at most")
    if matcher.operator.is_regex:
        _pattern(matcher.value)
    return matcher


@lru_cache(maxsize=4096)
def _pattern(value: str) -> "re2.Pattern":
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(value, options)
    except re2.error as error:
        told: object = error.args[0] if error.args else "not valid"
        reason = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
        raise ValueError(f"The pattern {value[:100]!r} is not one of RE2 (no look-around, no back-references): {reason}") from error


def _unquoted(raw: str) -> str:
    """Return a value without its quotes and escapes, as Alertmanager reads it: what is no escape stands for itself."""
    quoted = len(raw) > 1 and raw.startswith('"') and raw.endswith('"')
    rest = raw[1:-1] if quoted else raw
    if quoted and _ends_escaped(rest):
        raise ValueError(f'The value {raw[:100]} of a matcher has no closing quote: write "value"')
    value = ""
    while rest:
        sign, rest = rest[0], rest[1:]
        if sign == '"':
            raise ValueError(f'The value {raw[:100]} of a matcher has a double quote that is not escaped: write \\"')
        if sign == "\\" and rest and rest[0] in 'n"\\':
            sign, rest = "\n" if rest[0] == "n" else rest[0], rest[1:]
        value += sign
    return value


def _ends_escaped(inner: str) -> bool:
    r"""Whether the quote that follows was an escaped one: an odd number of `\` stands before it."""
    return (len(inner) - len(inner.rstrip("\\"))) % 2 == 1
