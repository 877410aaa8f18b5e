"""The ledger held against a provider's report, day by day and model by model."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Self

from metering.exports import ExportLine
from metering.ledger_rows import Json, usd
from metering.reading import Source

CERTAIN = frozenset({Source.PROVIDER_REPORTED.value, Source.PROVIDER_PRICED.value})

type Group = tuple[date, str | None]
"""A day, and a model without the date of its snapshot; None for a report that does not tell models apart."""

_SNAPSHOT = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2})$")
_OLD_CLAUDE = re.compile(r"claude-(\d+(?:-\d+)?)-([a-z]+)")


@dataclass(frozen=True, slots=True)
class CallOfDay:
    """One call of a day, as far as it takes to name it."""

    id: str
    model: str | None
    source: str | None


class Agreement(StrEnum):
    """How the two sides of a group stand to each other."""

    EQUAL = "equal"
    """Within the tolerance."""
    WITHIN = "within"
    """They differ from our figure, and lie in the interval that we gave."""
    DIFFERS = "differs"
    ONLY_OURS = "only_ours"
    ONLY_THEIRS = "only_theirs"


@dataclass(frozen=True, slots=True, kw_only=True)
class OurCalls:
    """What the ledger knows of a group."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    floor_nano: int = 0
    ceiling_nano: int = 0

    def __add__(self, other: "OurCalls") -> "OurCalls":
        return OurCalls(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_nano=self.cost_nano + other.cost_nano,
            floor_nano=self.floor_nano + other.floor_nano,
            ceiling_nano=self.ceiling_nano + other.ceiling_nano,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Their:
    """What the provider reports of a group; None is what its report does not tell."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano: int | None = None

    @classmethod
    def of(cls, lines: Sequence[ExportLine]) -> Self:
        """Return what lines of a report say together."""
        return cls(
            requests=_sum(line.requests for line in lines),
            input_tokens=_sum(line.input_tokens for line in lines),
            output_tokens=_sum(line.output_tokens for line in lines),
            cost_nano=_sum(line.cost_nano for line in lines),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The two sides of one group."""

    day: date
    model: str | None
    agreement: Agreement
    ours: OurCalls | None
    theirs: Their | None
    call_ids: tuple[str, ...] = ()
    """The calls that only we know; where both know some, those of ours whose cost is no certainty."""

    @property
    def outside(self) -> bool:
        """Whether the difference is beyond tolerance and interval."""
        return self.agreement not in {Agreement.EQUAL, Agreement.WITHIN}

    def as_json(self) -> Json:
        """Return the shape of `reconcile --json`."""
        ours, theirs = self.ours, self.theirs
        return {
            "day": self.day.isoformat(),
            "model": self.model,
            "agreement": self.agreement.value,
            "ours": ours
            and {
                "calls": ours.calls,
                "input_tokens": ours.input_tokens,
                "output_tokens": ours.output_tokens,
                "cost_usd": usd(ours.cost_nano),
                "cost_floor_usd": usd(ours.floor_nano),
                "cost_ceiling_usd": usd(ours.ceiling_nano),
            },
            "theirs": theirs
            and {
                "requests": theirs.requests,
                "input_tokens": theirs.input_tokens,
                "output_tokens": theirs.output_tokens,
                "cost_usd": usd(theirs.cost_nano),
            },
            "call_ids": list(self.call_ids),
        }


def family(model: str | None) -> str | None:
    """Return a model's name without the date of its snapshot: a report and an answer name it one way or the other.

    Anthropic's cost export writes `Claude Haiku 4.5` for `claude-haiku-4-5`, and `Claude Sonnet 3.7` for `claude-3-7-sonnet`.
    """
    if not model:
        return None
    if model.startswith("Claude "):
        model = model.lower().replace(" ", "-").replace(".", "-")
    name = _SNAPSHOT.sub("", model)
    return _OLD_CLAUDE.sub(r"claude-\2-\1", name) if name.startswith("claude-") else name


def theirs_of(lines: Iterable[ExportLine]) -> dict[Group, Their]:
    """Return the sums of a report by day and model; lines that say nothing (OpenAI's of days without usage) are no group.

    A day of which a part is told without a model (Anthropic's fees for searches) is one group as a whole.
    """
    groups: dict[Group, list[ExportLine]] = defaultdict(list)
    for line in lines:
        if (line.requests, line.input_tokens, line.output_tokens, line.cost_nano) != (None, None, None, None):
            groups[line.day, family(line.model)].append(line)
    whole_days = {day for day, model in groups if model is None}
    for day, model in [group for group in groups if group[0] in whole_days and group[1] is not None]:
        groups[day, None] += groups.pop((day, model))
    return {group: Their.of(found) for group, found in groups.items()}


def reconcile(theirs: Mapping[Group, Their], ours: Mapping[Group, OurCalls], *, tolerance: float) -> list[Match]:
    """Return the groups of both sides, by day and model. A day that the report does not tell by model is one group on both."""
    whole_days = {day for day, model in theirs if model is None}
    known: dict[Group, OurCalls] = {}
    for (day, model), calls in ours.items():
        group = day, None if day in whole_days else model
        known[group] = known.get(group, OurCalls()) + calls
    return [
        Match(
            day=group[0],
            model=group[1],
            agreement=_agreement(known.get(group), theirs.get(group), tolerance),
            ours=known.get(group),
            theirs=theirs.get(group),
        )
        for group in sorted({*theirs, *known}, key=lambda group: (group[0], group[1] or ""))
    ]


def with_calls(match: Match, calls: Iterable[CallOfDay]) -> Match:
    """Return the match with the calls of its day that a person would look at."""
    if match.agreement in {Agreement.EQUAL, Agreement.ONLY_THEIRS}:
        return match
    only = match.agreement is Agreement.ONLY_OURS
    ids = tuple(
        call.id for call in calls if (match.model is None or family(call.model) == match.model) and (only or call.source not in CERTAIN)
    )
    return replace(match, call_ids=ids)


def _agreement(ours: OurCalls | None, theirs: Their | None, tolerance: float) -> Agreement:
    if theirs is None:
        return Agreement.ONLY_OURS
    if ours is None:
        said = theirs.requests, theirs.input_tokens, theirs.output_tokens, theirs.cost_nano
        return Agreement.ONLY_THEIRS if any(said) else Agreement.EQUAL
    pairs = ((ours.input_tokens, theirs.input_tokens), (ours.output_tokens, theirs.output_tokens), (ours.cost_nano, theirs.cost_nano))
    if all(their is None or _near(our, their, tolerance) for our, their in pairs):
        return Agreement.EQUAL
    if theirs.cost_nano is not None:
        slack = tolerance * theirs.cost_nano
        inside = ours.floor_nano - slack <= theirs.cost_nano <= ours.ceiling_nano + slack
        return Agreement.WITHIN if inside else Agreement.DIFFERS
    # A report without money: what we did not see to its end can only have used more than we counted.
    open_ended = ours.floor_nano < ours.ceiling_nano
    more = all(their is None or their >= our * (1 - tolerance) for our, their in pairs)
    return Agreement.WITHIN if open_ended and more else Agreement.DIFFERS


def _near(ours: int, theirs: int, tolerance: float) -> bool:
    return abs(ours - theirs) <= tolerance * max(abs(ours), abs(theirs))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
