"""Calls that were answered and whose usage could not be read."""

from datetime import datetime, timedelta

from alerting.finding import Action, AlertKind, Finding
from alerting.kinds import KINDS
from alerting.subjects import shown, subject_of
from metering.call import Call, Consumption, Ending, Reply
from metering.reading import ReplyFacts
from metering.spread import Spread
from metering.units import dollars


def check(call: Call, reply: Reply, facts: ReplyFacts | None) -> Finding | None:
    """Return the finding when a provider answered well and nothing tells what it used."""
    if reply.status is None or not 200 <= reply.status < 300:
        return None
    if call.consumption is Consumption.UNREAD:
        return unread(call, action=Action.ALERT, at=reply.ended_at)
    if call.consumption is not Consumption.METERED or reply.ending is not Ending.COMPLETED:
        return None
    if facts is None:
        return _gap(call, "the copy of the answer could not be read", at=reply.ended_at, action=Action.ALERT)
    if facts.usage is None and facts.error is None:
        return _gap(call, "the answer carried no usage, so its tokens are estimated", at=reply.ended_at, action=Action.ALERT)
    return None


def unread(call: Call, *, action: Action, at: datetime) -> Finding:
    """Return the finding on a call in a format that is not read."""
    return _gap(call, "its wire format is not read, so it is recorded without tokens and cost", at=at, action=action)


def wide(spread: Spread, *, share: float) -> Finding | None:
    """Return the finding on a provider's day of whose cost more than `share` is not known to the point."""
    if spread.share <= share:
        return None
    least, most = dollars(spread.floor_nano), dollars(spread.ceiling_nano)
    return Finding(
        kind=AlertKind.METER_GAP,
        action=Action.ALERT,
        severity=KINDS[AlertKind.METER_GAP].severity_of(blocked=False),
        title=f"Cost of {spread.provider} is uncertain",
        message=f"The calls of {spread.day} to {spread.provider} cost between {least} and {most}: {spread.share:.0%} of it is not certain.",
        episode=(spread.provider, spread.day.isoformat(), "cost"),
        evidence={"floor_nano": spread.floor_nano, "ceiling_nano": spread.ceiling_nano, "share": round(spread.share, 4), "limit": share},
        remedy="See `tollwatch spend --by source`, and hold it against the provider's report with `tollwatch reconcile FILE`.",
        window=timedelta(days=1),
    )


def orphaned(calls: int, *, at: datetime) -> Finding:
    """Return the finding on calls whose end nobody saw, because the gateway ended first."""
    return Finding(
        kind=AlertKind.METER_GAP,
        action=Action.ALERT,
        severity=KINDS[AlertKind.METER_GAP].severity_of(blocked=False),
        title="Calls of unknown outcome",
        message=f"{calls:,} call{'s were' if calls > 1 else ' was'} open when the gateway last ended; charged at the hold.",
        episode=("gateway", at.isoformat()),
        evidence={"calls": calls},
        remedy="Compare them with the provider's usage report.",
    )


def _gap(call: Call, why: str, *, at: datetime, action: Action) -> Finding:
    refused = action is Action.BLOCK
    return Finding(
        kind=AlertKind.METER_GAP,
        action=action,
        severity=KINDS[AlertKind.METER_GAP].severity_of(blocked=refused),
        title=f"Unmetered traffic to {call.provider}",
        message=f"Cannot meter {call.method} {shown(call.path)} of {call.provider}: {why}.",
        episode=(call.provider, at.date().isoformat()),
        subject=subject_of(call),
        evidence={"wire_format": call.wire_format, "operation": call.operation, "consumption": call.consumption.value},
        remedy="Set proxy.unknown_formats to pass to let such calls through." if refused else "",
    )
