"""`db verify` and `db backup` where no gateway runs."""

import asyncio
import json
from pathlib import Path

import pytest

from storage.sqlite import SqliteDatabase
from tollwatch import cli


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


def test_what_is_not_sound_is_exit_code_3(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["db", "verify", "--config", config]) == 3
    (tmp_path / "tollwatch.db").write_bytes(b"")
    assert cli.main(["db", "verify", "--config", config]) == 3

    said = capsys.readouterr()
    assert "There is no database" in said.err
    assert "is damaged" in said.out
    assert "Restore a backup" in said.out
