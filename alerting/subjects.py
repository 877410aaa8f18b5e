"""What a finding on a call is about."""

from alerting.finding import Subject
from metering.call import Call

NOBODY = "-"
"""Stands for an unknown caller in an episode."""


def subject_of(call: Call, *, rule_id: str | None = None) -> Subject:
    """Return the subject of a finding on this call."""
    caller = call.caller
    return Subject(
        service=call.service,
        host=call.host,
        endpoint=call.endpoint.value,
        model=call.model,
        user=caller.user,
        department=caller.department,
        agent=caller.agent,
        key_id=caller.key_id,
        rule_id=rule_id,
    )
