"""`spend`: what was spent in a day, a week or a month."""

from argparse import Namespace
from datetime import datetime, timedelta

from metering.spend import SpendBy
from metering.units import dollars
from tollwatch.commands.calls import asked, ledger
from tollwatch.exits import Exit
from tollwatch.output import counted, json_lines, line, table
from tollwatch.store import now


def spend(arguments: Namespace) -> int:
    """Print what was spent; what is unknown stands apart and is never counted as nothing."""
    since = _begin(arguments.period, now())
    by: SpendBy = arguments.by or ("provider" if arguments.period == "daily" else "day")
    with ledger(arguments) as book:
        rows = asked(lambda: book.spend(since=since, by=by))
    if arguments.json:
        json_lines({"since": since.isoformat(), "by": by, **row.as_json()} for row in rows)
        return Exit.OK
    cells = [
        [
            row.key or "-",
            dollars(row.cost_nano),
            row.calls,
            row.refused_calls,
            row.input_tokens,
            row.output_tokens,
            f"{row.unknown_calls} (at most {dollars(row.unknown_hold_nano)})" if row.unknown_calls else "",
        ]
        for row in rows
    ]
    heads = [by.upper(), "COST", "CALLS", "REFUSED", "IN", "OUT", "OF UNKNOWN COST"]
    table(heads, cells, right=frozenset(heads[1:6]))
    unknown = sum(row.unknown_calls for row in rows)
    beside = f", and {counted(unknown, 'call')} of unknown cost" if unknown else ""
    line(f"{dollars(sum(row.cost_nano for row in rows))} since {since:%Y-%m-%d} UTC{beside}")
    return Exit.OK


def _begin(period: str, at: datetime) -> datetime:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "monthly" else day
