"""Watches over the rules themselves: conflicts on each change, dormancy, deny rates and health as time goes by."""

import asyncio
from collections.abc import Callable, Container, Sequence
from datetime import datetime, timedelta

from alerting import rule_health, rule_records
from alerting.book import AlertBook
from alerting.conditions import Condition, Conditions
from alerting.conflicts import Analysis, analyse, conflict_findings
from alerting.finding import AlertKind
from alerting.fingerprint import fingerprint
from alerting.kinds import RULES_TYPES
from alerting.rule_counts import RuleCounts
from alerting.rule_health import Health, Record, activities, look_back, measure
from alerting.rule_settings import RuleSettings
from alerting.settings import RuleHealthSettings
from storage.database import Database

EVERY = timedelta(hours=1)
"""How often time's part is looked at. Health is measured once a day (UTC), and at once where a rule changed."""


class RuleWatch:
    """Looks at the rules in force, and raises and ends their alerts."""

    def __init__(
        self,
        *,
        database: Database,
        book: AlertBook,
        counts: RuleCounts,
        rules: Callable[[], Sequence[RuleSettings]],
        settings: RuleHealthSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._book = book
        self._counts = counts
        self._rules = rules
        self._settings = settings
        self._now = now
        self._conditions = Conditions(database, book, now=now)
        self._analysis = Analysis()
        self._looking = asyncio.Lock()
        """Held by who raises and ends alerts: what was read a moment ago must still be so when it is written."""

    async def run(self, changed: asyncio.Event) -> None:
        """Look at the rules now, whenever they `changed`, and every hour, for ever."""
        changed.set()
        while True:
            if changed.is_set():
                changed.clear()
                await self.changed()
            await self.check()
            try:
                async with asyncio.timeout(EVERY.total_seconds()):
                    await changed.wait()
            except TimeoutError:
                continue

    async def changed(self) -> None:
        """Hold the rules against each other, and remember what changed."""
        async with self._looking:
            rules, at = tuple(self._rules()), self._now()
            await self._database.write(lambda: rule_records.note(rules, at=at))
            self._analysis = await asyncio.to_thread(analyse, rules)
            found = [Condition(finding, str(finding.evidence["conflict_type"])) for finding in conflict_findings(self._analysis)]
            await self._conditions.hold(AlertKind.RULE_CONFLICT, found)
            await self._end_of_gone({rule.id for rule in rules})

    async def _end_of_gone(self, known: Container[str | None]) -> None:
        """End what others reported about rules that are gone: nothing that the gateway sees would."""
        for alert in await self._book.list(kinds=list(RULES_TYPES.values()), dismissed=False):
            if alert.subject.rule_id not in known:
                await self._book.clear(alert.fingerprint)

    async def check(self) -> None:
        """Look at what time did to the rules."""
        await self._check()

    async def health(self, rule_id: str) -> Health | None:
        """Return how an enabled rule stands; None where there is none. Nothing is measured for the alerts by it."""
        rules = [rule for rule in self._rules() if rule.id == rule_id]
        return next(iter(await self._read(rules, self._now())), None)

    async def evaluate(self, rule_id: str) -> Health | None:
        """Measure one enabled rule now, with the alerts that it brings; None where there is none."""
        await self._check(measured=rule_id)
        return await self.health(rule_id)

    def is_dormant(self, health: Health) -> bool:
        """Whether a rule was not evaluated for long."""
        return rule_health.is_dormant(health, self._settings, self._now())

    async def _check(self, *, measured: str | None = None) -> None:
        async with self._looking:
            at = self._now()
            healths = await self._read(self._rules(), at)
            await self._dormant(healths, at)
            await self._denying(healths)
            await self._measure(healths, at, measured)

    async def _read(self, rules: Sequence[RuleSettings], at: datetime) -> list[Health]:
        return await read_health(self._database, self._counts, rules, analysis=self._analysis, settings=self._settings, now=at)

    async def _dormant(self, healths: Sequence[Health], at: datetime) -> None:
        found = [rule_health.dormant(one, self._settings, at) for one in healths if rule_health.is_dormant(one, self._settings, at)]
        await self._conditions.hold(AlertKind.RULE_DORMANT, list(map(Condition, found)))

    async def _denying(self, healths: Sequence[Health]) -> None:
        kind = AlertKind.RULE_HIGH_DENY_RATE
        holding = await self._conditions.holding(kind)
        found = [
            rule_health.high_deny_rate(one, self._settings)
            for one in healths
            if rule_health.denies_much(one, self._settings, held=_key(kind, one) in holding)
        ]
        await self._conditions.hold(kind, list(map(Condition, found)))

    async def _measure(self, healths: Sequence[Health], at: datetime, measured: str | None) -> None:
        kind = AlertKind.RULE_HEALTH_DECLINE
        holding = await self._conditions.holding(kind)
        due = {one.rule.id for one in healths if one.rule.id == measured or _is_due(one.record, at)}
        declines: list[Condition] = []
        for one in healths:
            before = holding.get(_key(kind, one))
            if before is not None:
                if one.score < int(before) - rule_health.RECOVERED:
                    declines.append(_decline(one, int(before)))
            elif one.rule.id in due and rule_health.declined(one.score, one.record.score):
                declines.append(_decline(one, one.record.score or 0))
        await self._conditions.hold(kind, declines)
        scores = {one.rule.id: one.score for one in healths if one.rule.id in due}
        await self._database.write(lambda: rule_records.measured(scores, at=at))


async def read_health(
    database: Database,
    counts: RuleCounts,
    rules: Sequence[RuleSettings],
    *,
    analysis: Analysis,
    settings: RuleHealthSettings,
    now: datetime,
) -> list[Health]:
    """Return how each enabled rule stands. One that the store does not know yet is as good as enabled now."""
    known = await rule_records.records(database)
    did = activities(await counts.since((now - look_back(settings)).date()), settings=settings, now=now)
    unknown, idle = Record(enabled_at=now, changed_at=now), rule_health.Activity()
    return [
        measure(rule, known.get(rule.id, unknown), did.get(rule.id, idle), analysis=analysis, now=now) for rule in rules if rule.enabled
    ]


def _is_due(record: Record, at: datetime) -> bool:
    return record.measured_at is None or record.measured_at.date() < at.date() or record.changed_at > record.measured_at


def _decline(health: Health, before: int) -> Condition:
    return Condition(rule_health.decline(health, before), str(before))


def _key(kind: AlertKind, health: Health) -> str:
    return fingerprint(kind, (health.rule.id,))
