from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from storage.database import Sql, Work
from storage.sqlite import SqliteDatabase

type Put = Callable[..., Callable[[], Work[str]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tollwatch.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(path)
    yield opened
    await opened.close()


@pytest.fixture
def put() -> Put:
    """Return a maker of works that write one row, and may then raise."""

    def make(name: str, *, value: str = "", error: Exception | None = None) -> Callable[[], Work[str]]:
        def work() -> Work[str]:
            yield Sql("INSERT INTO meta (name, value) VALUES (?, ?)", (name, value))
            if error is not None:
                raise error
            return name

        return work

    return make
