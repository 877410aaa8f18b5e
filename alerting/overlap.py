"""Whether a call exists that some matches mean and others do not: decided field by field, with an example."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import cast

from alerting.globs import UndecidedError, common_text
from alerting.rule_settings import Match, Not, listed
from alerting.texts import known_kinds
from alerting.weeks import Week, a_moment, week_of
from metering.call import Endpoint
from metering.scope import compile_patterns
from metering.settings import Patterns

_MOST_STEPS = 5_000
"""Of trying by which field each unwanted match may fail."""
_CERTAIN = frozenset({"provider", "operation", "host", "path", "service"})
"""Texts that each call has; the others (model, user, …) it may lack."""
_SIZES = frozenset({"min_input_tokens", "max_input_tokens", "min_bytes", "max_bytes"})
_TIMES = frozenset({"hours", "weekdays", "timezone"})


@dataclass(frozen=True, slots=True)
class Bound:
    """That a number is not below (or not above) a limit."""

    limit: int
    is_least: bool


type Said = Patterns | Not | Bound | Week | frozenset[str]
"""What a match says of one field."""
type Sayings = tuple[tuple[str, Said], ...]
"""What a match says, each with the field that it is about."""
type Shown = str | int | tuple[str, ...] | None
"""The value of a field in an example; None: the call lacks it."""
type Example = Mapping[str, Shown]


@dataclass(frozen=True, slots=True)
class Claim:
    """That a call meets what a match says of a field, or that it does not."""

    said: Said
    met: bool


def an_example(wanted: Sequence[Match], unwanted: Sequence[Match] = ()) -> Example | None:
    """Return the fields of a call that each of `wanted` matches and none of `unwanted`; None: no call can. Raises UndecidedError.

    Fields that it does not name may have any value. What a call says in one field is taken to bind no other, and patterns of text are
    taken to bind each other only where they are the same: two different ones may stand in a text, together or apart.
    """
    return example_of([tuple(said_by(match)) for match in wanted], [tuple(said_by(match)) for match in unwanted])


def example_of(wanted: Sequence[Sayings], unwanted: Sequence[Sayings]) -> Example | None:
    """Return the same for what matches say, read once where they are held against many others."""
    claims: dict[str, tuple[Claim, ...]] = {}
    for sayings in wanted:
        for field, said in sayings:
            claims[field] = (*claims.get(field, ()), Claim(said, met=True))
    if any(_value(field, of_field) is None for field, of_field in claims.items()):
        return None
    return _fail(claims, unwanted, iter(range(_MOST_STEPS)))


def said_by(match: Match) -> Iterator[tuple[str, Said]]:
    """Return what a match says, each with the field of a call that it is about."""
    for field in Match.model_fields:
        said = getattr(match, field)
        if said is None or field in _TIMES:
            continue
        if field in _SIZES:
            side, _, name = field.partition("_")
            yield name, Bound(said, is_least=side == "min")
        elif field == "secrets":
            named = known_kinds(listed(said))
            yield field, known_kinds(("any",)) - named if isinstance(said, Not) else named
        else:
            yield field, said
    if (week := week_of(match)) is not None:
        yield "time", week


def _fail(claims: Mapping[str, tuple[Claim, ...]], unwanted: Sequence[Sayings], steps: Iterator[int]) -> Example | None:
    """Return values under which each of `unwanted` fails by one of its fields at least."""
    if not unwanted:
        return MappingProxyType({field: found.value for field, of_field in claims.items() if (found := _value(field, of_field))})
    for field, said in unwanted[0]:
        if next(steps, None) is None:
            raise UndecidedError(f"there are more than {_MOST_STEPS:,} ways to hold them against each other")
        narrowed = (*claims.get(field, ()), Claim(said, met=False))
        if _value(field, narrowed) is None:
            continue
        example = _fail({**claims, field: narrowed}, unwanted[1:], steps)
        if example is not None:
            return example
    return None


@dataclass(frozen=True, slots=True)
class _Value:
    value: Shown


@lru_cache(maxsize=65_536)
def _value(field: str, claims: tuple[Claim, ...]) -> _Value | None:
    """Return a value of the field that meets all claims; None: there is none."""
    if field in {"input_tokens", "bytes"}:
        return _number(claims)
    if field == "time":
        moment = a_moment([(cast("Week", claim.said), claim.met) for claim in claims])
        return None if moment is None else _Value(moment)
    if field in {"secrets", "text"}:
        return _contents(claims)
    if field == "tools":
        return _tools(claims)
    if field == "endpoint":
        return next((_Value(endpoint.value) for endpoint in Endpoint if all(_holds(claim, endpoint.value) for claim in claims)), None)
    return _text(claims) or _lack(field, claims)


def _text(claims: tuple[Claim, ...]) -> _Value | None:
    wanted: dict[Patterns, None] = {}
    unwanted: dict[Patterns, None] = {}
    for claim in claims:
        patterns, excludes = _globs(claim)
        (wanted if claim.met is not excludes else unwanted)[patterns] = None
    found = common_text(tuple(wanted), tuple(unwanted))
    return None if found is None else _Value(found)


def _lack(field: str, claims: tuple[Claim, ...]) -> _Value | None:
    """Return the value of a call without one, which meets each `not`; one that is free and names no model meets no match of a model."""
    if field in _CERTAIN:
        return None
    if all(_holds(claim, None) for claim in claims) or (field == "model" and not any(claim.met for claim in claims)):
        return _Value(None)
    return None


def _holds(claim: Claim, value: str | None) -> bool:
    patterns, excludes = _globs(claim)
    return claim.met is (compile_patterns(patterns)(value) is not excludes)


def _globs(claim: Claim) -> tuple[Patterns, bool]:
    """Return the globs of a claim, and whether what they match is excluded."""
    said = claim.said
    return (said.not_, True) if isinstance(said, Not) else (cast("Patterns", said), False)


def _tools(claims: tuple[Claim, ...]) -> _Value | None:
    """Return the tools of a call: one for each match that wants one, each foreign to all that want none."""
    wanted: list[Patterns] = []
    unwanted: list[Patterns] = []
    for claim in claims:
        if not claim.met:
            patterns, excludes = _globs(claim)
            (wanted if excludes else unwanted).append(patterns)
    tools: dict[str, None] = {}
    for claim in claims:
        if not claim.met:
            continue
        patterns, excludes = _globs(claim)
        tool = common_text((*wanted,), (*unwanted, patterns)) if excludes else common_text((*wanted, patterns), (*unwanted,))
        if tool is None:
            return None
        tools[tool] = None
    return _Value(tuple(tools))


def _contents(claims: tuple[Claim, ...]) -> _Value | None:
    """Return what stands in a prompt: of each claim that wants something, something that no claim forbids."""
    forbidden: set[str] = set()
    choices: list[Sequence[str]] = []
    for claim in claims:
        said = claim.said
        names: Sequence[str] = sorted(said) if isinstance(said, frozenset) else listed(cast("Patterns | Not", said))
        if claim.met is not isinstance(said, Not):
            choices.append(names)
        else:
            forbidden.update(names)
    found: dict[str, None] = {}
    for names in choices:
        name = next((name for name in names if name not in forbidden), None)
        if name is None:
            return None
        found[name] = None
    return _Value(tuple(found))


def _number(claims: tuple[Claim, ...]) -> _Value | None:
    bounds = [(cast("Bound", claim.said), claim.met) for claim in claims]
    least = max((bound.limit if met else bound.limit + 1 for bound, met in bounds if bound.is_least is met), default=0)
    most = min((bound.limit if met else bound.limit - 1 for bound, met in bounds if bound.is_least is not met), default=None)
    return _Value(least) if most is None or least <= most else None
