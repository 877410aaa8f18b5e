"""`entries ls|show`."""

import asyncio
from argparse import Namespace
from collections.abc import Awaitable, Callable
from datetime import datetime

from alerting.entry import Entry
from alerting.entry_answers import NoEntryError
from alerting.entry_reading import EntryReader
from api.feeds.entry_json import entry_json
from storage.database import StoreError
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, json_value, line, printable, table
from tollwatch.store import beside, now

_WIDTH = 17
"""The longest name of a field, and one more."""


def ls(arguments: Namespace) -> int:
    """List entries, newest first."""
    entries = _read(arguments, lambda reader: reader.latest(limit=arguments.limit))
    if arguments.json:
        json_lines(map(entry_json, entries))
        return Exit.OK
    table(
        ["CREATED", "TITLE", "PLACE", "EVENTS", "LABELS", "STANDS", "ID"],
        [
            [
                _shown(entry.created_at),
                entry.title,
                entry.place.name,
                entry.event_count,
                ", ".join(sorted({event.label for event in entry.events})),
                _stands(entry),
                entry.id,
            ]
            for entry in entries
        ],
        right=frozenset({"EVENTS"}),
    )
    return Exit.OK


def show(arguments: Namespace) -> int:
    """Show one entry and its events."""
    try:
        entry = _read(arguments, lambda reader: reader.get(arguments.id))
    except NoEntryError as error:
        raise CommandError(f"There is no entry {arguments.id!r}; `tollwatch entries ls` shows them") from error
    plain = entry_json(entry)
    if arguments.json:
        json_value(plain)
        return Exit.OK
    for name, value in plain.items():
        if name != "events":
            line(f"{name:<{_WIDTH}} {printable(value)}".rstrip())
    line(f"{'place':<{_WIDTH}} {printable(entry.place.name)} ({printable(entry.place.title)})")
    table(
        ["DETECTED", "LABEL", "SECONDS", "HELD", "ID"],
        [
            [
                _shown(event.detected_at),
                event.label,
                "-" if event.duration is None else f"{event.duration.total_seconds():.3f}",
                f"{event.downtime.total_seconds():.3f}",
                event.id,
            ]
            for event in entry.events
        ],
        right=frozenset({"SECONDS", "HELD"}),
    )
    return Exit.OK


def _stands(entry: Entry) -> str:
    if entry.dismissed_at:
        return "dismissed"
    return "acknowledged" if entry.acknowledged_at else "open"


def _shown(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _read[T](arguments: Namespace, question: Callable[[EntryReader], Awaitable[T]]) -> T:
    """Return the answer to a question about the store. Raises CommandError."""

    async def asked(reader: EntryReader) -> T:
        return await question(reader)

    try:
        with beside(load_config(arguments.config).database_path) as database:
            return asyncio.run(asked(EntryReader(database, now=now)))
    except StoreError as error:
        raise CommandError(str(error)) from error
