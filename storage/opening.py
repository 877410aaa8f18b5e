"""An SQLite file becomes a store: looked at, made or refused, set up, and brought to the newest schema."""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from storage.database import StoreError
from storage.failures import damaged, explain
from storage.migrations import MIGRATIONS

type Durability = Literal["normal", "full"]

APPLICATION_ID = 0x746F6C6C
"""`toll`: stands in the header of the file, so that no other program's database is taken for ours."""

_MAGIC = b"SQLite format 3\x00"
_BUSY_MILLISECONDS = 2_000
_CHECKED_ON_OPEN = 32 << 20
"""Files up to this size are checked page by page at the start (some 50 ms); `tollwatch db verify` checks larger ones."""
_FIXED_WAL_RESET = (3, 51, 3)
_FIRST_WAL = (3, 7, 0)


def open_for_writing(path: Path, *, durability: Durability, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> sqlite3.Connection:
    """Return the writing connection of the store at `path`, made or migrated where needed. Blocking.

    Raises StoreError with the remedy when the file, its folder or its content is not fit; a file is never reset.
    """
    _look_at(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        _set_up(connection, path, durability)
        _migrate(connection, path, migrations)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except StoreError:
        connection.close()
        raise
    return connection


def warnings_about(version: tuple[int, ...]) -> tuple[str, ...]:
    """Return what the operator should know about the SQLite library of this Python."""
    if not _FIRST_WAL <= version < _FIXED_WAL_RESET:
        return ()
    name = ".".join(map(str, version))
    danger = f"SQLite {name} can corrupt a database that several processes write (fixed in 3.51.3)"
    return (f"{danger}: tollwatch writes by one connection only; let no other program write to its database",)


def _look_at(path: Path) -> None:
    """Refuse what SQLite would answer with a riddle, and make a new file private."""
    folder = path.parent
    if not folder.is_dir():
        raise StoreError(f"Cannot open {path}: the folder {folder} does not exist. Create it, or set data_dir to one that does")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"Cannot open {path}: the folder {folder} is not writable. Make it writable for the user that runs tollwatch")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
            owner = os.fstat(file.fileno()).st_uid
    except IsADirectoryError as error:
        raise StoreError(f"Cannot open {path}: it is a folder. Set storage.url to a file") from error
    except OSError as error:
        raise StoreError(f"Cannot open {path}: {error.strerror}. Make it writable for the user that runs tollwatch") from error
    if owner != os.geteuid():
        raise StoreError(
            f"Cannot open {path}: it belongs to user id {owner}, tollwatch runs as {os.geteuid()}. Run it as the owner, or chown the file"
        )
    if head and head != _MAGIC:
        raise StoreError(f"{path} is not an SQLite database. It was left as it is: set storage.url to another file, or restore a backup")


def _set_up(connection: sqlite3.Connection, path: Path, durability: Durability) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    _recognise(connection, path)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"Cannot use {path}: its file system allows no write-ahead log ({mode}). Put data_dir on a local disk")
    connection.execute(f"PRAGMA synchronous = {durability.upper()}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what retention deletes is gone from the file too
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16384")


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise StoreError(f"{path} belongs to another program (application id {application}). Set storage.url to another file")
    if tables:
        _check(connection, path)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that was cut short, or (where that is quick) whose pages do not fit together."""
    size = path.stat().st_size
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    if size % page_size and not _has_log(path):  # pages that a crash left half copied are still whole in the log
        raise damaged(path, f"its last page is cut short at byte {size}")
    if size <= _CHECKED_ON_OPEN:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(path, str(found).replace("\n", " "))


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(migrations):
        raise StoreError(
            f"{path} has schema {version}, this tollwatch knows up to {len(migrations)}: it was written by a newer one. "
            "Upgrade tollwatch, or restore the backup made before the upgrade"
        )
    for number, step in enumerate(migrations[version:], start=version + 1):
        _take_step(connection, path, number, step)


def _take_step(connection: sqlite3.Connection, path: Path, number: int, step: Sequence[str]) -> None:
    """Bring the schema to `number` in one transaction: a crash leaves the old schema or the new one, never half."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in step:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # closing rolls back as well
                connection.execute("ROLLBACK")
        cause = explain(error, path)
        raise StoreError(f"Cannot bring the schema of {path} to version {number}: {error}. Nothing was changed. {cause}") from error
