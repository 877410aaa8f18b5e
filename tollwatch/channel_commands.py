"""The commands on channels, as the control socket takes them: which there are, how they do, and a trial of each."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from alerting.notify.deliveries import Deliveries, DeliveryState, KeptDelivery
from alerting.notify.mail_channel import CHANNEL as EMAIL
from alerting.notify.policies import GatewayPolicy, target_of
from alerting.notify.webhooks import Webhook
from alerting.usage_trial import DASHBOARD
from storage.database import Database
from tollwatch.control import Command
from tollwatch.notifying import Notifying
from tollwatch.store import now
from tollwatch.usage import UsageParts

_PATIENCE: Final = 9.0
"""Seconds that a trial may take: whoever asks over the control socket waits a second more."""


def channel_commands(database: Database, notifying: Notifying, usage: UsageParts) -> Mapping[str, Command]:
    """Return the commands by their names."""
    mails = Deliveries(database, channel=EMAIL, now=now)

    async def ls(_given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        shown = [_dashboard(), await _email(usage, mails)]
        shown += [await _webhook(hook, notifying.desk.deliveries) for hook in notifying.desk.book.all()]
        for policy in notifying.policies.book.all():
            shown += [await _policy(policy, index, notifying.policies.deliveries) for index in range(len(policy.actions))]
        return shown

    async def test(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        name = str(given["name"])
        try:
            async with asyncio.timeout(_PATIENCE):
                fault = await _try(name, notifying, usage)
        except TimeoutError:
            fault = f"no answer within {_PATIENCE:g} seconds"
        return {"name": name, "success": fault is None, "error": fault}

    return {"channels.ls": ls, "channels.test": test}


async def _try(name: str, notifying: Notifying, usage: UsageParts) -> str | None:
    """Try a channel; return why it failed. Raises ValueError for one that is not there."""
    if name == DASHBOARD:
        return await usage.trials.try_channel("dashboard")
    if name == EMAIL:
        return await usage.trials.try_channel("email")
    found = [hook for hook in notifying.desk.book.all() if hook.id.startswith(name.removeprefix("webhook:"))]
    if len(found) != 1:
        which = "no channel is" if not found else f"{len(found)} channels begin with"
        raise ValueError(f"{which} {name!r}: write dashboard, email, or webhook: and an id; `tollwatch channels ls` lists them")
    _event, result = await notifying.desk.channel.test(found[0])
    return result.error


def _dashboard() -> dict[str, object]:
    return _shown(DASHBOARD, state="on", target="every alert; trials as notices", last=None, counts={})


async def _email(usage: UsageParts, mails: Deliveries) -> dict[str, object]:
    settings = usage.mail.settings
    if settings is None:
        return _shown(EMAIL, state="not set", target="notify.email", last=None, counts={})
    lasts = [last for address in settings.recipients if (last := await mails.last(address)) is not None]
    counts = [await mails.counts(address) for address in settings.recipients]
    total = {state: sum(one[state] for one in counts) for state in DeliveryState}
    target = f"{settings.host}:{settings.effective_port} to {', '.join(settings.recipients)}"
    return _shown(EMAIL, state="on", target=target, last=max(lasts, key=lambda one: one.seq, default=None), counts=total)


async def _webhook(hook: Webhook, deliveries: Deliveries) -> dict[str, object]:
    state = "on" if hook.enabled else f"off: {hook.disabled_reason}" if hook.disabled_reason else "off"
    return _shown(
        f"webhook:{hook.id}", state=state, target=hook.url, last=await deliveries.last(hook.id), counts=await deliveries.counts(hook.id)
    )


async def _policy(policy: GatewayPolicy, index: int, deliveries: Deliveries) -> dict[str, object]:
    target = target_of(policy, index)
    return _shown(
        f"policy:{target}",
        state="on" if index in policy.listeners else "off",
        target=policy.actions[index].url,
        last=await deliveries.last(target),
        counts=await deliveries.counts(target),
    )


def _shown(name: str, *, state: str, target: str, last: KeptDelivery | None, counts: Mapping[DeliveryState, int]) -> dict[str, object]:
    waiting: Sequence[DeliveryState] = (DeliveryState.PENDING, DeliveryState.HELD)
    return {
        "name": name,
        "state": state,
        "target": target,
        "last_at": None if last is None or last.last_at is None else last.last_at.isoformat(),
        "last_error": None if last is None else last.last_error,
        "waiting": sum(counts.get(one, 0) for one in waiting),
        "dead": counts.get(DeliveryState.DEAD, 0),
    }
