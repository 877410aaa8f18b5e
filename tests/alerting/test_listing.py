"""Lists of alerts show exactly what is asked for, and read no more of the store than they show."""

import itertools
import random
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerting import listing
from alerting.alert import Alert, Status
from alerting.book import AlertBook
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Taken
from alerting.kinds import Selection, local_selections, org_selections
from alerting.listing import Page
from alerting.settings import AlertingSettings
from storage.sqlite import SqliteDatabase

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
KIND_SETS: dict[str, Any] = {
    "any": None,
    "none": (),
    "org": org_selections(opted_in=False),
    "local": local_selections(),
    "denied": local_selections("high_severity_denied_action"),
    "rules": tuple(kind for kind in AlertKind if kind.startswith("rule_")),
    "one": (AlertKind.PROMPT_SIZE,),
}


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[tuple[AlertBook, SqliteDatabase, list[Alert]]]:
    """Four hundred alerts of any kind, severity, action and status."""
    database = await SqliteDatabase.open(tmp_path / "tollwatch.db")
    book, chosen = AlertBook(database, org_id="org", settings=AlertingSettings(), now=lambda: NOON), random.Random(1)
    occurrences = [
        Occurrence(
            finding=Finding(
                kind=chosen.choice(list(AlertKind)),
                action=Action.ALERT,
                severity=chosen.choice(list(Severity)),
                title="t",
                message="m",
                episode=(str(number),),
            ),
            taken=chosen.choice(list(Taken)),
            at=NOON,
        )
        for number in range(400)
    ]
    for alert in await book.record(occurrences):
        if chosen.random() < 0.5:
            act = chosen.choice((book.acknowledge, book.resolve))
            await act(alert.seq, actor="jane", feed=None)
    yield book, database, list(await book.list())
    await database.close()


def fits(alert: Alert, selection: AlertKind | Selection) -> bool:
    one = selection if isinstance(selection, Selection) else Selection(kind=selection)
    return alert.kind is one.kind and alert.action in (one.actions or Taken) and alert.severity in (one.severities or Severity)


def expected(every: list[Alert], page: Page) -> list[Alert]:
    """Return what a page holds, by the plain meaning of its words."""
    found = [
        alert
        for alert in every
        if (page.kinds is None or any(fits(alert, kind) for kind in page.kinds))
        and page.status in (None, alert.status)
        and page.severity in (None, alert.severity)
        and page.dismissed in (None, alert.status is Status.RESOLVED)
        and (page.after is None or alert.seq < page.after)
    ]
    return found[page.skip : page.skip + page.limit]


async def test_every_combination_of_filters_shows_what_it_says(book: Any) -> None:
    alerts, _database, every = book
    assert len(every) == 400
    for name, status, severity, dismissed in itertools.product(KIND_SETS, (None, *Status), (None, Severity.HIGH), (None, True, False)):
        for after, skip, limit in ((None, 0, 1000), (200, 0, 7), (None, 3, 5)):
            asked = {"kinds": KIND_SETS[name], "status": status, "severity": severity, "dismissed": dismissed}
            page = Page(**asked, after=after, skip=skip, limit=limit)
            found = await alerts.list(**asked, after=after, skip=skip, limit=limit)
            assert [alert.seq for alert in found] == [alert.seq for alert in expected(every, page)], page


async def test_totals_count_what_the_lists_show(book: Any) -> None:
    alerts, _database, every = book
    for name, status, severity in itertools.product(KIND_SETS, (None, *Status), (None, *Severity)):
        page = Page(kinds=KIND_SETS[name], status=status, severity=severity, limit=1000)
        assert await alerts.total(kinds=page.kinds, status=status, severity=severity) == len(expected(every, page))
        if severity is None:
            assert await alerts.count(kinds=page.kinds, status=status) == len(expected(every, page))


async def test_a_page_is_read_by_an_index_whatever_is_asked(book: Any) -> None:
    _alerts, database, _every = book
    states = [(status, None) for status in (None, *Status)] + [(None, True), (None, False)]
    names = ("org", "local", "denied", "rules", "one")
    for name, (status, dismissed), severity in itertools.product(names, states, (None, Severity.HIGH)):
        page = Page(kinds=KIND_SETS[name], status=status, severity=severity, dismissed=dismissed, after=300, limit=26)
        question = listing.select(page)
        plan = [str(row[3]) for row in await database.read(f"EXPLAIN QUERY PLAN {question.text}", question.params)]
        reads = [line for line in plan if "alerts" in line and "rowid=?" not in line]
        assert reads
        assert [line for line in reads if not re.search(r"INDEX alerts_listed\w* \(kind=\? AND severity=\? AND (rowid|seq)<\?", line)] == []


async def test_what_was_denied_is_read_by_its_own_index(book: Any) -> None:
    _alerts, database, _every = book
    question = listing.select(Page(kinds=KIND_SETS["denied"], limit=26))

    plan = [str(row[3]) for row in await database.read(f"EXPLAIN QUERY PLAN {question.text}", question.params)]

    assert sum("alerts_listed_blocked" in line for line in plan) == 2
