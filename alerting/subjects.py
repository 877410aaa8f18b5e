"""What a finding on a call is about."""

from alerting.finding import Subject
from metering.call import Call

NOBODY = "-"
"""Stands for an unknown caller in an episode."""
_LONGEST = 200


def shown(value: str | None) -> str | None:
    """Return a name that a client chose, cut to what a name may reasonably be: an alert must not keep a text put in its place."""
    return value if value is None or len(value) <= _LONGEST else f"{value[:_LONGEST]}…"


def subject_of(call: Call, *, rule_id: str | None = None) -> Subject:
    """Return the subject of a finding on this call."""
    caller = call.caller
    return Subject(
        service=shown(call.service),
        host=call.host,
        endpoint=call.endpoint.value,
        model=shown(call.model),
        user=shown(caller.user),
        department=shown(caller.department),
        agent=shown(caller.agent),
        key_id=caller.key_id,
        rule_id=rule_id,
    )
