"""Telling the receivers of gateway policies of alerts about rules."""

from collections.abc import Callable, Iterator
from datetime import datetime

from alerting.notify.channel import AlertEvent, Delivery, Message, Result
from alerting.notify.http import Poster
from alerting.notify.policies import CHANNEL, GatewayPolicies, target_of
from alerting.notify.signing import signed_headers
from alerting.notify.webhook_channel import envelope
from alerting.rules_view import rules_view

type Clock = Callable[[], datetime]

_GONE = 410


class PolicyChannel:
    """Tells of the alerts that the rules feed shows, signed as every webhook is."""

    name = CHANNEL

    def __init__(self, policies: GatewayPolicies, poster: Poster, *, org_id: str, now: Clock) -> None:
        self._policies = policies
        self._poster = poster
        self._org_id = org_id
        self._now = now

    @property
    def listens(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self._policies.listening)

    def compose(self, event: AlertEvent) -> Iterator[Message]:
        """Say who gets what."""
        told = [policy for policy in self._policies.listening if policy.matches(event.type)]
        view = rules_view(event.alert) if told else None
        if view is None:
            return
        body = envelope(event_id=event.id, event=event.type, at=event.at, org_id=self._org_id, data=view)
        for policy in told:
            for index in policy.listeners:
                yield Message(target=target_of(policy, index), body=body)

    async def send(self, delivery: Delivery) -> Result:
        """Make one attempt, signed anew."""
        found = self._policies.receiver(delivery.target)
        if found is None:
            return Result(error="the gateway policy has no such receiver any more", final=True)
        policy, index = found
        if policy.secret is None:
            return Result(
                error="the policy's secret cannot be read (the installation's key changed): change the policy, which gives it a fresh one",
                final=True,
            )
        body = delivery.body.encode()
        headers = signed_headers(event_id=delivery.event_id, body=body, at=self._now(), live_secrets=[policy.secret])
        result = await self._poster.post(policy.actions[index].url, body, headers)
        if result.status == _GONE:
            await self._policies.disable(delivery.target, reason=str(result.error))
        return result
