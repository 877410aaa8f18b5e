"""A service's system prompt that differs from what is normal for it."""

from alerting.finding import AlertKind, Finding
from alerting.kinds import KINDS
from alerting.settings import PromptDriftSettings
from alerting.shapes import Shape, shape_of
from alerting.subjects import NOBODY, shown, subject_of
from metering.call import Call
from storage.keyed import KeyedHash

_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 16 << 10
"""Characters. An agent sends the same instructions with every call; the last ones are known without hashing them again, in memory only."""
_SHOWN = 12
"""Hex digits of a fingerprint that a message shows."""


class PromptDrift:
    """Knows a system prompt by its HMAC alone: equal prompts have equal fingerprints, and no prompt can be read from one."""

    def __init__(self, settings: PromptDriftSettings, *, key: bytes) -> None:
        self._settings = settings
        self.approve_first = settings.approve == "first"
        self._keyed = KeyedHash(key)
        self._known: dict[tuple[str, ...], str] = {}

    def fingerprint(self, call: Call) -> str | None:
        """Return 32 hex digits for the system prompt of a call; None when it has none."""
        system = call.prompt.system
        if (known := self._known.get(system)) is not None:
            return known
        if not any(system):
            return None
        found = self._hash(system)
        if sum(map(len, system)) <= _LONGEST_REMEMBERED:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[system] = found
        return found

    def shape(self, call: Call) -> Shape:
        """Return the shape of the system prompt of a call."""
        return shape_of("\n".join(call.prompt.system), self._keyed)

    def _hash(self, system: tuple[str, ...]) -> str:
        parts = [part.encode("utf-8", "surrogatepass") for part in system]
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
            remedy=f"If the change is meant, approve the new prompt: `tollwatch baselines approve {fingerprint[:_SHOWN]}`.",
        )


def drift_episode(service: str, agent: str | None, fingerprint: str) -> tuple[str, ...]:
    """Return what makes two drifts one alert."""
    return (service, agent or NOBODY, "exact", fingerprint)
