"""A service's system prompt that differs from what is normal for it."""

from alerting.finding import AlertKind, Finding
from alerting.kinds import KINDS
from alerting.settings import PromptDriftSettings
from alerting.subjects import NOBODY, shown, subject_of
from metering.call import Call
from storage.keyed import KeyedHash

_SHOWN = 12
"""Hex digits of a fingerprint that a message shows."""


class PromptDrift:
    """Knows a system prompt by its HMAC alone: equal prompts have equal fingerprints, and no prompt can be read from one."""

    def __init__(self, settings: PromptDriftSettings, *, key: bytes) -> None:
        self._settings = settings
        self._keyed = KeyedHash(key)

    def fingerprint(self, call: Call) -> str | None:
        """Return 32 hex digits for the system prompt of a call; None when it has none."""
        if not any(call.prompt.system):
            return None
        parts = [part.encode("utf-8", "surrogatepass") for part in call.prompt.system]
        framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return self._keyed.hex(framed)[:32]

    def check(self, call: Call, fingerprint: str, normal: frozenset[str]) -> Finding | None:
        """Return the finding when the fingerprint is not among the normal ones of its service and agent."""
        if fingerprint in normal:
            return None
        agent = call.caller.agent
        who = f"{call.service}, agent {shown(agent)}" if agent else call.service
        baseline = f"its {len(normal)} approved one{'s' if len(normal) > 1 else ''}" if normal else "any approved one: none is approved yet"
        return Finding(
            kind=AlertKind.PROMPT_DRIFT,
            action=self._settings.action,
            severity=KINDS[AlertKind.PROMPT_DRIFT].severity_of(blocked=False),
            title=f"System prompt drift in {who}",
            message=f"System prompt drift detected: the prompt {fingerprint[:_SHOWN]} of {who} differs from {baseline}.",
            episode=drift_episode(call.service, agent, fingerprint),
            subject=subject_of(call),
            evidence={
                "fingerprint": fingerprint,
                "approved": len(normal),
                "chars": sum(map(len, call.prompt.system)),
                "compare": self._settings.compare,
            },
            remedy="If the change is meant, approve the new prompt as a baseline.",
        )


def drift_episode(service: str, agent: str | None, fingerprint: str) -> tuple[str, ...]:
    """Return what makes two drifts one alert."""
    return (service, agent or NOBODY, "exact", fingerprint)
