"""`db verify|backup`: is the store sound, and a copy of it."""

from argparse import Namespace

from storage import upkeep
from storage.database import StoreError
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_value, line


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
