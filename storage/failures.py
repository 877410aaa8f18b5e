"""What SQLite reports, as sentences with a remedy."""

import sqlite3
from pathlib import Path

from storage.database import ConstraintError, StoreError

_PRIMARY = 0xFF
"""The low byte of an extended SQLite result code is its primary code."""


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """Return the StoreError that says what went wrong with the database at `path`, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    if code == sqlite3.SQLITE_CONSTRAINT:
        return ConstraintError(f"A row contradicts what {path} holds already: {error}")
    if sentence := _SENTENCES.get(code):
        return StoreError(sentence.format(path=path, folder=path.parent))
    return StoreError(
        f"The database {path} did not take a statement: {error}. Run `tollwatch db verify`; if it is sound, report this as a bug"
    )


def damaged(path: Path, detail: str) -> StoreError:
    """Return the StoreError for a file whose content is not to be trusted."""
    return StoreError(f"The database {path} is damaged ({detail}). {_RESTORE}")


_WRITABLE = "Make it and {folder} writable for the user that runs tollwatch"
_LOCKED = "Cannot write to {path}: another process holds it locked. End that process (`fuser {path}` names it)"
_RESTORE = "It was left as it is: restore a backup, or move it and its -wal and -shm files aside to start empty"

_SENTENCES = {
    sqlite3.SQLITE_FULL: "Cannot write to {path}: the disk is full. Free some space; writing goes on by itself",
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_IOERR: "Cannot read or write {path}: the disk reports an error. Look at the system log; move data_dir to a sound disk",
    sqlite3.SQLITE_READONLY: "Cannot write to {path}: it is read-only. " + _WRITABLE,
    sqlite3.SQLITE_PERM: "Cannot open {path}: access is denied. " + _WRITABLE,
    sqlite3.SQLITE_CANTOPEN: "Cannot open {path}. " + _WRITABLE,
    sqlite3.SQLITE_NOTADB: "{path} is not an SQLite database, or its header is damaged. " + _RESTORE,
    sqlite3.SQLITE_CORRUPT: "The database {path} is damaged. " + _RESTORE,
    sqlite3.SQLITE_NOMEM: "Cannot write to {path}: out of memory",
}
