"""Calls that a provider itself refuses, since its own rate limit or quota is reached (status 429)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.finding import Action, AlertKind, Finding
from alerting.fingerprint import fingerprint
from alerting.kinds import KINDS
from alerting.subjects import NOBODY, shown, subject_of
from metering.call import Call, Reply
from metering.reading import ReplyFacts

_LEAST_QUIET = timedelta(minutes=1)
"""A provider's windows are minutes, mostly: calls that pass between two refusals do not end the episode."""
_MOST_KEPT = 4_096
_MANY = 429

type Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Cleared:
    """The provider answers again: the episode of this fingerprint is over."""

    fingerprint: str


class UpstreamLimits:
    """Which keys and models are being refused by their providers. One for the life of a gateway, whatever its config becomes."""

    def __init__(self) -> None:
        self._until: dict[Key, datetime | None] = {}

    def heard(self, call: Call, reply: Reply, facts: ReplyFacts | None) -> Finding | Cleared | None:
        """Judge one answer: a finding for a refusal, `Cleared` with the first good answer after it that comes late enough.

        The first good answer of a key in this process clears too: an earlier process may have left an open alert.
        """
        if reply.status == _MANY:
            return self._refused(call, reply, facts)
        if reply.status is None or reply.status >= 300:
            return None
        key = _key(call)
        until = self._until.get(key, reply.ended_at)
        if until is None or reply.ended_at < until:
            return None
        self._note(key, None)
        return Cleared(fingerprint(AlertKind.RATE_LIMIT_HIT, _episode(key)))

    def _refused(self, call: Call, reply: Reply, facts: ReplyFacts | None) -> Finding:
        key, wait = _key(call), reply.retry_after
        self._note(key, reply.ended_at + max(wait or _LEAST_QUIET, _LEAST_QUIET))
        asked = "it did not say when to try again" if wait is None else f"it asks to wait {wait.total_seconds():g} s"
        return Finding(
            kind=AlertKind.RATE_LIMIT_HIT,
            action=Action.ALERT,
            severity=KINDS[AlertKind.RATE_LIMIT_HIT].severity_of(blocked=False),
            title=f"Rate limit of {call.provider} reached",
            message=f"{call.provider} refused a call to {shown(call.model) or call.endpoint.value} with 429; {asked}.",
            episode=_episode(key),
            subject=subject_of(call),
            evidence={
                "by": "provider",
                "provider": call.provider,
                "retry_after_seconds": None if wait is None else wait.total_seconds(),
                "error": shown(facts.error) if facts else None,
            },
            remedy="Send fewer calls or smaller ones, or raise the limit with the provider.",
            retry_after=wait,
        )

    def _note(self, key: Key, until: datetime | None) -> None:
        if len(self._until) >= _MOST_KEPT and key not in self._until:
            self._until.clear()
        self._until[key] = until


def _key(call: Call) -> Key:
    return call.provider, call.model or NOBODY, call.caller.key_id or NOBODY


def _episode(key: Key) -> tuple[str, ...]:
    return ("upstream", *key)
