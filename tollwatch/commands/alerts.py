"""`alerts ls|show|ack|act|resolve|dismiss`."""

import asyncio
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass

from alerting.alert import Alert, HistoryEntry
from alerting.book import AlertBook
from alerting.finding import AlertKind
from alerting.silences import SilenceBook
from alerting.suppression import HeldBack, Suppression
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
    kinds = kinds_of(arguments.kind)
    shown = read(arguments, lambda view: view.list(kinds=kinds, dismissed=None if arguments.all else False, limit=arguments.limit))
    if arguments.json:
        json_lines({**as_json(alert), "suppressed": bool(held)} for alert, held in shown)
        return Exit.OK
    rows = [
        [
            alert.severity,
            alert.local_id,
            alert.last_seen_at.astimezone().strftime("%m-%d %H:%M:%S"),
            alert.kind,
            alert.action,
            f"{alert.status}, suppressed" if held else alert.status,
            alert.occurrence_count,
            alert.message,
        ]
        for alert, held in shown
    ]
    table(
        ["SEVERITY", "ID", "LAST SEEN", "KIND", "ACTION", "STATUS", "COUNT", "MESSAGE"],
        rows,
        right=frozenset({"COUNT"}),
        styles={name: name for name in ("critical", "high", "medium", "low")},
    )
    return Exit.OK


def show(arguments: Namespace) -> int:
    """Show one alert, what holds it back and its history."""
    found = read(arguments, lambda view: view.one(alert_key(arguments.id)))
    if found is None:
        raise CommandError(f"There is no alert {arguments.id!r}; `tollwatch alerts ls --all` shows them")
    alert, held, history = found
    plain = {**as_json(alert), **_held_json(held)}
    if arguments.json:
        json_value({**plain, "history": [{**asdict(entry), "at": entry.at.isoformat()} for entry in history]})
        return Exit.OK
    for key, value in plain.items():
        line(f"{key:<{_WIDTH}} {printable(json.dumps(value) if isinstance(value, dict | list | tuple) else value)}".rstrip())
    for index, entry in enumerate(history):
        line(f"{'' if index else 'history':<{_WIDTH}} {printable(_told(entry))}")
    return Exit.OK


def _held_json(held: HeldBack) -> dict[str, object]:
    """Return what holds an alert back: ids of silences and of other alerts."""
    inhibited = [other.local_id for other in held.inhibited_by]
    return {"suppressed": bool(held), "silenced_by": list(held.silenced_by), "inhibited_by": inhibited}


def _told(entry: HistoryEntry) -> str:
    """Return one change of an alert as a person reads it."""
    where = f" ({entry.feed})" if entry.feed else ""
    note_of_it = f": {entry.note}" if entry.note else ""
    return f"{entry.at.isoformat()} {entry.action} by {entry.actor}{where}{note_of_it}"


def ack(arguments: Namespace) -> int:
    """Acknowledge an alert."""
    return _change(arguments, "alerts.acknowledge")


def act(arguments: Namespace) -> int:
    """Note what was done about an alert."""
    return _change(arguments, "alerts.act", text=arguments.text)


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


@dataclass(frozen=True, slots=True)
class View:
    """The alerts with what holds them back, read beside a gateway that may run."""

    book: AlertBook
    suppression: Suppression

    async def list(self, *, kinds: Sequence[AlertKind] | None, dismissed: bool | None, limit: int) -> Sequence[tuple[Alert, HeldBack]]:
        """Return alerts, newest first."""
        suppressors = await self.suppression.now()
        alerts = await self.book.list(kinds=kinds, dismissed=dismissed, limit=limit)
        return [(alert, suppressors.of(alert)) for alert in alerts]

    async def one(self, key: int | str) -> tuple[Alert, HeldBack, Sequence[HistoryEntry]] | None:
        """Return an alert and its history."""
        alert = await self.book.get(key)
        if alert is None:
            return None
        return alert, (await self.suppression.now()).of(alert), await self.book.history(alert.seq)


def read[T](arguments: Namespace, question: Callable[[View], Awaitable[T]]) -> T:
    """Return the answer to a question about the store. Raises CommandError."""
    config = load_config(arguments.config)
    try:
        with beside(config.database_path) as database:
            silences = SilenceBook(database, defined=config.alerting.silences, now=now)
            book = AlertBook(database, org_id="", settings=config.alerting, now=now)

            async def asked() -> T:
                await silences.load()
                return await question(View(book, Suppression(database, silences, now=now)))

            return asyncio.run(asked())
    except StoreError as error:
        raise CommandError(str(error)) from error


def kinds_of(names: Sequence[str] | None) -> Sequence[AlertKind] | None:
    """Return the kinds that were named. Raises CommandError."""
    try:
        return [AlertKind(name) for name in names] if names else None
    except ValueError as error:
        wrong = next(name for name in names or () if name not in set(AlertKind))
        raise CommandError(f"There is no alert kind {wrong!r}{suggestion(wrong, list(AlertKind))}", Exit.USAGE) from error
