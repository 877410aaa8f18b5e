"""Whether a call exists that some matches mean and others do not: decided field by field, with an example."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import cast

from alerting.globs import UndecidedError, common_text
from alerting.rule_settings import Match, Not
from metering.call import Endpoint
from metering.scope import compile_patterns
from metering.settings import Patterns

_MOST_STEPS = 5_000
"""Of trying by which field each unwanted match may fail."""
_TEXTS = ("provider", "operation", "host", "path", "service")
_MAYBE_TEXTS = ("model", "user", "department", "agent", "key_id")
"""Texts that a call may lack."""

type Said = Patterns | Not | int
"""What a match says of one field."""
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

    Fields that it does not name may have any value. What a call says in one field is taken to bind no other.
    """
    claims: dict[str, tuple[Claim, ...]] = {}
    for match in wanted:
        for field, said in _fields(match):
            claims[field] = (*claims.get(field, ()), Claim(said, met=True))
    for field, of_field in claims.items():
        if _value(field, of_field) is None:
            return None
    return _fail(claims, [tuple(_fields(match)) for match in unwanted], iter(range(_MOST_STEPS)))


def _fields(match: Match) -> Iterator[tuple[str, Said]]:
    for field in Match.model_fields:
        said = getattr(match, field)
        if said is not None and field != "timezone":  # it only says what the hours and days mean
            yield field, said


def _fail(
    claims: Mapping[str, tuple[Claim, ...]], unwanted: Sequence[tuple[tuple[str, Said], ...]], steps: Iterator[int]
) -> Example | None:
    """Return values under which each of `unwanted` fails by one of its fields at least."""
    if not unwanted:
        return MappingProxyType({field: found.value for field, of_field in claims.items() if (found := _value(field, of_field))})
    for field, said in unwanted[0]:
        if next(steps, None) is None:
            raise UndecidedError(f"more than {_MOST_STEPS:,} ways to hold the rules against each other")
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
    if field == "min_input_tokens":
        return _size(claims)
    if field == "tools" and not any(isinstance(claim.said, Not) for claim in claims):
        return _tools(claims)
    if field == "endpoint":
        return next((_Value(endpoint.value) for endpoint in Endpoint if all(_holds(claim, endpoint.value) for claim in claims)), None)
    if field not in _TEXTS and field not in _MAYBE_TEXTS:
        raise UndecidedError(f"rules are not held against each other by {field}")
    return _text(claims) or (_Value(None) if field in _MAYBE_TEXTS and all(_holds(claim, None) for claim in claims) else None)


def _text(claims: tuple[Claim, ...]) -> _Value | None:
    wanted: list[Patterns] = []
    unwanted: list[Patterns] = []
    for claim in claims:
        patterns, positive = (claim.said.not_, not claim.met) if isinstance(claim.said, Not) else (cast("Patterns", claim.said), claim.met)
        (wanted if positive else unwanted).append(patterns)
    found = common_text(tuple(dict.fromkeys(wanted)), tuple(dict.fromkeys(unwanted)))
    return None if found is None else _Value(found)


def _holds(claim: Claim, value: str | None) -> bool:
    if isinstance(claim.said, Not):
        return claim.met is not compile_patterns(claim.said.not_)(value)
    return claim.met is compile_patterns(cast("Patterns", claim.said))(value)


def _tools(claims: tuple[Claim, ...]) -> _Value | None:
    """Return the tools of a call: one for each match that wants one, each foreign to all that want none."""
    unwanted = tuple(cast("Patterns", claim.said) for claim in claims if not claim.met)
    tools: list[str] = []
    for claim in claims:
        if claim.met:
            tool = common_text((cast("Patterns", claim.said),), unwanted)
            if tool is None:
                return None
            tools.append(tool)
    return _Value(tuple(dict.fromkeys(tools)))


def _size(claims: tuple[Claim, ...]) -> _Value | None:
    least = max((cast("int", claim.said) for claim in claims if claim.met), default=0)
    below = min((cast("int", claim.said) for claim in claims if not claim.met), default=None)
    return _Value(least) if below is None or least < below else None
