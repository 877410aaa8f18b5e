"""What tells others of alerts: the channels of the outbox, and what sends."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from alerting.notify.deliveries import Deliveries
from alerting.notify.desk import PolicyDesk, WebhookDesk
from alerting.notify.holding import Holding
from alerting.notify.http import Poster
from alerting.notify.outbox import Outbox
from alerting.notify.policies import CHANNEL as POLICY_CHANNEL
from alerting.notify.policies import GatewayPolicies
from alerting.notify.policy_channel import PolicyChannel
from alerting.notify.sealing import Seal
from alerting.notify.sender import Sender
from alerting.notify.webhook_channel import WebhookChannel
from alerting.notify.webhooks import CHANNEL, Webhooks
from alerting.suppression import Suppression
from storage.database import Database
from tollwatch.config import Config
from tollwatch.first_start import Installation
from tollwatch.store import now


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifying:
    """The webhooks, the gateway policies, and the sender of all channels."""

    desk: WebhookDesk
    policies: PolicyDesk
    sender: Sender


async def build_notifying(
    config: Config, installation: Installation, *, database: Database, outbox: Outbox, suppression: Suppression, stack: AsyncExitStack
) -> Notifying:
    """Add the channels of the config to the outbox; leaving the stack ends their connections."""
    org_id, guard = str(installation.org_id), config.notify.guard()
    seal = Seal(installation.key)
    webhooks = Webhooks(database, file=config.notify.webhooks, guard=guard, seal=seal, org_id=org_id, now=now)
    await webhooks.load()
    poster = Poster(guard, timeout=config.notify.timeout)
    stack.push_async_callback(poster.aclose)
    channel = WebhookChannel(webhooks, poster, org_id=org_id, opted_in=config.alerting.org_budget_warnings, now=now)
    outbox.add(channel)
    policies = GatewayPolicies(database, seal=seal, now=now)
    await policies.load()
    outbox.add(PolicyChannel(policies, poster, org_id=org_id, now=now))
    sender = Sender(database, outbox, now=now, holding=Holding(database, suppression))
    deliveries = Deliveries(database, channel=CHANNEL, now=now)
    desk = WebhookDesk(book=webhooks, channel=channel, deliveries=deliveries, wake=sender.wake)
    of_policies = Deliveries(database, channel=POLICY_CHANNEL, now=now)
    policy_desk = PolicyDesk(book=policies, deliveries=of_policies, poster=poster, wake=sender.wake)
    return Notifying(desk=desk, policies=policy_desk, sender=sender)
