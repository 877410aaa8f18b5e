"""Looks at the usage alerts soon after calls are settled, and fires each once in a bucket of its calendar."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from alerting.book import AlertBook
from alerting.finding import Action, Finding, Occurrence, Severity, Subject, Taken
from alerting.kinds import KINDS, local_type
from alerting.usage_alert import UsageAlert
from alerting.usage_alerts import UsageAlerts
from alerting.usage_measures import BudgetUse, Measurement, Usage, measure, needed_since, steps
from alerting.usage_settings import UsageType
from metering.budgets import Budget
from metering.holds import Settled
from metering.periods import Period, period_at
from metering.usage_hours import endpoints_by_hour, first_hour, oldest_open, sums_by_hour
from storage.database import Database, Sql, Work
from storage.times import from_micros, to_micros

EVERY = timedelta(minutes=1)
"""How often they are looked at when no call is settled."""
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_SHARE = 20
"""After a look that had many calls to sum it rests twenty times as long, within these bounds."""
_SLACK = timedelta(minutes=10)
"""A call may be written so long after it began (it waited for a budget): nothing younger is taken as complete."""
_WHOLE = 100
"""Per cent of a budget from which on the alert is one of a budget that is used up."""
_WATERMARK = "usage_evaluated_until"
_LONGEST_BACK = timedelta(days=35)
"""After a longer rest of the gateway, older buckets are not looked at any more."""
_PERIOD_NAMES = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "week": "week from %Y-%m-%d", "month": "%Y-%m"}
_BUDGETS = "SELECT budget_id, starts_at, ends_at, spent FROM budget_periods WHERE ends_at > ?"
_FIRED = "SELECT usage_alert_id, kind, period, bucket FROM usage_triggers WHERE bucket >= ?"
_LATCH = (
    "INSERT INTO usage_triggers (usage_alert_id, kind, period, bucket, triggered_at, value) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (usage_alert_id, kind, period, bucket) DO NOTHING RETURNING usage_alert_id"
)
_THIS = "usage_alert_id = ? AND kind = ? AND period = ? AND bucket = ?"
_LINK = f"UPDATE usage_triggers SET alert_seq = ? WHERE {_THIS}"  # noqa: S608 - constants alone
_UNLATCH = f"DELETE FROM usage_triggers WHERE {_THIS}"  # noqa: S608 - the same

type Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A usage alert goes beyond its threshold in a bucket in which it has not fired."""

    alert: UsageAlert
    bucket: Period
    measured: Measurement

    @property
    def key(self) -> Key:
        """What is true once only."""
        return key_of(self.alert, self.bucket)


def key_of(alert: UsageAlert, bucket: Period) -> Key:
    """Return what tells a bucket of a usage alert from others."""
    return (alert.id, alert.kind.value, alert.settings.period, to_micros(bucket.starts_at))


def firings(alerts: Iterable[UsageAlert], usage: Usage, *, since: datetime, now: datetime, fired: set[Key]) -> list[Firing]:
    """Return what fires now, looking at the buckets from the one that holds `since` on. Pure."""
    found: list[Firing] = []
    done = set(fired)
    for alert in alerts:
        for step in steps(alert, since=_first_step(alert, since), now=now):
            bucket = alert.bucket(step.starts_at)
            key = key_of(alert, bucket)
            if key in done or (measured := measure(alert, step, usage, now=now)) is None or not measured.beyond:
                continue
            done.add(key)
            found.append(Firing(alert=alert, bucket=bucket, measured=measured))
    return found


class UsageWatch:
    """The worker. What it did is in the store alone: it may be ended at any moment, and begins where it was."""

    def __init__(
        self,
        database: Database,
        book: AlertBook,
        alerts: UsageAlerts,
        *,
        budgets: Sequence[Budget],
        expire_after: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._book = book
        self._alerts = alerts
        self._budgets = tuple(budgets)
        self._expire_after = expire_after
        self._now = now
        self._woken = asyncio.Event()
        self._touched: datetime | None = None
        """When the earliest of the calls began that were settled since the last look."""

    def settled(self, settled: Sequence[Settled]) -> None:
        """Hear from the ledger what is durable."""
        if not self._alerts.all or not settled:
            return
        self._touch(min(one.settlement.call.started_at for one in settled))
        self._woken.set()

    def follow(self, budgets: Sequence[Budget]) -> None:
        """Look at these budgets from now on (the config was read again)."""
        self._budgets = tuple(budgets)
        self._woken.set()

    def wake(self) -> None:
        """Look at them soon, since one was changed."""
        self._woken.set()

    async def run(self) -> None:
        """Look at them now, soon after each call, and every minute, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            began = loop.time()
            await self.evaluate()
            await asyncio.sleep(min(max(_PAUSE_SECONDS, _SHARE * (loop.time() - began)), _LONGEST_PAUSE_SECONDS))
            try:
                async with asyncio.timeout(EVERY.total_seconds()):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def evaluate(self) -> list[Firing]:
        """Look at all of them once, and fire what is due; return what fired."""
        alerts = [alert for alert in self._alerts.all if alert.settings.enabled]
        if not alerts:
            return []
        now, touched, self._touched = self._now(), self._touched, None
        try:
            return await self._look(alerts, touched=touched, now=now)
        except Exception:
            if touched is not None:  # the next look has to reach as far back
                self._touch(touched)
            raise

    def _touch(self, moment: datetime) -> None:
        self._touched = moment if self._touched is None else min(moment, self._touched)

    async def _look(self, alerts: Sequence[UsageAlert], *, touched: datetime | None, now: datetime) -> list[Firing]:
        opened = await oldest_open(self._database)  # before the sums: what is settled in between is looked at once more
        watermark = await self._watermark()
        begin = watermark or min(alert.armed_at for alert in alerts)
        since = max(min(begin, touched or now, now), now - _LONGEST_BACK)
        usage = await self._usage(alerts, since=since)
        earliest = min(_first_bucket(alert, since).starts_at for alert in alerts)
        fired = cast("set[Key]", {tuple(row) for row in await self._database.read(_FIRED, (to_micros(earliest),))})
        due = await asyncio.to_thread(firings, alerts, usage, since=since, now=now, fired=fired)
        fires = [one for one in await self._wanted(due) if await self.fire(one, now)]
        complete = min(now - _SLACK, opened or now).replace(minute=0, second=0, microsecond=0)
        if complete != watermark:
            await self._database.write(lambda: _set_watermark(complete))
        return fires

    async def _usage(self, alerts: Sequence[UsageAlert], *, since: datetime) -> Usage:
        start = min(needed_since(alert, _first_step(alert, since)) for alert in alerts)
        types = {alert.type for alert in alerts}
        budgets = self._budgets if UsageType.QUOTA_LIMIT in types else ()
        return Usage(
            hours=await sums_by_hour(self._database, since=start),
            endpoints=await endpoints_by_hour(self._database, since=start) if UsageType.UNUSUAL_ACTIVITY in types else {},
            first_hour=await first_hour(self._database) if types & {UsageType.UNUSUAL_ACTIVITY, UsageType.USAGE_SPIKE} else None,
            budgets=budgets,
            budget_uses=await self._budget_uses(budgets, start) if budgets else (),
        )

    async def _budget_uses(self, budgets: Sequence[Budget], since: datetime) -> list[BudgetUse]:
        known = {budget.id: budget for budget in budgets}
        rows = cast("list[tuple[str, int, int, int]]", await self._database.read(_BUDGETS, (to_micros(since),)))
        uses = [
            BudgetUse(budget=known[key], period=Period(from_micros(starts), from_micros(ends)), spent=spent)
            for key, starts, ends, spent in rows
            if key in known
        ]
        return [use for use in uses if use.period == _calendar(use.budget, use.period.starts_at)]  # not of the calendar that it had before

    async def _wanted(self, due: Sequence[Firing]) -> Sequence[Firing]:
        """Leave out those whose type is switched off in the local feed: they are raised, if still due, when it is switched on again."""
        if not due:
            return due
        toggles = (await self._book.toggles()).toggles
        return [one for one in due if toggles.get(_local_type(one) or "", True)]

    async def fire(self, firing: Firing, now: datetime) -> bool:
        """Write the trigger and its alert together; False where it fired already, or where its type is switched off."""
        occurrence = Occurrence(finding=finding_of(firing, now=now, lasts=self._expire_after), taken=Taken.ALERTED, at=now)

        def work() -> Work[bool]:
            if not (yield Sql(_LATCH, (*firing.key, to_micros(now), firing.measured.value))):
                return False
            recorded = yield from self._book.work([occurrence])
            if not recorded:
                yield Sql(_UNLATCH, firing.key)
                return False
            yield Sql(_LINK, (recorded[0].seq, *firing.key))
            return True

        return await self._database.write(work)

    async def _watermark(self) -> datetime | None:
        rows = await self._database.read("SELECT value FROM meta WHERE name = ?", (_WATERMARK,))
        return from_micros(int(cast("str", rows[0][0]))) if rows else None


def finding_of(firing: Firing, *, now: datetime, lasts: timedelta) -> Finding:
    """Return the finding of a usage alert that fires. Its alert stays to the end of the bucket, and long enough to be seen."""
    alert, measured = firing.alert, firing.measured
    name = format(firing.bucket.starts_at, _PERIOD_NAMES[alert.settings.period])
    return Finding(
        kind=alert.kind,
        action=Action.ALERT,
        severity=_severity(firing),
        title=f"Usage alert: {alert.name}",
        message=f"{alert.name}, {name} (UTC): {measured.told}",
        episode=(alert.id, alert.settings.period, firing.bucket.starts_at.isoformat()),
        subject=Subject(usage_alert_id=alert.id, budget_id=measured.budget_id),
        evidence={
            "value": measured.value,
            "threshold": alert.settings.threshold,
            "period": alert.settings.period,
            "bucket_start": firing.bucket.starts_at.isoformat(),
            "bucket_end": firing.bucket.ends_at.isoformat(),
            **measured.evidence,
        },
        ends_at=max(firing.bucket.ends_at, now + lasts),
        window=firing.bucket.ends_at - firing.bucket.starts_at,
    )


def _severity(firing: Firing) -> Severity:
    if firing.alert.type is UsageType.QUOTA_LIMIT and firing.measured.value >= _WHOLE:
        return Severity.HIGH
    return KINDS[firing.alert.kind].severity_of(blocked=False)


def _local_type(firing: Firing) -> str | None:
    return local_type(firing.alert.kind, severity=_severity(firing), taken=Taken.ALERTED)


def _calendar(budget: Budget, at: datetime) -> Period:
    return period_at(budget.settings.period, budget.zone, at, week_start=budget.settings.week_start)


def _first_step(alert: UsageAlert, since: datetime) -> datetime:
    """Return where to begin with an alert: nothing from before it counted is looked at, but the bucket in which it began to is."""
    return max(since, alert.armed_at if alert.type is UsageType.UNUSUAL_ACTIVITY else alert.bucket(alert.armed_at).starts_at)


def _first_bucket(alert: UsageAlert, since: datetime) -> Period:
    return alert.bucket(_first_step(alert, since))


def _set_watermark(at: datetime) -> Work[None]:
    yield Sql(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_WATERMARK, str(to_micros(at))),
    )
