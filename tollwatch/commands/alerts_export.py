"""`alerts export`: alerts for other programs and for spreadsheets."""

import csv
import json
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from typing import Any

from alerting.alert import Alert, Status
from alerting.book import AlertBook
from alerting.finding import Severity, Subject
from metering.spend_csv import plain
from tollwatch.commands.alerts import View, as_json, kinds_of, read
from tollwatch.commands.calls import moment
from tollwatch.exits import Exit
from tollwatch.output import json_lines, printable

_BATCH = 500
_SUBJECT = tuple(field.name for field in fields(Subject))
_PARTS = ("subject", "evidence", "metadata")
_HEADS = (*(field.name for field in fields(Alert) if field.name not in _PARTS), "local_id", "status")


def export(arguments: Namespace) -> int:
    """Print alerts, newest first."""
    since = moment(arguments.since) if arguments.since else None
    until = moment(arguments.until) if arguments.until else None
    page = {
        "kinds": kinds_of(arguments.kind),
        "severity": Severity(arguments.severity) if arguments.severity else None,
        "status": Status(arguments.status) if arguments.status else None,
    }

    async def write(view: View) -> None:
        put = _csv_writer() if arguments.format == "csv" else _json_writer
        async for alert in _alerts(view.book, page):
            if (since is None or alert.created_at >= since) and (until is None or alert.created_at < until):
                put(alert)

    read(arguments, write)
    return Exit.OK


async def _alerts(book: AlertBook, page: dict[str, Any]) -> AsyncIterator[Alert]:
    after: int | None = None
    while batch := await book.list(**page, limit=_BATCH, after=after):
        for alert in batch:
            yield alert
        after = batch[-1].seq


def _json_writer(alert: Alert) -> None:
    json_lines([as_json(alert)])


def _csv_writer() -> Callable[[Alert], None]:
    """Write the heads and return what writes a row: the fields of an alert, those of its subject, evidence as JSON."""
    writer = csv.writer(sys.stdout)
    on_terminal = sys.stdout.isatty()
    writer.writerow([*_HEADS, *_SUBJECT, "evidence"])

    def put(alert: Alert) -> None:
        values = as_json(alert)
        cells = [*(values[name] for name in _HEADS), *(getattr(alert.subject, name) for name in _SUBJECT), json.dumps(values["evidence"])]
        writer.writerow([_cell(value, on_terminal=on_terminal) for value in cells])

    return put


def _cell(value: object, *, on_terminal: bool) -> object:
    """Return a value as a cell: a text is none that a spreadsheet takes for a formula, nor one that steers a terminal."""
    if not isinstance(value, str):
        return value
    return plain(printable(value) if on_terminal else value)
