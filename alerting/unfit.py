"""What the proxy refuses by itself, before any rule is asked."""

from dataclasses import replace

from alerting.detectors import gateway_degraded
from alerting.finding import Action, AlertKind, Finding, Refusal, Severity
from alerting.rule_settings import RESERVED
from alerting.subjects import NOBODY, subject_of
from metering.call import Call


def unfit(call: Call, refusal: Refusal, message: str) -> Finding:
    """Return the finding on a call that the proxy refused by itself."""
    if refusal is Refusal.DEGRADED:
        return replace(gateway_degraded.degraded("proxy", message), action=Action.BLOCK)
    rule_id = f"{RESERVED}{refusal.value}"
    return Finding(
        kind=AlertKind.POLICY_VIOLATION,
        action=Action.BLOCK,
        severity=Severity.MEDIUM,
        title=f"Request refused: {refusal.value.replace('_', ' ')}",
        message=message,
        episode=(rule_id, call.caller.user or call.caller.key_id or NOBODY, call.model or NOBODY),
        subject=subject_of(call, rule_id=rule_id),
        evidence={"refusal": refusal.value, "request_bytes": call.request_bytes},
    )
