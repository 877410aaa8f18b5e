"""`calls ls|show` and `tail`: the ledger, one row a call."""

import asyncio
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta

from metering.ledger import Ledger
from metering.ledger_rows import LedgerRow
from metering.reading import Source
from metering.units import dollars, parse_span
from storage.database import StoreError
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, json_value, line, printable, styled, table
from tollwatch.store import beside, now

_POLL_SECONDS = 0.25
_OVERLAP = timedelta(seconds=10)
_HEADS = ("STARTED", "ID", "PROVIDER", "OPERATION", "MODEL", "STATUS", "IN", "OUT", "COST", "VERDICT", "USER")


def ls(arguments: Namespace) -> int:
    """List calls, newest first."""
    since = moment(arguments.since) if arguments.since else None
    with ledger(arguments) as book:
        rows = asked(lambda: book.rows(since=since, limit=arguments.limit, newest_first=True))
    if arguments.json:
        json_lines(row.as_json() for row in rows)
        return Exit.OK
    table(_HEADS, map(_cells, rows), right=frozenset({"IN", "OUT", "COST"}))
    return Exit.OK


def show(arguments: Namespace) -> int:
    """Show one call."""
    with ledger(arguments) as book:
        row = asked(lambda: book.row(arguments.id))
    if row is None:
        raise CommandError(
            f"There is no call {arguments.id!r}; `tollwatch calls ls` shows them, and each answer names its own in x-tollwatch-call"
        )
    if arguments.json:
        json_value(row.as_json())
        return Exit.OK
    for key, value in row.as_json().items():
        line(f"{key:<14} {printable(json.dumps(value) if isinstance(value, dict) else value)}")
    return Exit.OK


def tail(arguments: Namespace) -> int:
    """Print calls as they settle."""
    with ledger(arguments) as book:
        asyncio.run(_follow(book, json_output=arguments.json, count=arguments.count))
    return Exit.OK


async def _follow(book: Ledger, *, json_output: bool, count: int | None) -> None:
    begun = now()
    printed: dict[str, datetime] = {}
    pending: set[str] = set()
    while count is None or len(printed) < count:
        recent = await book.rows(since=max(begun, now() - _OVERLAP), limit=10_000)
        late = [await book.row(call_id) for call_id in pending - {row.id for row in recent}]
        for row in (*recent, *filter(None, late)):
            if row.id in printed:
                continue
            if row.state == "intent":
                pending.add(row.id)
                continue
            pending.discard(row.id)
            printed[row.id] = row.started_at
            line(json.dumps(row.as_json(), separators=(",", ":")) if json_output else _line(row))
            if len(printed) == count:
                return
        if count is None:
            printed = {call_id: at for call_id, at in printed.items() if at > now() - 2 * _OVERLAP or call_id in pending}
        await asyncio.sleep(_POLL_SECONDS)


def _cells(row: LedgerRow) -> list[object]:
    unknown = "" if row.source == Source.NONE else "?"
    cost = unknown if row.cost_nano is None else dollars(row.cost_nano)
    at = row.started_at.astimezone().strftime("%m-%d %H:%M:%S")
    model = row.response_model or row.request_model
    return [
        at,
        row.id,
        row.provider,
        row.operation,
        model,
        row.status or row.ending or row.state,
        row.input_tokens,
        row.output_tokens,
        cost,
        row.verdict,
        row.user,
    ]


def _line(row: LedgerRow) -> str:
    started, call_id, provider, operation, model, status, read, written, cost, verdict, user = map(printable, _cells(row))
    what = f"{provider} {operation} {model or '-'}  {status}  {read or '?'} in {written or '?'} out  {cost}"
    text = f"{started}  {what}  {verdict}  {user or '-'}  {call_id}"
    return styled(text, "bad" if verdict == "block" else "")


@contextmanager
def ledger(arguments: Namespace) -> Generator[Ledger]:
    """Open the ledger beside the gateway."""
    try:
        with beside(load_config(arguments.config).database_path) as database:
            yield Ledger(database, instance="", now=now, on_settled=lambda _batch: None)
    except StoreError as error:
        raise CommandError(str(error)) from error


def asked[T](question: Callable[[], Awaitable[T]]) -> T:
    """Return the answer of an awaitable question."""

    async def ask() -> T:
        return await question()

    return asyncio.run(ask())


def moment(text: str) -> datetime:
    """Return the moment that a span back from now or a time means."""
    try:
        span = parse_span(text)
        return now() - span if isinstance(span, timedelta) else now()
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is neither a span (24h) nor a time (2026-01-31T10:00:00Z)", Exit.USAGE) from error
    return at if at.tzinfo else at.astimezone()
