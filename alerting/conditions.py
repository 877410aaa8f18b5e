"""What is wrong with rules for as long as it lasts: each condition is told once when it begins, and its alert ends when it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from alerting.book import AlertBook
from alerting.finding import AlertKind, Finding, Occurrence, Taken
from alerting.fingerprint import fingerprint
from storage.database import Database, Sql, Work
from storage.times import to_micros


@dataclass(frozen=True, slots=True)
class Condition:
    """A finding that holds now. `detail` is kept with it: where it changes, the old alert ends and a new one begins."""

    finding: Finding
    detail: str = ""

    @property
    def fingerprint(self) -> str:
        """What tells it from others."""
        return fingerprint(self.finding.kind, self.finding.episode)


class Conditions:
    """The conditions that hold, in the store: so a person may resolve or dismiss an alert without its coming back while nothing changes."""

    def __init__(self, database: Database, book: AlertBook, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._book = book
        self._now = now

    async def holding(self, kind: AlertKind) -> dict[str, str]:
        """Return the fingerprints of the conditions of a kind that hold, with their details."""
        rows = await self._database.read("SELECT fingerprint, detail FROM rule_conditions WHERE kind = ?", (kind.value,))
        return {cast("str", key): cast("str", detail) for key, detail in rows}

    async def hold(self, kind: AlertKind, conditions: Sequence[Condition]) -> None:
        """Say all that holds of a kind: what is new is alerted, what no longer holds ends."""
        at = self._now()
        await self._database.write(lambda: self._work(kind, {one.fingerprint: one for one in conditions}, at))

    def _work(self, kind: AlertKind, holding: dict[str, Condition], at: datetime) -> Work[None]:
        rows = yield Sql("SELECT fingerprint, detail FROM rule_conditions WHERE kind = ?", (kind.value,))
        held = {cast("str", key): cast("str", detail) for key, detail in rows}
        for key, detail in held.items():
            if key not in holding or holding[key].detail != detail:
                yield Sql("DELETE FROM rule_conditions WHERE fingerprint = ?", (key,))
                yield from self._book.clearing(key, at=at)
        begun = [one for key, one in holding.items() if held.get(key) != one.detail]
        for one in begun:
            row = (one.fingerprint, kind.value, one.finding.subject.rule_id, to_micros(at), one.detail)
            yield Sql("INSERT INTO rule_conditions (fingerprint, kind, rule_id, since_at, detail) VALUES (?, ?, ?, ?, ?)", row)
        yield from self._book.work([Occurrence(finding=one.finding, taken=Taken.ALERTED, at=at) for one in begun])
