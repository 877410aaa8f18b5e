"""`spend`: what was spent in a day, a week or a month."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from metering.spend import SpendBy, SpendRow
from metering.spend_csv import spend_csv
from metering.units import dollars
from tollwatch.commands.calls import asked, ledger, moment
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, line, table
from tollwatch.store import now


def spend(arguments: Namespace) -> int:
    """Print what was spent, at least and at most; what is unknown stands apart and is never counted as nothing."""
    since, until = _span(arguments)
    by: SpendBy = arguments.by or ("provider" if arguments.period == "daily" and not arguments.since else "day")
    with ledger(arguments) as book:
        rows = asked(lambda: book.spend(since=since, until=until, by=by))
    if arguments.csv:
        sys.stdout.write(spend_csv(rows, by=by))
    elif arguments.json:
        span = {"since": since.isoformat(), "until": until.isoformat() if until else None}
        json_lines({**span, "by": by, **row.as_json()} for row in rows)
    else:
        _show(rows, by, since, until)
    return Exit.OK


def _show(rows: Sequence[SpendRow], by: str, since: datetime, until: datetime | None) -> None:
    cells = [
        [
            row.key or "-",
            dollars(row.cost_nano),
            between(row.floor_nano, row.ceiling_nano),
            row.calls,
            row.refused_calls,
            row.input_tokens,
            row.output_tokens,
            f"{row.unknown_calls} (at most {dollars(row.unknown_hold_nano)})" if row.unknown_calls else "",
        ]
        for row in rows
    ]
    heads = [by.upper(), "COST", "BETWEEN", "CALLS", "REFUSED", "IN", "OUT", "OF UNKNOWN COST"]
    table(heads, cells, right=frozenset(heads[1:7]))
    unknown = sum(row.unknown_calls for row in rows)
    span = f"since {since:%Y-%m-%d %H:%M}" if until is None else f"from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}"
    interval = between(sum(row.floor_nano for row in rows), sum(row.ceiling_nano for row in rows))
    beside = f" (between {interval})" if interval else ""
    unknowns = f", and {unknown} calls of unknown cost" if unknown else ""
    line(f"{dollars(sum(row.cost_nano for row in rows))}{beside} {span} UTC{unknowns}")


def between(floor_nano: int, ceiling_nano: int) -> str:
    """Return the interval for people, nothing where it is a point."""
    return "" if floor_nano == ceiling_nano else f"{dollars(floor_nano)} and {dollars(ceiling_nano)}"


def _span(arguments: Namespace) -> tuple[datetime, datetime | None]:
    since = moment(arguments.since).astimezone(UTC) if arguments.since else _begin(arguments.period, now())
    until = moment(arguments.until).astimezone(UTC) if arguments.until else None
    if until is not None and until <= since:
        raise CommandError(f"--until {until:%Y-%m-%dT%H:%M:%SZ} is not after {since:%Y-%m-%dT%H:%M:%SZ}", Exit.USAGE)
    return since, until


def _begin(period: str, at: datetime) -> datetime:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "monthly" else day
