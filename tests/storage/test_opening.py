"""What is not fit to be the store is refused in a sentence, and never reset."""

import os
import random
import sqlite3
import stat
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from storage.database import StoreError
from storage.migrations import MIGRATIONS
from storage.opening import APPLICATION_ID, open_for_writing, warnings_about
from storage.sqlite import SqliteDatabase


@pytest.fixture
def filled(path: Path) -> Path:
    connection = open_for_writing(path, durability="normal")
    connection.executemany("INSERT INTO meta VALUES (?, ?)", [(f"n{number}", "x" * 200) for number in range(400)])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def refusal(path: Path) -> str:
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        open_for_writing(path, durability="normal")
    assert path.read_bytes() == before, "the file was changed"
    return str(caught.value)


def test_a_new_store_is_private_marked_and_at_the_newest_schema(path: Path) -> None:
    connection = open_for_writing(path, durability="full")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_name(path.name + "-wal").stat().st_mode) == 0o600
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    connection.close()


def test_an_existing_store_opens_with_its_rows(filled: Path) -> None:
    connection = open_for_writing(filled, durability="normal")

    assert connection.execute("SELECT count(*) FROM meta").fetchone() == (400,)
    connection.close()


def test_a_store_of_a_newer_version_is_refused(filled: Path) -> None:
    connection = sqlite3.connect(filled)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    assert "written by a newer one. Upgrade tollwatch" in refusal(filled)


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cookies (name TEXT)")
    connection.close()

    assert "belongs to another program" in refusal(path)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 this is something else" * 100)

    assert "is not an SQLite database. It was left as it is" in refusal(path)


@pytest.mark.parametrize("keep", [17, 100, 1_024, 4_096, 8_192, 20_000, -1])
def test_a_truncated_store_is_refused(filled: Path, keep: int) -> None:
    os.truncate(filled, keep if keep > 0 else filled.stat().st_size + keep)

    sentence = refusal(filled)

    assert "damaged" in sentence
    assert "restore a backup" in sentence


def test_a_zeroed_page_is_refused(filled: Path) -> None:
    content = bytearray(filled.read_bytes())
    content[8_192:12_288] = bytes(4_096)
    filled.write_bytes(content)

    assert "is damaged" in refusal(filled)


def test_a_flipped_bit_in_the_header_or_schema_never_resets_the_store(filled: Path) -> None:
    whole = filled.read_bytes()
    # A flip may be harmless (a counter, an unused byte); then all rows are there. Else the store is refused and left as it is.
    for position in [*range(100), *random.Random(7).sample(range(100, 4_096), 60)]:
        content = bytearray(whole)
        content[position] ^= 1 << (position % 8)
        filled.write_bytes(content)
        sentence = ""
        try:
            connection = open_for_writing(filled, durability="normal")
        except StoreError as error:
            sentence = str(error)
        else:
            assert connection.execute("SELECT count(*) FROM meta").fetchone() == (400,)
            connection.close()
        assert not sentence or str(filled) in sentence
        assert filled.stat().st_size >= len(whole)
        for rest in filled.parent.glob("*-wal"), filled.parent.glob("*-shm"):
            for file in rest:
                file.unlink()


def test_a_folder_that_is_missing_or_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the folder .* does not exist. Create it"):
        open_for_writing(tmp_path / "none" / "x.db", durability="normal")
    with pytest.raises(StoreError, match="it is a folder"):
        open_for_writing(tmp_path, durability="normal")


@pytest.mark.skipif(os.geteuid() != 0, reason="access is denied to root by a changed id only")
def test_a_folder_or_file_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    database = folder / "x.db"
    database.touch()
    os.chown(database, 12_345, 12_345)
    with pytest.raises(StoreError, match="belongs to user id 12345"):
        open_for_writing(database, durability="normal")


def test_a_folder_that_is_not_writable_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere, so the answer of the system is given here

    with pytest.raises(StoreError, match=r"is not writable\. Make it writable"):
        open_for_writing(path, durability="normal")


def test_a_file_that_may_not_be_opened_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)

    with pytest.raises(StoreError, match="Permission denied"):
        open_for_writing(path, durability="normal")


def test_each_step_of_the_schema_is_whole_or_absent(filled: Path) -> None:
    steps = (*MIGRATIONS, ("CREATE TABLE extra (a TEXT)", "CREATE TABLE meta (a TEXT)"))

    with pytest.raises(StoreError, match=rf"to version {len(steps)}: table meta already exists. Nothing was changed"):
        open_for_writing(filled, durability="normal", migrations=steps)

    connection = open_for_writing(filled, durability="normal")
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    connection.close()


def test_an_older_store_is_brought_to_the_newer_schema(filled: Path) -> None:
    connection = open_for_writing(filled, durability="normal", migrations=(*MIGRATIONS, ("CREATE TABLE extra (a TEXT)",)))

    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    assert connection.execute("SELECT count(*) FROM meta").fetchone() == (400,)
    connection.close()


def test_prompts_and_tools_of_an_earlier_version_stay_what_is_normal(path: Path) -> None:
    step = next(index for index, steps in enumerate(MIGRATIONS) if "prompt_baselines" in steps[0])
    connection = open_for_writing(path, durability="normal", migrations=MIGRATIONS[:step])
    connection.execute("INSERT INTO baselines VALUES ('openai', '-', 'f1', 1, 2, 'ann')")
    connection.execute("INSERT INTO tool_baselines VALUES ('openai', 'bot', 'search', 'f2', 3, NULL, NULL)")
    connection.close()

    connection = open_for_writing(path, durability="normal")

    assert connection.execute("SELECT * FROM baselines ORDER BY part").fetchall() == [
        ("prompt", "openai", "-", "", "f1", 1, 2, "ann", None),
        ("tool", "openai", "bot", "search", "f2", 3, None, None, None),
    ]
    connection.close()


@pytest.mark.parametrize(
    ("version", "warned"), [((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False)]
)
def test_an_sqlite_that_can_corrupt_its_log_is_warned_of(version: tuple[int, int, int], *, warned: bool) -> None:
    assert bool(warnings_about(version)) is warned


async def test_the_store_carries_the_warnings_of_its_library(database: SqliteDatabase) -> None:
    assert database.warnings == warnings_about(sqlite3.sqlite_version_info)


async def test_a_reader_that_cannot_open_closes_what_was_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = aiosqlite.connect
    opened: list[object] = []

    def second_fails(where: Path, **options: Any) -> aiosqlite.Connection:
        if opened:
            raise sqlite3.OperationalError("unable to open database file")
        opened.append(where)
        return connect(where, **options)

    monkeypatch.setattr("aiosqlite.connect", second_fails)

    with pytest.raises(StoreError, match="unable to open"):
        await SqliteDatabase.open(path)
