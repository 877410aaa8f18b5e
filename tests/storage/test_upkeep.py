"""A store is looked through and copied while it is written."""

import sqlite3
from pathlib import Path

import pytest

from storage.database import Sql, StoreError, Work
from storage.sqlite import SqliteDatabase, open_readonly
from storage.upkeep import backup, verify


async def _written(path: Path) -> SqliteDatabase:
    database = await SqliteDatabase.open(path)

    def work() -> Work[None]:
        for number in range(500):
            yield Sql("INSERT INTO meta (name, value) VALUES (?, ?)", (f"n{number}", "x" * 100))

    await database.write(work)
    return database


async def test_a_copy_beside_the_gateway_is_whole(tmp_path: Path) -> None:
    database = await _written(tmp_path / "a.db")
    try:
        assert verify(tmp_path / "a.db") == []
        size = backup(tmp_path / "a.db", tmp_path / "copy.db")
    finally:
        await database.close()

    assert size == (tmp_path / "copy.db").stat().st_size
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "copy.db-wal").exists()
    with open_readonly(tmp_path / "copy.db") as copy:
        assert copy.read("SELECT COUNT(*) FROM meta") == [(500,)]
    again = await SqliteDatabase.open(tmp_path / "copy.db")
    await again.close()


async def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    await (await _written(tmp_path / "a.db")).close()
    (tmp_path / "copy.db").write_text("mine")

    with pytest.raises(StoreError, match="exists already"):
        backup(tmp_path / "a.db", tmp_path / "copy.db")
    with pytest.raises(StoreError, match="Cannot write"):
        backup(tmp_path / "a.db", tmp_path / "missing" / "copy.db")

    assert (tmp_path / "copy.db").read_text() == "mine"


async def test_damage_is_found_and_not_copied_unseen(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await (await _written(path)).close()
    content = bytearray(path.read_bytes())
    for at in range(2 * 4096, len(content), 4096):
        content[at : at + 64] = b"\xff" * 64
    path.write_bytes(content)

    try:
        faults = verify(path)
    except StoreError as error:
        faults = [str(error)]
    assert faults
    with pytest.raises(StoreError):
        backup(path, tmp_path / "copy.db")


def test_what_is_no_store_of_ours_is_said(tmp_path: Path) -> None:
    other, newer = tmp_path / "other.db", tmp_path / "newer.db"
    for path, statements in ((other, ()), (newer, ("PRAGMA application_id = 1953459308", "PRAGMA user_version = 99"))):
        connection = sqlite3.connect(path)
        for statement in ("CREATE TABLE t (a)", *statements):
            connection.execute(statement)
        connection.close()
    (tmp_path / "text.db").write_text("no database at all, only some text that is long enough" * 20)

    assert "no database of tollwatch" in verify(other)[0]
    assert "of a newer tollwatch" in verify(newer)[0]
    with pytest.raises(StoreError, match="not an SQLite database"):
        verify(tmp_path / "text.db")
    with pytest.raises(StoreError, match="There is no database"):
        verify(tmp_path / "none.db")
