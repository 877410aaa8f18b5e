"""The usage alerts, what looks at them, and the mail by which they may notify."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerting.book import AlertBook
from alerting.notify.mail import Mailer
from alerting.notify.mail_channel import MailChannel
from alerting.usage_alerts import UsageAlerts
from alerting.usage_trial import Notice, UsageTrials
from alerting.usage_watch import UsageWatch
from metering.budgets import Budget
from storage.database import Database
from tollwatch.config import Config
from tollwatch.store import now


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageParts:
    """The usage alerts, their worker, and what tries their channels."""

    alerts: UsageAlerts
    watch: UsageWatch
    mail: MailChannel
    trials: UsageTrials


async def build_usage(
    config: Config, *, database: Database, book: AlertBook, budgets: Sequence[Budget], on_notice: Callable[[Notice], None]
) -> UsageParts:
    """Return the usage alerts as they are kept, with a worker that hears of each change of them; mail is added to the book's outbox."""
    alerts = UsageAlerts(database, file=config.usage_alerts, where="its `usage_alerts` section", now=now)
    await alerts.load()
    watch = UsageWatch(database, book, alerts, budgets=budgets, expire_after=config.alerting.expire_after, now=now)
    alerts.on_change = watch.wake
    email = config.notify.email
    mailer = Mailer(email, timeout=config.notify.timeout) if email is not None and email.enabled else None
    mail = MailChannel(mailer, channels_of=alerts.channels_of, now=now)
    book.outbox.add(mail)
    return UsageParts(alerts=alerts, watch=watch, mail=mail, trials=UsageTrials(database, mail, on_notice=on_notice, now=now))
