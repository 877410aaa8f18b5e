"""Whether one text can meet some globs and none of others: decided exactly, by walking their automata side by side."""

import fnmatch
import re
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import combinations, product

from metering.scope import compile_patterns
from metering.settings import Patterns

_MOST_STATES = 20_000
"""Real rules need some dozens."""
_READABLE = "abcdefghijklmnopqrstuvwxyz0123456789-"
"""Tried first where any sign would do."""
_ASCII_CASED = "".join(map(chr, range(128))) + "\u0130\u0131\u017f\u212a"
"""ASCII, and the only letters beyond it that are one with a letter of ASCII where case does not matter."""
_STAR, _ANY = "*", "?"

_SIGNS = re.compile(r"[*?\[\]\u0080-\U0010ffff]")
"""What may stand for other signs."""

type _Runs = tuple[tuple[int, int], ...]


class UndecidedError(Exception):
    """The globs are too many or too entangled to be decided within bounds."""


@lru_cache(maxsize=16_384)
def common_text(wanted: tuple[Patterns, ...], unwanted: tuple[Patterns, ...]) -> str | None:
    """Return a shortest text that each of `wanted` matches and none of `unwanted`; None: there is none. "" only where nothing longer is.

    Matching is that of `metering.scope.compile_patterns`. Raises UndecidedError.
    """
    if not all(may_meet(one, other) for one, other in combinations(wanted, 2)):
        return None
    if (texts := _plain(wanted)) is not None:
        return next((text for text in texts if _is_text(text, wanted, unwanted)), None)
    automata = [_Automaton(patterns) for patterns in (*wanted, *unwanted)]
    letters = _letters({token for automaton in automata for token in automaton.tokens})
    try:
        return _search(automata[: len(wanted)], automata[len(wanted) :], letters, one_by_one=False)
    except UndecidedError:
        return _search(automata[: len(wanted)], automata[len(wanted) :], letters, one_by_one=True)


def may_meet(one: Patterns, other: Patterns) -> bool:
    """Whether the plain beginnings and ends of globs leave them a common text: tells most pairs of rules apart, without an automaton."""
    return any(
        (first.startswith(begin) or begin.startswith(first)) and (last.endswith(end) or end.endswith(last))
        for first, last in _ends(one)
        for begin, end in _ends(other)
    )


@lru_cache(maxsize=16_384)
def _ends(patterns: Patterns) -> tuple[tuple[str, str], ...]:
    """Return what each glob begins and ends with before any sign that may stand for others, in lower case."""
    globs = (patterns,) if isinstance(patterns, str) else patterns
    parts = map(_SIGNS.split, globs)
    return tuple((part[0].lower(), part[-1].lower()) for part in parts)


def _plain(wanted: Sequence[Patterns]) -> tuple[str, ...] | None:
    """Return the only texts (but for case) that one of the wanted means, where it has no signs that stand for others."""
    for patterns in wanted:
        texts = (patterns,) if isinstance(patterns, str) else patterns
        if all(text.isascii() and not any(sign in text for sign in "*?[") for text in texts):
            return texts
    return None


def _is_text(text: str, wanted: Sequence[Patterns], unwanted: Sequence[Patterns]) -> bool:
    return all(compile_patterns(patterns)(text) for patterns in wanted) and not any(
        compile_patterns(patterns)(text) for patterns in unwanted
    )


class _Automaton:
    """The positions in some globs that a text may have reached, as bits of a number."""

    __slots__ = ("_stars", "_tokens", "ends", "start", "tokens", "unescapable")

    def __init__(self, patterns: Patterns) -> None:
        self._tokens: list[str | None] = []
        starts, self.ends, self._stars, self.unescapable = 0, 0, 0, 0
        for glob in (patterns,) if isinstance(patterns, str) else patterns:
            starts |= 1 << len(self._tokens)
            for token in _tokens(glob):
                if token == _STAR:
                    self._stars |= 1 << len(self._tokens)
                self._tokens.append(token)
            if self._tokens and self._tokens[-1] == _STAR:
                self.unescapable |= 1 << len(self._tokens) - 1
            self.ends |= 1 << len(self._tokens)
            self._tokens.append(None)
        self.start = self._closed(starts)
        self.tokens = frozenset(token for token in self._tokens if token not in {None, _STAR, _ANY})

    def step(self, state: int, members: Iterable[str | None]) -> int:
        """Return the positions after one sign that is a member of these tokens."""
        reached, rest = 0, state
        while rest:
            bit = rest & -rest
            rest ^= bit
            token = self._tokens[bit.bit_length() - 1]
            if token == _STAR:
                reached |= bit
            elif token == _ANY or (token is not None and token in members):
                reached |= bit << 1
        return self._closed(reached)

    def _closed(self, state: int) -> int:
        """Return the positions with those behind a star, which may stand for nothing."""
        while (wider := state | (state & self._stars) << 1) != state:
            state = wider
        return state


def _tokens(glob: str) -> list[str]:
    """Return the parts of a glob as fnmatch cuts it: `*`, `?`, sets such as `[a-z]`, and single signs."""
    tokens: list[str] = []
    at = 0
    while at < len(glob):
        sign = glob[at]
        at += 1
        if sign == "[" and (end := _end_of_set(glob, at)) is not None:
            tokens.append(glob[at - 1 : end + 1])
            at = end + 1
        elif sign == _STAR and tokens and tokens[-1] == _STAR:
            continue
        else:
            tokens.append("[[]" if sign == "[" else sign)
    return tokens


def _end_of_set(glob: str, at: int) -> int | None:
    """Return where the set that begins before `at` is closed; None: it is not, and its bracket is a plain sign."""
    if glob[at : at + 1] == "!":
        at += 1
    end = glob.find("]", at + 1)  # a bracket that comes first is a member
    return None if end < 0 else end


def _search(
    wanted: Sequence[_Automaton], unwanted: Sequence[_Automaton], letters: Mapping[str, frozenset[str]], *, one_by_one: bool
) -> str | None:
    """Walk all automata at once. `one_by_one`: follow each position of a wanted glob alone, not all that it may be in together.

    Together is fewer states as a rule, and can be twice as many with each sign of a glob; alone there are never more than the product
    of the lengths of the wanted globs, beside what the unwanted ones add.
    """
    automata = (*wanted, *unwanted)
    begun = tuple(automaton.start for automaton in automata)
    reached = dict.fromkeys(_states(begun, len(wanted) if one_by_one else 0), "")
    queue = deque(reached)
    empty: str | None = "" if _accepts(begun, wanted, unwanted) else None
    while queue:
        state = queue.popleft()
        if reached[state] and _accepts(state, wanted, unwanted):
            return reached[state]
        for letter, members in letters.items():
            following = tuple(automaton.step(each, members) for automaton, each in zip(automata, state, strict=True))
            if _is_dead(following, wanted, unwanted):
                continue
            if empty is not None and _accepts(following, wanted, unwanted):
                return reached[state] + letter
            for each in _states(following, len(wanted) if one_by_one else 0):
                if each not in reached:
                    reached[each] = reached[state] + letter
                    queue.append(each)
            if len(reached) > _MOST_STATES:
                raise UndecidedError(f"the globs need more than {_MOST_STATES:,} states to be held against each other")
    return empty


def _states(state: tuple[int, ...], split: int) -> Iterable[tuple[int, ...]]:
    """Return the state, or one for each way to take a single position of each of its first `split` parts."""
    return product(*map(_bits, state[:split]), *((rest,) for rest in state[split:])) if split else (state,)


def _bits(state: int) -> list[int]:
    return [1 << at for at in range(state.bit_length()) if state >> at & 1]


def _accepts(state: tuple[int, ...], wanted: Sequence[_Automaton], unwanted: Sequence[_Automaton]) -> bool:
    return all(each & automaton.ends for each, automaton in zip(state, wanted, strict=False)) and not any(
        each & automaton.ends for each, automaton in zip(state[len(wanted) :], unwanted, strict=True)
    )


def _is_dead(state: tuple[int, ...], wanted: Sequence[_Automaton], unwanted: Sequence[_Automaton]) -> bool:
    """Whether no text that goes on from here can do."""
    return not all(state[: len(wanted)]) or any(
        each & automaton.unescapable for each, automaton in zip(state[len(wanted) :], unwanted, strict=True)
    )


def _letters(tokens: set[str | None]) -> dict[str, frozenset[str]]:
    """Return one sign for each way in which signs differ to these tokens, with the tokens that it is a member of."""
    runs = {token: _runs(token) for token in tokens if token is not None}
    edges = {0} | {edge for spans in runs.values() for first, last in spans for edge in (first, last + 1)}
    found: dict[frozenset[str], str] = {}
    for code in (*map(ord, _READABLE), *sorted(edge for edge in edges if edge <= sys.maxunicode)):
        members = frozenset(token for token, spans in runs.items() if _has(spans, code))
        if members not in found:
            found[members] = chr(code)
    return {letter: members for members, letter in found.items()}


def _has(spans: _Runs, code: int) -> bool:
    return any(first <= code <= last for first, last in spans)


@lru_cache(maxsize=4_096)
def _runs(token: str) -> _Runs:
    """Return the code points that a set or a sign matches, as spans from the first to the last."""
    inner = fnmatch.translate(token).removeprefix("(?s:").rpartition(")")[0]
    found = re.compile(f"(?:{inner})+", re.IGNORECASE | re.DOTALL).finditer
    if len(token) == 1 and token.isascii():
        return tuple(sorted({(ord(sign), ord(sign)) for match in found(_ASCII_CASED) for sign in match[0]}))
    return tuple((match.start(), match.end() - 1) for match in found(_every_sign()))


@cache
def _every_sign() -> str:
    return "".join(map(chr, range(sys.maxunicode + 1)))
