"""`reconcile`: the ledger against a provider's report."""

import asyncio
import re
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from metering.exports import Export, read_export
from metering.ledger import Ledger
from metering.reconcile import Agreement, Group, Match, OurCalls, family, reconcile, theirs_of, with_calls
from metering.units import dollars
from tollwatch.commands.calls import ledger
from tollwatch.commands.spend import between
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, line, table

_NAMED = 5
"""Calls named in text; --json names all."""


def reconcile_command(arguments: Namespace) -> int:
    """Print where the ledger and the report agree; exit code 1 where they do not."""
    tolerance = _share(arguments.tolerance)
    export = _read(arguments.file)
    if not export.lines:
        raise CommandError(f"{arguments.file} has no lines: nothing to compare")
    provider = arguments.provider or export.provider
    with ledger(arguments) as book:
        matches = asyncio.run(_compare(book, export, provider=provider, tolerance=tolerance))
    if arguments.json:
        json_lines(match.as_json() for match in matches)
    else:
        _show(matches)
    return Exit.ERROR if any(match.outside for match in matches) else Exit.OK


async def _compare(book: Ledger, export: Export, *, provider: str | None, tolerance: float) -> list[Match]:
    days = [entry.day for entry in export.lines]
    since, until = _midnight(min(days)), _midnight(max(days)) + timedelta(days=1)
    ours: dict[Group, OurCalls] = {}
    for (day, model, source), row in await book.spend_by(since=since, until=until, by=("day", "model", "source"), provider=provider):
        if source == "none" or day is None:
            continue
        group = date.fromisoformat(day), family(model)
        calls = OurCalls(
            calls=row.calls,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost_nano=row.cost_nano,
            floor_nano=row.floor_nano,
            ceiling_nano=row.ceiling_nano,
        )
        ours[group] = ours.get(group, OurCalls()) + calls
    matches = reconcile(theirs_of(export.lines), ours, tolerance=tolerance)
    wanted = {match.day for match in matches if match.agreement not in {Agreement.EQUAL, Agreement.ONLY_THEIRS}}
    calls_of = {day: await book.calls_of_day(day, provider=provider) for day in sorted(wanted)}
    return [with_calls(match, calls_of.get(match.day, ())) for match in matches]


def _show(matches: Sequence[Match]) -> None:
    heads = ["DAY", "MODEL", "AGREEMENT", "CALLS", "THEIRS", "IN", "THEIRS", "OUT", "THEIRS", "COST", "BETWEEN", "THEIRS"]
    table(heads, map(_cells, matches), right=frozenset(heads[3:]))
    for match in matches:
        if match.call_ids:
            more = len(match.call_ids) - _NAMED
            named = ", ".join(match.call_ids[:_NAMED]) + (f" and {more} more (--json names them)" if more > 0 else "")
            what = "calls that only we know" if match.agreement is Agreement.ONLY_OURS else "calls whose cost is not certain"
            line(f"{match.day} {match.model or '-'}: {what}: {named}")
    outside = sum(match.outside for match in matches)
    line(f"{len(matches)} groups, {outside} outside the tolerance" if outside else f"{len(matches)} groups, all within the tolerance")


def _cells(match: Match) -> list[object]:
    ours, theirs = match.ours, match.theirs
    return [
        match.day,
        match.model or "-",
        match.agreement.value,
        ours.calls if ours else None,
        theirs.requests if theirs else None,
        ours.input_tokens if ours else None,
        theirs.input_tokens if theirs else None,
        ours.output_tokens if ours else None,
        theirs.output_tokens if theirs else None,
        dollars(ours.cost_nano) if ours else None,
        between(ours.floor_nano, ours.ceiling_nano) if ours else None,
        dollars(theirs.cost_nano) if theirs and theirs.cost_nano is not None else None,
    ]


def _read(path: Path) -> Export:
    try:
        return read_export(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"Cannot read {path} as a usage report: {error}") from error


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if found is None or float(found[1]) > 100:
        raise CommandError(f"--tolerance {text!r} is no share: write for example 1%", Exit.USAGE)
    return float(found[1]) / 100


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
