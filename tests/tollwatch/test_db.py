"""`db verify` and `db backup` where no gateway runs."""

import asyncio
import json
from pathlib import Path

import pytest

from api.passwords import Passwords
from storage.sqlite import SqliteDatabase
from tollwatch import cli
from tollwatch.first_start import SetupCodeFile, first_start
from tollwatch.store import now


async def _make(path: Path) -> None:
    await (await SqliteDatabase.open(path)).close()


@pytest.fixture
def config(tmp_path: Path) -> str:
    tmp_path.chmod(0o700)
    file = tmp_path / "config.yaml"
    file.write_text(f"version: 1\ndata_dir: {tmp_path}\n")
    return str(file)


def test_a_sound_database_is_copied_once(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(_make(tmp_path / "tollwatch.db"))
    copy = str(tmp_path / "copy.db")

    assert cli.main(["db", "verify", "--config", config]) == 0
    assert cli.main(["db", "verify", "--json", "--config", config]) == 0
    assert cli.main(["db", "backup", copy, "--config", config]) == 0
    assert cli.main(["db", "backup", copy, "--config", config]) == 1

    said = capsys.readouterr()
    assert "is sound" in said.out
    assert json.loads(said.out[said.out.index("{") : said.out.index("}") + 1])["faults"] == []
    assert "exists already" in said.err


def test_the_status_says_what_the_database_keeps(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["db", "status", "--config", config]) == 1
    assert "There is no database" in capsys.readouterr().err

    asyncio.run(_make(tmp_path / "tollwatch.db"))

    assert cli.main(["db", "status", "--config", config]) == 0
    said = capsys.readouterr().out
    assert "calls" in said
    assert "from - to -" in said
    assert cli.main(["db", "status", "--json", "--config", config]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == found["newest_schema"]
    assert found["rows"]["calls"] == 0
    assert found["bytes"] > 0


def test_a_lost_password_can_be_set_anew(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def use(code: str | None, password: str) -> bool:
        database = await SqliteDatabase.open(tmp_path / "tollwatch.db")
        try:
            passwords = Passwords(database, setup_code=SetupCodeFile(tmp_path), now=now)
            await passwords.set_first(password=password, confirm=password, code=code)
            return await passwords.verify(password)
        finally:
            await database.close()

    first = first_start(tmp_path).setup_code
    assert asyncio.run(use(first, "the first password"))
    assert SetupCodeFile(tmp_path).read() is None

    assert cli.main(["password", "reset", "--json", "--config", config]) == 0
    code = json.loads(capsys.readouterr().out)["setup_code"]

    assert code != first
    assert asyncio.run(use(code, "the second password"))
    assert cli.main(["password", "reset", "--config", config]) == 0
    assert "every session has ended" in capsys.readouterr().out


def test_what_is_not_sound_is_exit_code_3(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["db", "verify", "--config", config]) == 3
    (tmp_path / "tollwatch.db").write_bytes(b"")
    assert cli.main(["db", "verify", "--config", config]) == 3

    said = capsys.readouterr()
    assert "There is no database" in said.err
    assert "is damaged" in said.out
    assert "Restore a backup" in said.out
