"""What stands in the text of a prompt: secrets, and the patterns of rules, found by an engine whose time grows with the text alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

import re2

from alerting.secret_kinds import BY_NAME, KINDS, SecretKind
from metering.call import Prompt
from metering.scope import compile_patterns

ANY = "any"
"""Every kind of secret."""
MOST_PATTERNS = 100
"""Patterns of one rule."""
LONGEST_PATTERN = 1_000
IN_THREAD_FROM = 32 << 10
"""Characters of a prompt from which on it is looked through in a thread."""
_SET_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """One kind of secret in one place; the secret itself is not kept."""

    kind: str
    place: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a prompt: the kinds of secrets, and for each pattern that it has, the first place."""

    secrets: tuple[Found, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict[str, str])


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> "re2.Pattern":
    """Return a pattern, compiled. Raises ValueError for one that RE2 does not take."""
    if not pattern or len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"a text pattern has 1 to {LONGEST_PATTERN:,} characters, not {len(pattern):,}")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        told: object = error.args[0] if error.args else "not valid"
        reason = told.decode("utf-8", "replace") if isinstance(told, bytes) else told
        raise ValueError(f"the text pattern {pattern[:80]!r} is not one of RE2 (no look-around, no back-references): {reason}") from error


@cache
def known_kinds(names: tuple[str, ...]) -> frozenset[str]:
    """Return the kinds of secrets that globs name. Raises ValueError for one that names none."""
    named: set[str] = set()
    for name in names:
        test = compile_patterns("*" if name == ANY else name)
        kinds = {kind.name for kind in KINDS if test(kind.name)}
        if not kinds:
            raise ValueError(f"{name!r} names no kind of secret: write `{ANY}`, or globs of {', '.join(BY_NAME)}")
        named |= kinds
    return frozenset(named)


class Scanner:
    """Looks a prompt through for some kinds of secrets and some patterns, all of a policy's at once."""

    def __init__(self, *, kinds: frozenset[str], patterns: Sequence[str]) -> None:
        self._kinds = [kind for kind in KINDS if kind.name in kinds]
        self._patterns = [(pattern, compiled(pattern)) for pattern in dict.fromkeys(patterns)]
        self._set = _set_of(self._kinds)

    def scan(self, prompt: Prompt) -> Scan:
        """Return what stands in a prompt."""
        secrets: dict[Found, None] = {}
        patterns: dict[str, str] = {}
        for place, text in _parts(prompt):
            secrets.update(dict.fromkeys(Found(kind, place) for kind in self._secrets(text)))
            for pattern, expression in self._patterns:
                if pattern not in patterns and expression.search(text) is not None:
                    patterns[pattern] = place
        return Scan(tuple(secrets), patterns)

    def _secrets(self, text: bytes) -> Iterator[str]:
        for index in (self._set.Match(text) or ()) if self._set is not None else ():
            kind = self._kinds[index]
            if _has(kind, text):
                yield kind.name


def _set_of(kinds: Sequence[SecretKind]) -> re2.Set | None:
    """Return all patterns as one automaton, which passes over a text once; None without any."""
    if not kinds:
        return None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _SET_MEMORY
    made = re2.Set.SearchSet(options)
    for kind in kinds:
        made.Add(kind.pattern)
    made.Compile()
    return made


def _has(kind: SecretKind, text: bytes) -> bool:
    """Return whether a text has a secret of a kind that passes the check; what fails it does not hide what begins within it."""
    if kind.check is None:
        return True
    expression, start = compiled(kind.pattern), 0
    while (match := expression.search(text, start)) is not None:
        if kind.check(match.group(expression.groups and 1).decode("utf-8", "replace")):
            return True
        start = match.start() + 1
    return False


def _parts(prompt: Prompt) -> Iterator[tuple[str, bytes]]:
    """Return the texts of a prompt with their places, as people count them."""
    for number, text in enumerate(prompt.system):
        message = _message(prompt.system_at, number)
        yield f"{message} (instructions)" if message else "the instructions", text.encode("utf-8", "replace")
    for number, text in enumerate(prompt.texts):
        message = _message(prompt.texts_at, number)
        yield message or f"text {number + 1} of {len(prompt.texts)}", text.encode("utf-8", "replace")
    if prompt.tools:
        yield "the definitions of tools", prompt.tools


def _message(places: Sequence[int], number: int) -> str:
    return f"message {places[number]}" if number < len(places) and places[number] else ""
