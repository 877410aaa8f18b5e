"""The usage alerts, and what looks at them."""

from collections.abc import Sequence

from alerting.book import AlertBook
from alerting.usage_alerts import UsageAlerts
from alerting.usage_watch import UsageWatch
from metering.budgets import Budget
from storage.database import Database
from tollwatch.config import Config
from tollwatch.store import now


async def build_usage(config: Config, *, database: Database, book: AlertBook, budgets: Sequence[Budget]) -> tuple[UsageAlerts, UsageWatch]:
    """Return the usage alerts as they are kept, and their worker, which hears of each change of them."""
    alerts = UsageAlerts(database, file=config.usage_alerts, where="its `usage_alerts` section", now=now)
    await alerts.load()
    watch = UsageWatch(database, book, alerts, budgets=budgets, expire_after=config.alerting.expire_after, now=now)
    alerts.on_change = watch.wake
    return alerts, watch
