"""Who keeps failing to prove who they are: counted by source, and told as `login_abuse`."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from alerting.finding import Action, AlertKind, Finding, Occurrence, Taken
from alerting.kinds import KINDS
from api.times import Clock

type Proof = Literal["password", "setup code", "client secret", "bearer token"]
type Report = Callable[[Sequence[Occurrence]], None]

UNKNOWN_TOKENS: Final = 30
"""Unknown bearer tokens from one source within a minute from which on they are told."""
TOLD_EVERY: Final = timedelta(minutes=1)
"""A source that goes on raises its alert's count so often at most: failures cost the store next to nothing, however many they are."""
EVERYWHERE: Final = "all addresses"
"""The source of failures that come from many."""
_MINUTE: Final = timedelta(minutes=1)
_SOURCES: Final = 1_000
"""Sources that are known at a time; who has many addresses must not fill the memory."""


def login_abuse(source: str, proof: Proof, *, failures: int, waits: bool) -> Finding:
    """Return the finding on a source that failed `failures` times; `waits` when it is not heard for now."""
    then = "Further attempts wait." if waits else "Each was refused."
    return Finding(
        kind=AlertKind.LOGIN_ABUSE,
        action=Action.ALERT,
        severity=KINDS[AlertKind.LOGIN_ABUSE].severity_of(blocked=False),
        title=f"Failed logins from {source}",
        message=f"{failures} or more attempts with a wrong {proof} came from {source} in a short time. {then}",
        episode=(source,),
        evidence={"source": source, "proof": proof, "failures": failures},
        remedy="If it is a program of yours, give it a token that is good (tollwatch token create); else find out who runs there.",
    )


@dataclass(slots=True)
class Abuse:
    """Tells of sources that fail too often, of each once a minute at most for each proof that they fail at."""

    now: Clock
    report: Report
    """Where findings go."""
    _unknown: dict[str, deque[datetime]] = field(default_factory=dict[str, deque[datetime]])
    _told: dict[tuple[str, Proof], datetime] = field(default_factory=dict[tuple[str, Proof], datetime])

    def unknown_token(self, source: str) -> None:
        """Count a bearer token that is good for nothing."""
        now = self.now()
        times = self._unknown.get(source)
        if times is None:
            _make_room(self._unknown)
            times = self._unknown[source] = deque(maxlen=UNKNOWN_TOKENS)
        times.append(now)
        if len(times) == UNKNOWN_TOKENS and now - times[0] < _MINUTE:
            self._tell(source, "bearer token", failures=UNKNOWN_TOKENS, waits=False)

    def throttled(self, source: str, proof: Proof, *, failures: int) -> None:
        """Say that a source's attempts are not heard for now."""
        self._tell(source, proof, failures=failures, waits=True)

    def _tell(self, source: str, proof: Proof, *, failures: int, waits: bool) -> None:
        now = self.now()
        told = self._told.get((source, proof))
        if told is not None and now - told < TOLD_EVERY:
            return
        if told is None:
            _make_room(self._told)
        self._told[source, proof] = now
        finding = login_abuse(source, proof, failures=failures, waits=waits)
        self.report([Occurrence(finding=finding, taken=Taken.THROTTLED if waits else Taken.ALERTED, at=now)])


def _make_room[Key, Value](known: dict[Key, Value]) -> None:
    """Forget the source that was met first when there are too many."""
    if len(known) >= _SOURCES:
        del known[next(iter(known))]
