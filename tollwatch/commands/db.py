"""`db status|verify|backup`: what is in the store, is it sound, and a copy of it."""

from argparse import Namespace

from api.times import rfc3339
from storage import upkeep
from storage.database import StoreError, Value
from storage.migrations import MIGRATIONS
from storage.sqlite import open_readonly
from storage.times import from_micros
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_value, line

_COUNTED = ("calls", "alerts", "detections", "entries", "budget_history", "spend_hours", "audit")


def status(arguments: Namespace) -> int:
    """Print where the database is, how large it is and what it keeps; beside a running gateway or without one."""
    path = load_config(arguments.config).database_path
    try:
        with open_readonly(path) as reader:
            ((version,),) = reader.read("PRAGMA user_version")
            counts = {name: int(reader.read(f"SELECT COUNT(*) FROM {name}")[0][0] or 0) for name in _COUNTED}  # noqa: S608 - of the constants above
            ((first, last),) = reader.read("SELECT MIN(started_at), MAX(started_at) FROM calls")
    except StoreError as error:
        raise CommandError(str(error)) from error
    log = path.with_name(path.name + "-wal")
    found = {
        "database": str(path),
        "bytes": path.stat().st_size,
        "log_bytes": log.stat().st_size if log.exists() else 0,
        "schema": version,
        "newest_schema": len(MIGRATIONS),
        "rows": counts,
        "first_call_at": _moment(first),
        "last_call_at": _moment(last),
    }
    if arguments.json:
        json_value(found)
        return Exit.OK
    line(f"{path}: {found['bytes']:,} bytes, and {found['log_bytes']:,} in its log; schema {version!s} of {len(MIGRATIONS)}")
    for name, number in counts.items():
        line(f"  {name:16} {number:>12,}")
    line(f"  calls from {found['first_call_at'] or '-'} to {found['last_call_at'] or '-'}")
    return Exit.OK


def _moment(micros: Value) -> str | None:
    return rfc3339(from_micros(micros)) if isinstance(micros, int) else None


def verify(arguments: Namespace) -> int:
    """Look through the whole database; exit code 3 when it is damaged."""
    path = load_config(arguments.config).database_path
    try:
        faults = upkeep.verify(path)
    except StoreError as error:
        raise CommandError(str(error), Exit.UNHEALTHY) from error
    if arguments.json:
        json_value({"database": str(path), "sound": not faults, "faults": faults})
    else:
        line(f"{path} is {'damaged' if faults else 'sound'}")
        for fault in faults:
            line(f"  {fault}")
        if faults:
            line("Restore a backup, or move it and its -wal and -shm files aside to start empty")
    return Exit.UNHEALTHY if faults else Exit.OK


def backup(arguments: Namespace) -> int:
    """Copy the database to a file that does not exist yet."""
    path = load_config(arguments.config).database_path
    try:
        size = upkeep.backup(path, arguments.file)
    except StoreError as error:
        raise CommandError(str(error)) from error
    line(f"{arguments.file}: {size:,} bytes, sound")
    return Exit.OK
