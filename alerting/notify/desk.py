"""All that people do with webhooks and gateway policies: what they are, what they are sent, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass

from alerting.notify.deliveries import Deliveries
from alerting.notify.http import Poster
from alerting.notify.policies import GatewayPolicies
from alerting.notify.webhook_channel import WebhookChannel
from alerting.notify.webhooks import Webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDesk:
    """The parts of the running gateway that are about webhooks."""

    book: Webhooks
    channel: WebhookChannel
    deliveries: Deliveries
    wake: Callable[[], None]
    """Lets the sender look for what is due now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDesk:
    """The parts of the running gateway that are about gateway policies."""

    book: GatewayPolicies
    deliveries: Deliveries
    poster: Poster
    """Looks at where a URL leads."""
    wake: Callable[[], None]
    """Lets the sender look for what is due now."""
