"""`users ls|lock|unlock`."""

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from alerting.lockout import Lock, read
from storage.database import Database, StoreError
from tollwatch.commands.writing import write
from tollwatch.config import Config, load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, note, table
from tollwatch.store import beside, now


def ls(arguments: Namespace) -> int:
    """List the users of the config, and everybody who is locked out."""
    config = load_config(arguments.config)
    people = _people(config, _locks(config), at=now())
    if arguments.json:
        json_lines(people)
        return Exit.OK
    table(
        ["STATE", "NAME", "DEPARTMENT", "LAST DAY", "LOCKED SINCE", "BY", "REASON"],
        [
            [
                one["state"],
                one["name"] if one["field"] == "user" else f"{one['name']} (key)",
                one["department"],
                one["last_day"],
                one["locked_at"],
                one["locked_by"],
                one["reason"],
            ]
            for one in people
        ],
        styles={"locked": "bad"},
    )
    return Exit.OK


def lock(arguments: Namespace) -> int:
    """Refuse all calls of a user until somebody unlocks."""
    config = load_config(arguments.config)
    made = write(arguments, "users.lock", name=arguments.name, key=arguments.key, reason=arguments.reason)
    if not arguments.key and arguments.name not in {user.name for user in config.users}:
        note(f"{arguments.name!r} is none of the config's users: the lock holds for whoever is known by exactly this name")
    if config.mode == "monitor":
        note("The mode is monitor: calls pass, and the alert counts them; in enforce mode they are refused")
    note(f"{arguments.name} is locked out since {made['locked_at']} ({made['reason']})")
    return Exit.OK


def unlock(arguments: Namespace) -> int:
    """Let a user call again."""
    write(arguments, "users.unlock", name=arguments.name, key=arguments.key)
    note(f"{arguments.name} is released")
    return Exit.OK


def _locks(config: Config) -> Sequence[Lock]:
    if not config.database_path.exists():
        return []
    try:
        with beside(config.database_path) as database:
            return asyncio.run(_all(database))
    except StoreError as error:
        raise CommandError(str(error)) from error


def _people(config: Config, locks: Sequence[Lock], *, at: datetime) -> list[dict[str, str | None]]:
    """Return one row for each user and for each lock that is about no user of the config."""
    today = at.astimezone(ZoneInfo(config.detectors.last_day.timezone)).date()
    locked = {(lock.who.field, lock.who.name): lock for lock in locks}
    rows: list[dict[str, str | None]] = []
    for user in config.users:
        left = user.last_day is not None and user.last_day + timedelta(days=1) <= today
        rows.append(
            _row("user", user.name, locked.pop(("user", user.name), None), state="left" if left else "active")
            | {"department": user.department, "last_day": user.last_day.isoformat() if user.last_day else None}
        )
    return [*rows, *(_row(field, name, lock, state="locked") for (field, name), lock in locked.items())]


def _row(field: str, name: str, lock: Lock | None, *, state: str) -> dict[str, str | None]:
    return {
        "field": field,
        "name": name,
        "state": "locked" if lock else state,
        "department": None,
        "last_day": None,
        "locked_at": lock.locked_at.isoformat() if lock else None,
        "locked_by": lock.locked_by if lock else None,
        "reason": lock.reason if lock else None,
    }


async def _all(database: Database) -> Sequence[Lock]:
    return await read(database)
