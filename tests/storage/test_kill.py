"""A killed process: everything that was acknowledged is there."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from storage.opening import open_for_writing

WRITER = """
import asyncio, sys
from pathlib import Path
from storage.database import Sql
from storage.sqlite import SqliteDatabase

def put(name):
    def work():
        yield Sql("INSERT INTO meta (name, value) VALUES (?, ?)", (name, ""))
        return name
    return work

async def client(database, number):
    turn = 0
    while True:
        sys.stdout.write(await database.write(put(f"{number}-{turn}")) + "\\n")
        sys.stdout.flush()
        turn += 1

async def main():
    database = await SqliteDatabase.open(Path(sys.argv[1]), durability=sys.argv[2])
    await asyncio.gather(*(client(database, number) for number in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["normal", "full"])
@pytest.mark.parametrize("after", [1, 97, 400])
def test_a_killed_writer_loses_nothing_it_acknowledged(path: Path, durability: str, after: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), durability], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = {writer.stdout.readline().strip() for _ in range(after)}
        writer.kill()
        acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}

    connection = open_for_writing(path, durability="normal")
    stored = {name for (name,) in connection.execute("SELECT name FROM meta")}
    (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()

    assert len(acknowledged) >= after
    assert acknowledged <= stored
    assert sound == "ok"


def test_a_process_killed_while_it_makes_the_schema_leaves_none_or_all_of_it(path: Path) -> None:
    program = f"""
import os, sqlite3
from pathlib import Path
from storage import opening
steps = opening.MIGRATIONS
class Killing(tuple):
    def __iter__(self):
        for statement in tuple(steps[0])[:5]:
            yield statement
        os.kill(os.getpid(), 9)
opening.open_for_writing(Path({str(path)!r}), durability="normal", migrations=(Killing(steps[0]),))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert sqlite3.connect(path).execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)

    connection = open_for_writing(path, durability="normal")
    assert connection.execute("SELECT count(*) FROM meta").fetchone() == (0,)
    connection.close()
