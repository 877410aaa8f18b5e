"""Looking through a store and copying it, beside a running gateway or without one."""

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from storage.database import StoreError
from storage.failures import explain
from storage.migrations import MIGRATIONS
from storage.opening import APPLICATION_ID

_MOST_FAULTS = 100


def verify(path: Path) -> list[str]:
    """Return what is wrong with every page and index of the store, nothing when it is sound. It may take long; it changes nothing."""
    with contextlib.closing(_reader(path)) as connection:
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({_MOST_FAULTS})")]
        except sqlite3.Error as error:
            raise explain(error, path) from error
    faults = [] if found == ["ok"] else found
    if application != APPLICATION_ID:
        faults.append(f"it is no database of tollwatch (application id {application})")
    elif version > len(MIGRATIONS):
        faults.append(f"its schema {version} is of a newer tollwatch (this one knows up to {len(MIGRATIONS)})")
    return faults


def backup(path: Path, target: Path) -> int:
    """Copy the store as it was last committed, and look through the copy; return its bytes. An existing file is never overwritten."""
    with contextlib.closing(_reader(path)) as connection:
        _make(target)
        try:
            with contextlib.closing(sqlite3.connect(target)) as copy:
                connection.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        except sqlite3.Error as error:
            target.unlink()
            raise explain(error, path) from error
    if faults := verify(target):
        raise StoreError(f"The copy {target} is damaged as {path} is ({faults[0]}). Restore an older backup")
    return target.stat().st_size


def _make(target: Path) -> None:
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise StoreError(f"{target} exists already: name a file that does not") from error
    except OSError as error:
        raise StoreError(f"Cannot write {target}: {error.strerror}") from error


def _reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"There is no database at {path}: set data_dir to the folder that holds one")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 2000")
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return connection
