"""How many alerts a list has in all: exact where that is cheap, else as counted a while ago."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import cast

from alerting import listing
from alerting.listing import Page
from storage.database import Database, Sql

type Clock = Callable[[], datetime]

EXACT_TO = 10_000
"""Up to so many are counted at each question."""
FRESH_FOR = timedelta(minutes=1)
"""How old the count of a longer list may be."""
_MOST_KEPT = 1_000


class Totals:
    """Counts lists. A count beyond `EXACT_TO` is an estimate: it was exact at most a minute ago."""

    def __init__(self, database: Database, *, now: Clock) -> None:
        self._database = database
        self._now = now
        self._kept: dict[str, tuple[datetime, int]] = {}

    async def of(self, page: Page) -> int:
        """Return how many alerts the page's list has, on all its pages."""
        question = listing.count(page)
        key = f"{question.text} {question.params}"
        at, known = self._kept.get(key, (None, 0))
        if at is not None and self._now() - at < FRESH_FOR and known > 2 * EXACT_TO:
            return known
        found = await self._count(listing.count(page, most=EXACT_TO + 1))
        if found <= EXACT_TO:
            return found
        if at is None or self._now() - at >= FRESH_FOR:
            at, known = self._now(), await self._count(question)
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = (at, known)
        return max(known, found)

    async def _count(self, question: Sql) -> int:
        return cast("int", (await self._database.read(question.text, question.params))[0][0])
