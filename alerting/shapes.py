"""What is kept of a text that itself is not kept: its sizes, and keyed fingerprints of its lines and of its template."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import cast

from storage.keyed import KeyedHash

_MOST_LINES = 300
"""Lines whose fingerprints are kept."""
_DIGITS = 8
"""Of the fingerprint of a line."""
_CHANGING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9][0-9.,:/TZ+-]*|\s+", re.IGNORECASE)
"""What a template leaves open: ids, numbers, dates and times, blanks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The measures of a text. `digests` are of its first lines, at most 300; `template` is equal for texts that differ in numbers alone."""

    chars: int
    lines: int
    template: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChange:
    """Lines of one text in whose place the other has lines of its own; numbers from 1, empty where there are none."""

    before: range
    after: range


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How one text departs from another, as far as their shapes tell."""

    same_template: bool
    same_lines: int
    changes: tuple[LineChange, ...]
    complete: bool
    """False where one of them has more lines than are kept."""


def shape_of(text: str, keyed: KeyedHash) -> Shape:
    """Return the shape of a text."""
    lines = text.splitlines()
    return Shape(
        chars=len(text),
        lines=len(lines),
        template=_hash(keyed, "template", _CHANGING.sub(_open, text))[:32],
        digests=tuple(_hash(keyed, "line", line)[:_DIGITS] for line in lines[:_MOST_LINES]),
    )


def difference(before: Shape, after: Shape) -> Difference:
    """Return how the second text departs from the first."""
    matcher = SequenceMatcher(None, before.digests, after.digests, autojunk=False)
    return Difference(
        same_template=before.template == after.template,
        same_lines=sum(block.size for block in matcher.get_matching_blocks()),
        changes=tuple(_changes(matcher)),
        complete=max(before.lines, after.lines) <= _MOST_LINES,
    )


def to_text(shape: Shape | None) -> str | None:
    """Return what the store keeps of a shape."""
    return None if shape is None else json.dumps([shape.chars, shape.lines, shape.template, *shape.digests], separators=(",", ":"))


def from_text(text: str | None) -> Shape | None:
    """Return the shape that the store kept; None for what was seen before shapes were."""
    if text is None:
        return None
    chars, lines, template, *digests = cast("Sequence[object]", json.loads(text))
    return Shape(
        chars=cast("int", chars), lines=cast("int", lines), template=cast("str", template), digests=tuple(cast("list[str]", digests))
    )


def _open(match: re.Match[str]) -> str:
    return " " if match[0].isspace() else "0"


def _hash(keyed: KeyedHash, what: str, text: str) -> str:
    return keyed.hex(f"{what}\0{text}".encode("utf-8", "surrogatepass"))


def _changes(matcher: SequenceMatcher[str]) -> Iterator[LineChange]:
    for tag, first, last, new_first, new_last in matcher.get_opcodes():
        if tag != "equal":
            yield LineChange(before=range(first + 1, last + 1), after=range(new_first + 1, new_last + 1))
