"""`alerts ls|show|ack|resolve|dismiss`."""

import asyncio
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from alerting.alert import Alert, HistoryEntry
from alerting.book import AlertBook
from alerting.finding import AlertKind
from storage.database import StoreError
from tollwatch.commands.writing import write
from tollwatch.config import load_config
from tollwatch.control import alert_key
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, json_value, line, note, printable, table
from tollwatch.rawconfig import suggestion
from tollwatch.store import beside, now

_WIDTH = 17
"""The longest name of a field, and one more."""


def ls(arguments: Namespace) -> int:
    """List alerts, newest first."""
    kinds = [_kind(name) for name in arguments.kind] if arguments.kind else None
    alerts = _read(arguments, lambda book: book.list(kinds=kinds, dismissed=None if arguments.all else False, limit=arguments.limit))
    if arguments.json:
        json_lines(map(as_json, alerts))
        return Exit.OK
    rows = [
        [
            alert.severity,
            alert.local_id,
            alert.last_seen_at.astimezone().strftime("%m-%d %H:%M:%S"),
            alert.kind,
            alert.action,
            alert.status,
            alert.occurrence_count,
            alert.message,
        ]
        for alert in alerts
    ]
    table(
        ["SEVERITY", "ID", "LAST SEEN", "KIND", "ACTION", "STATUS", "COUNT", "MESSAGE"],
        rows,
        right=frozenset({"COUNT"}),
        styles={name: name for name in ("critical", "high", "medium", "low")},
    )
    return Exit.OK


def show(arguments: Namespace) -> int:
    """Show one alert and its history."""
    alert = _read(arguments, lambda book: book.get(alert_key(arguments.id)))
    if alert is None:
        raise CommandError(f"There is no alert {arguments.id!r}; `tollwatch alerts ls --all` shows them")
    history = _read(arguments, lambda book: book.history(alert.seq))
    shown = {**as_json(alert), "history": [{**asdict(entry), "at": entry.at.isoformat()} for entry in history]}
    if arguments.json:
        json_value(shown)
        return Exit.OK
    for key, value in as_json(alert).items():
        line(f"{key:<{_WIDTH}} {printable(json.dumps(value) if isinstance(value, dict | list | tuple) else value)}".rstrip())
    for index, entry in enumerate(history):
        line(f"{'' if index else 'history':<{_WIDTH}} {printable(_told(entry))}")
    return Exit.OK


def _told(entry: HistoryEntry) -> str:
    """Return one change of an alert as a person reads it."""
    where = f" ({entry.feed})" if entry.feed else ""
    note_of_it = f": {entry.note}" if entry.note else ""
    return f"{entry.at.isoformat()} {entry.action} by {entry.actor}{where}{note_of_it}"


def ack(arguments: Namespace) -> int:
    """Acknowledge an alert."""
    return _change(arguments, "alerts.acknowledge")


def resolve(arguments: Namespace) -> int:
    """Resolve an alert."""
    return _change(arguments, "alerts.resolve", note=arguments.note)


def dismiss(arguments: Namespace) -> int:
    """Resolve an alert and mute its recurrence."""
    return _change(arguments, "alerts.dismiss")


def as_json(alert: Alert) -> dict[str, object]:
    """Return an alert as a JSON object, moments in RFC 3339."""
    plain = {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in asdict(alert).items()}
    return {**plain, "local_id": alert.local_id, "status": alert.status}


def _change(arguments: Namespace, command: str, **more: object) -> int:
    for done, alert in write(arguments, command, id=arguments.id, **more).items():
        note(f"{alert} is {done}")
    return Exit.OK


def _read[T](arguments: Namespace, question: Callable[[AlertBook], Awaitable[T]]) -> T:
    config = load_config(arguments.config)
    try:
        with beside(config.database_path) as database:
            book = AlertBook(database, org_id="", settings=config.alerting, now=now)

            async def asked() -> T:
                return await question(book)

            return asyncio.run(asked())
    except StoreError as error:
        raise CommandError(str(error)) from error


def _kind(name: str) -> AlertKind:
    try:
        return AlertKind(name)
    except ValueError as error:
        raise CommandError(f"There is no alert kind {name!r}{suggestion(name, list(AlertKind))}", Exit.USAGE) from error
