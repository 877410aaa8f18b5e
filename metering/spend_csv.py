"""Spending as a table for spreadsheets."""

import csv
import io
from collections.abc import Iterable

from metering.ledger_rows import usd
from metering.spend import SpendRow

HEADS = (
    "calls",
    "refused_calls",
    "cost_usd",
    "cost_floor_usd",
    "cost_ceiling_usd",
    "unknown_calls",
    "unknown_at_most_usd",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def spend_csv(rows: Iterable[SpendRow], *, by: str) -> str:
    """Return the rows as CSV (RFC 4180), the key first. Models and users are named by others: none of them begins a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((by, *HEADS))
    for row in rows:
        writer.writerow((plain(row.key or ""), *_numbers(row)))
    return text.getvalue()


def plain(text: str) -> str:
    """Return a text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _numbers(row: SpendRow) -> tuple[object, ...]:
    return (
        row.calls,
        row.refused_calls,
        usd(row.cost_nano),
        usd(row.floor_nano),
        usd(row.ceiling_nano),
        row.unknown_calls,
        usd(row.unknown_hold_nano),
        row.input_tokens,
        row.output_tokens,
        row.cache_read_tokens,
        row.cache_write_tokens,
    )
