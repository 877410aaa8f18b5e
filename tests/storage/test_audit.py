"""The audit trail is appended to, read in pages, and never changed."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.audit import AuditQuestion, AuditTrail, audit_row, place_of
from storage.database import Work
from storage.sqlite import SqliteDatabase

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHANGES = (
    ("cli:ada", "token.created", "siem"),
    ("setup code", "password.set", "password"),
    ("cli:ada", "token.revoked", "siem"),
    ("bob", "tokenizer.changed", "x"),
)


@pytest.fixture
async def trail(database: SqliteDatabase) -> SqliteDatabase:
    def work() -> Work[None]:
        for minute, (actor, action, subject) in enumerate(CHANGES):
            yield audit_row(at=NOON + timedelta(minutes=minute), actor=actor, action=action, subject=subject, detail="why")

    await database.write(work)
    return database


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"newest_first": True}, [4, 3, 2, 1]),
        ({"limit": 2}, [1, 2]),
        ({"limit": 2, "after": 2}, [3, 4]),
        ({"limit": 2, "after": 3, "newest_first": True}, [2, 1]),
        ({"since": NOON + timedelta(minutes=2)}, [3, 4]),
        ({"since": NOON + timedelta(minutes=3, microseconds=1)}, []),
        ({"actor": "cli:ada"}, [1, 3]),
        ({"action": "token.created"}, [1]),
        ({"action": "token"}, [1, 3]),
        ({"action": "%"}, []),
    ],
)
async def test_pages_of_the_trail(trail: SqliteDatabase, question: dict[str, Any], found: list[int]) -> None:
    entries = await AuditTrail(trail).read(AuditQuestion(**{"limit": 100, **question}))

    assert [entry.id for entry in entries] == found


async def test_an_entry_says_who_what_of_what_and_when(trail: SqliteDatabase) -> None:
    (first,) = await AuditTrail(trail).read(AuditQuestion(limit=1))

    assert first.as_json() == {
        "id": 1,
        "at": "2026-01-31T12:00:00Z",
        "actor": "cli:ada",
        "action": "token.created",
        "subject": "siem",
        "detail": "why",
    }
    assert [await AuditTrail(trail).has(number) for number in (4, 5)] == [True, False]


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/services/T0/B0/s3cret",
        "https://hooks.example.com?token=s3cret",
        "https://user:s3cret@hooks.example.com/x#s3cret",
    ],
)
def test_of_a_url_only_its_place_is_told(url: str) -> None:
    assert place_of(url) == "https://hooks.example.com"


def test_nothing_in_the_product_changes_or_deletes_an_entry() -> None:
    packages = ("tollwatch", "proxy", "api", "alerting", "metering", "storage")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]

    found = [
        path for path in sources if re.search(r"(update|delete from|replace into|drop table)\s+\"?audit\b", path.read_text(), re.IGNORECASE)
    ]

    assert len(sources) > 100
    assert found == []
