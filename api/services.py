"""What the handlers work with."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from alerting.book import AlertBook
from alerting.entries import EntryBook
from alerting.notify.desk import PolicyDesk, WebhookDesk
from alerting.rule_hooks import RuleHooks
from alerting.rule_watch import RuleWatch
from alerting.rulebook import RuleBook
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from alerting.usage_alerts import UsageAlerts
from alerting.usage_trial import UsageTrials
from api.access import Access
from api.settings import ApiSettings
from api.status import Status
from api.streams import Streams
from api.times import Clock
from metering.ledger import Ledger
from storage.audit import AuditTrail


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the running gateway that the API shows."""

    access: Access
    alerts: AlertBook
    audit: AuditTrail
    silences: SilenceBook
    suppression: Suppression
    rules: RuleBook
    rule_watch: RuleWatch
    entries: EntryBook
    rule_hooks: RuleHooks
    gateway_policies: PolicyDesk
    webhooks: WebhookDesk
    usage_alerts: UsageAlerts
    usage_trials: UsageTrials
    ledger: Ledger
    streams: Streams
    status: Callable[[], Status]
    settings: ApiSettings
    registry: CollectorRegistry
    now: Clock
