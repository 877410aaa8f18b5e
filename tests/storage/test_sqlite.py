"""Works are written together and fail alone; reads see what is committed."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.database import ConstraintError, Done, Failed, Many, Outcome, Sql, StoreError, Work
from storage.sqlite import SqliteDatabase, open_readonly

type Put = Callable[..., Callable[[], Work[str]]]


async def names(database: SqliteDatabase) -> set[object]:
    return {row[0] for row in await database.read("SELECT name FROM meta")}


async def test_works_that_wait_share_one_commit(database: SqliteDatabase, put: Put) -> None:
    written = await asyncio.gather(*(database.write(put(f"n{number}")) for number in range(200)))

    assert written == [f"n{number}" for number in range(200)]
    assert database.stats.works == 200
    assert database.stats.batches < 20


async def test_a_work_that_raises_rolls_back_alone(database: SqliteDatabase, put: Put) -> None:
    before, failed, after = await asyncio.gather(
        database.write(put("before")),
        database.write(put("failed", error=ValueError("no"))),
        database.write(put("after")),
        return_exceptions=True,
    )

    assert (before, after) == ("before", "after")
    assert isinstance(failed, ValueError)
    assert await names(database) == {"before", "after"}
    assert database.stats.failed_works == 1


async def test_a_row_that_exists_is_a_constraint_error_of_its_work_alone(database: SqliteDatabase, put: Put) -> None:
    await database.write(put("one"))

    twice, other = await asyncio.gather(database.write(put("one")), database.write(put("two")), return_exceptions=True)

    assert isinstance(twice, ConstraintError)
    assert other == "two"


async def test_all_statements_of_a_work_commit_or_none(database: SqliteDatabase) -> None:
    def work() -> Work[None]:
        yield Many("INSERT INTO meta (name, value) VALUES (?, ?)", [("a", ""), ("b", "")])
        yield Sql("INSERT INTO meta (name, value) VALUES (?, ?)", ("a", ""))

    with pytest.raises(ConstraintError):
        await database.write(work)

    assert await names(database) == set()


async def test_a_work_receives_the_rows_of_its_statements(database: SqliteDatabase) -> None:
    def work() -> Work[object]:
        nothing = yield Many("INSERT INTO meta (name, value) VALUES (?, ?)", [("a", "1"), ("b", "2")])
        rows = yield Sql("UPDATE meta SET value = '3' WHERE name = ? RETURNING value", ("b",))
        return nothing, rows

    assert await database.write(work) == ([], [("3",)])


async def test_a_cancelled_writer_leaves_its_work_whole_and_the_next_unharmed(database: SqliteDatabase, put: Put) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(database.write(put("cancelled")))
        await asyncio.sleep(0)
        waiting.cancel()

    assert await database.write(put("next")) == "next"
    assert await names(database) == {"cancelled", "next"}


async def test_a_submitted_work_reports_once_in_the_loop(database: SqliteDatabase, put: Put) -> None:
    reported: asyncio.Queue[Outcome[str]] = asyncio.Queue()

    database.submit(put("good"), reported.put_nowait)
    database.submit(put("bad", error=KeyError("x")), reported.put_nowait)

    assert await reported.get() == Done("good")
    failed = await reported.get()
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, KeyError)


async def test_a_caller_that_fails_when_told_keeps_nobody_else_waiting(database: SqliteDatabase, put: Put) -> None:
    faults: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))

    def fail(_outcome: Outcome[str]) -> None:
        raise RuntimeError("cannot listen")

    database.submit(put("first"), fail)

    assert await database.write(put("second")) == "second"
    assert [str(fault["exception"]) for fault in faults] == ["cannot listen"]


async def test_a_statement_that_means_nothing_is_a_store_error_naming_the_cause(database: SqliteDatabase) -> None:
    def work() -> Work[None]:
        yield Sql("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(StoreError, match="no such table"):
        await database.write(work)
    with pytest.raises(StoreError, match="no such column"):
        await database.read("SELECT no_such FROM meta")


async def test_readers_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(StoreError, match="read-only"):
        await database.read("INSERT INTO meta (name, value) VALUES ('a', '')")


async def test_a_closed_store_says_so(path: Path, put: Put) -> None:
    database = await SqliteDatabase.open(path)
    late = database.write(put("queued"))
    async with asyncio.TaskGroup() as tasks:
        queued = tasks.create_task(late)
        await asyncio.sleep(0)
        await database.close()
    await database.close()

    assert queued.result() == "queued"
    with pytest.raises(StoreError, match="closed"):
        await database.write(put("late"))
    with pytest.raises(StoreError, match="closed"):
        await database.read("SELECT 1")


async def test_closing_leaves_one_file_with_everything_in_it(path: Path, put: Put) -> None:
    database = await SqliteDatabase.open(path)
    await database.write(put("kept"))
    await database.close()

    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert sqlite3.connect(path).execute("SELECT name FROM meta").fetchall() == [("kept",)]


async def test_the_log_is_checkpointed_as_it_grows(database: SqliteDatabase) -> None:
    def work(turn: int) -> Callable[[], Work[None]]:
        def rows() -> Work[None]:
            yield Many("INSERT INTO meta (name, value) VALUES (?, ?)", [(f"{turn}-{number}", "x" * 100) for number in range(5_000)])

        return rows

    for turn in range(3):
        await database.write(work(turn))
    await database.write(work(3))

    assert database.stats.checkpoints >= 3
    assert database.path.stat().st_size > 1_000_000


async def test_a_log_that_a_long_read_kept_from_starting_over_is_cut_off(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.writer._CHANGES_PER_CHECKPOINT", 10)
    monkeypatch.setattr("storage.writer._LOG_PAGES_TO_TRUNCATE", 2)

    def rows() -> Work[None]:
        yield Many("INSERT INTO meta (name, value) VALUES (?, ?)", [(f"{number}", "x" * 100) for number in range(500)])

    def nothing() -> Work[None]:
        yield Sql("SELECT 1")

    await database.write(rows)
    await database.write(nothing)

    assert database.path.with_name(database.path.name + "-wal").stat().st_size == 0


async def test_more_works_than_a_transaction_takes_are_all_written(
    database: SqliteDatabase, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.writer._MOST_WORKS", 7)

    await asyncio.gather(*(database.write(put(f"n{number}")) for number in range(50)))

    assert len(await names(database)) == 50
    assert database.stats.last_batch_size <= 8


async def test_a_full_disk_fails_the_write_and_heals_when_space_returns(database: SqliteDatabase, put: Put) -> None:
    def limit(pages: int) -> Callable[[], Work[None]]:
        def work() -> Work[None]:
            yield Sql(f"PRAGMA max_page_count = {pages}")

        return work

    await database.write(limit(1))  # never below the present size
    results = await asyncio.gather(*(database.write(put(f"n{number}", value="x" * 3_000)) for number in range(40)), return_exceptions=True)
    full = [result for result in results if isinstance(result, StoreError)]
    acknowledged = {result for result in results if isinstance(result, str)}

    assert full
    assert all("the disk is full" in str(error) for error in full)
    assert await names(database) == acknowledged

    await database.write(limit(1_000_000))
    assert await database.write(put("after", value="x" * 3_000)) == "after"
    assert await database.read("PRAGMA integrity_check") == [("ok",)]


async def quickly(database: SqliteDatabase, work: Callable[[], Work[str]]) -> Outcome[str]:
    told: asyncio.Future[Outcome[str]] = asyncio.get_running_loop().create_future()
    database.submit(work, told.set_result, quick=True)
    return await told


async def test_the_loop_commits_quick_works_itself_where_no_commit_waits_for_the_disk(path: Path, put: Put) -> None:
    for durability, on_loop in (("normal", 1), ("full", 0)):
        database = await SqliteDatabase.open(path, durability=durability)
        try:
            assert await quickly(database, put(durability)) == Done(durability)
            await database.write(put(f"{durability}, not quick"))
            assert database.stats.on_loop == on_loop
            assert database.stats.batches == 2
        finally:
            await database.close()


async def test_quick_works_that_come_while_the_log_is_checkpointed_are_written_after_it(
    database: SqliteDatabase, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.writer._CHANGES_PER_CHECKPOINT", 3)

    async def one(number: int) -> None:
        assert await quickly(database, put(f"n{number}")) == Done(f"n{number}")
        assert await quickly(database, put(f"m{number}")) == Done(f"m{number}")

    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(one(number))
            await asyncio.sleep(0)

    assert len(await names(database)) == 200
    assert database.stats.checkpoints >= 2


async def test_the_loop_does_not_wait_for_a_lock_of_another_process(database: SqliteDatabase, put: Put) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(quickly(database, put("patient")))
    before = asyncio.get_running_loop().time()
    for _ in range(10):
        await asyncio.sleep(0)
    lag = asyncio.get_running_loop().time() - before
    other.execute("ROLLBACK")
    other.close()

    assert await waiting == Done("patient")
    assert lag < 1  # the thread waits up to two seconds
    assert database.stats.on_loop == 0


async def test_a_task_of_the_thread_that_fails_unforeseen_gives_the_connection_back(
    database: SqliteDatabase, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    monkeypatch.setattr("storage.writer._CHANGES_PER_CHECKPOINT", 0)
    monkeypatch.setattr("storage.writer._LOG_PAGES_TO_TRUNCATE", "no number")

    await database.write(put("before"))
    assert await database.write(put("after")) == "after"
    assert told[0]["message"] == "the writer failed at a task"


async def test_a_lock_of_another_process_fails_all_waiting_writes_together(
    database: SqliteDatabase, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.writer._LOCK_MILLISECONDS", 100)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results = await asyncio.gather(*(database.write(put(f"n{number}")) for number in range(20)), return_exceptions=True)
    other.execute("ROLLBACK")
    other.close()

    assert all(isinstance(result, StoreError) and "holds it locked" in str(result) for result in results)
    assert await database.write(put("after")) == "after"


async def test_the_command_line_reads_beside_a_running_gateway_and_after_it(path: Path, put: Put) -> None:
    database = await SqliteDatabase.open(path)
    await database.write(put("seen"))

    with open_readonly(path) as reading:
        assert reading.read("SELECT name FROM meta") == [("seen",)]
        with pytest.raises(StoreError):
            reading.read("DELETE FROM meta")
        with pytest.raises(StoreError):
            reading.read("PRAGMA journal_mode = DELETE")
    await database.close()
    with open_readonly(path) as reading:
        assert reading.read("SELECT count(*) FROM meta WHERE name = ?", ("seen",)) == [(1,)]


def test_reading_where_no_store_is_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(StoreError, match="Start tollwatch once"), open_readonly(path):
        pass


def test_reading_what_cannot_be_opened_is_a_store_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"")
    monkeypatch.setattr("storage.sqlite.quote", lambda _path: "/no/such/folder/x.db")

    with pytest.raises(StoreError, match="Cannot open"), open_readonly(path):
        pass
