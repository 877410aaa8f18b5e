"""What commands print: tables for people, JSON lines for programs."""

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

_STYLES = {"critical": "1;31", "high": "31", "medium": "33", "low": "36", "ok": "32", "bad": "31", "dim": "2", "head": "1"}


def line(text: str = "") -> None:
    """Print one line of data, safe for a terminal."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Print one line that is not data."""
    sys.stderr.write(f"{text}\n")


def printable(value: object) -> str:
    """Return a value as text that cannot steer a terminal or reorder what stands beside it."""
    text = "" if value is None else str(value)
    return "".join("\ufffd" if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp"} else sign for sign in text)


def counted(number: int, noun: str) -> str:
    """Return `1 call` or `2 calls`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def json_lines(items: Iterable[Mapping[str, object]]) -> None:
    """Print one JSON object a line."""
    for item in items:
        line(json.dumps(item, separators=(",", ":"), ensure_ascii=True))


def json_value(value: object) -> None:
    """Print one JSON value, indented."""
    line(json.dumps(value, indent=2, ensure_ascii=True))


def styled(text: str, style: str) -> str:
    """Return `text` in a style where stdout is a terminal and NO_COLOR is not set."""
    if style not in _STYLES or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], *, right: frozenset[str] = frozenset(), styles: Mapping[str, str] | None = None
) -> None:
    """Print aligned columns; numbers stand right; the last column is cut to the terminal's width."""
    cells = [[printable(value) for value in row] for row in rows]
    widths = [max(len(head), *(len(row[index]) for row in cells)) if cells else len(head) for index, head in enumerate(heads)]
    if sys.stdout.isatty():
        before = sum(widths[:-1]) + 2 * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(20, shutil.get_terminal_size().columns - before))
    line(styled(_row(heads, heads, widths, right), "head"))
    for row in cells:
        text = _row(row, heads, widths, right)
        line(styled(text, (styles or {}).get(row[0], "")))


def _row(cells: Sequence[str], heads: Sequence[str], widths: Sequence[int], right: frozenset[str]) -> str:
    shown = [
        cell.rjust(width) if head in right else (cell if len(cell) <= width else cell[: width - 1] + "…").ljust(width)
        for cell, head, width in zip(cells, heads, widths, strict=True)
    ]
    return "  ".join(shown).rstrip()
