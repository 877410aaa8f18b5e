"""`silences ls|add|expire`."""

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from alerting.matchers import parse_matcher
from alerting.silence import Silence, SilenceState, checked_matchers
from alerting.silences import SilenceBook, defined_silence, in_order
from metering.units import parse_span
from storage.database import StoreError
from tollwatch.commands.writing import write
from tollwatch.config import Config, load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, json_value, line, note, table
from tollwatch.silence_commands import silence_json
from tollwatch.store import beside, now


def ls(arguments: Namespace) -> int:
    """List the silences that are not over; the active first."""
    at = now()
    silences = [one for one in _silences(load_config(arguments.config)) if arguments.all or one.state(at) is not SilenceState.EXPIRED]
    if arguments.json:
        json_lines({**silence_json(silence), "state": silence.state(at)} for silence in silences)
        return Exit.OK
    table(
        ["STATE", "ID", "FROM", "UNTIL", "BY", "MATCHERS", "COMMENT"],
        [
            [
                silence.state(at),
                silence.id,
                "-" if silence.in_config and silence.starts_at.year == 1970 else _shown(silence.starts_at),
                _shown(silence.ends_at) if silence.ends_at else "-",
                f"{silence.created_by} (config file)" if silence.in_config else silence.created_by,
                " ".join(map(str, silence.matchers)),
                silence.comment,
            ]
            for silence in silences
        ],
        styles={"active": "medium", "expired": "dim"},
    )
    return Exit.OK


def add(arguments: Namespace) -> int:
    """Make a silence and print its id."""
    starts_at = _moment("--from", arguments.start) if arguments.start else now()
    ends_at = _moment("--until", arguments.until) if arguments.until else starts_at + _span(arguments.span)
    try:
        checked_matchers([parse_matcher(text) for text in arguments.matcher])
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from error
    made = write(
        arguments,
        "silences.add",
        matchers=arguments.matcher,
        starts_at=starts_at.isoformat(),
        ends_at=ends_at.isoformat(),
        comment=arguments.comment,
        created_by=arguments.author,
    )
    if arguments.json:
        json_value(made)
        return Exit.OK
    note(f"Silence until {_shown(datetime.fromisoformat(made['ends_at']))}: {' '.join(made['matchers'])}")
    line(made["id"])
    return Exit.OK


def expire(arguments: Namespace) -> int:
    """End silences now."""
    for silence_id in arguments.id:
        write(arguments, "silences.expire", id=silence_id)
        note(f"{silence_id} is over")
    return Exit.OK


def _silences(config: Config) -> Sequence[Silence]:
    if not config.database_path.exists():
        return in_order(map(defined_silence, config.alerting.silences), now())
    try:
        with beside(config.database_path) as database:
            book = SilenceBook(database, defined=config.alerting.silences, now=now)
            asyncio.run(book.load())
            return book.all()
    except StoreError as error:
        raise CommandError(str(error)) from error


def _moment(option: str, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"{option}: {text!r} is not a time: write for example 2026-01-31T22:00, or with Z for UTC", Exit.USAGE
        ) from error
    return at if at.tzinfo else at.astimezone()


def _span(text: str) -> timedelta:
    try:
        return cast("timedelta", parse_span(text))
    except ValueError as error:
        raise CommandError(f"--for: {error}", Exit.USAGE) from error


def _shown(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
