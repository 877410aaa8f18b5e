"""What others say about rules: messages of integrations that raise an alert, end it, or have a rule measured; each counts once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import cast

from alerting.book import AlertBook
from alerting.finding import Action, AlertKind, Finding, Occurrence, Subject, Taken
from alerting.fingerprint import fingerprint
from alerting.kinds import KINDS
from storage.database import Database, Sql, Work
from storage.times import to_micros

type Clock = Callable[[], datetime]
type Scalar = str | int | float | bool | None

REMEMBERED = timedelta(days=7)
"""How long a message is known: senders try again for days, under the same id."""
OTHER_RULE = "conflicting_rule_id"
"""What the metadata of a conflict names."""

_CLAIM = """
INSERT INTO hook_messages (hook, message_id, received_at) VALUES (?, ?, ?) ON CONFLICT (hook, message_id) DO NOTHING RETURNING hook
"""
_KNOWN = "SELECT alert_seq FROM hook_messages WHERE hook = ? AND message_id = ?"
_NOTE = "UPDATE hook_messages SET alert_seq = ? WHERE hook = ? AND message_id = ?"
_FORGET = "DELETE FROM hook_messages WHERE received_at < ?"
_HOLDS = "SELECT 1 FROM rule_conditions WHERE fingerprint = ?"
_OPEN = "SELECT seq FROM alerts WHERE fingerprint = ? AND resolved_at IS NULL"

_TOLD = {
    AlertKind.RULE_DORMANT: "is dormant",
    AlertKind.RULE_HIGH_DENY_RATE: "denies much",
    AlertKind.RULE_HEALTH_DECLINE: "declined in health",
    AlertKind.RULE_CONFLICT: "is in conflict with another",
}


class Outcome(StrEnum):
    """What came of a message."""

    RAISED = "raised"
    RESOLVED = "resolved"
    NOT_OPEN = "not_open"
    """There was nothing to resolve."""
    STANDS = "stands"
    """The gateway itself sees that the condition holds: its alert ends with it."""
    EVALUATED = "evaluated"
    REPLAYED = "replayed"
    """The message was taken before: nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: the integration that sent it, and the id that stays the same when it is sent again."""

    hook: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is said about a rule."""

    kind: AlertKind
    rule_id: str
    message: str | None
    metadata: Mapping[str, Scalar]

    @property
    def episode(self) -> tuple[str, ...]:
        """What makes two reports one alert: as for what the gateway itself finds."""
        return (self.rule_id, str(self.metadata[OTHER_RULE])) if self.kind is AlertKind.RULE_CONFLICT else (self.rule_id,)

    def finding(self, hook: str) -> Finding:
        """Return it as a finding."""
        told = f"Rule {self.rule_id} {_TOLD[self.kind]}"
        return Finding(
            kind=self.kind,
            action=Action.ALERT,
            severity=KINDS[self.kind].severity_of(blocked=False),
            title=told,
            message=self.message or f"{told}, {hook} reports",
            episode=self.episode,
            subject=Subject(rule_id=self.rule_id),
            evidence={**self.metadata, "rule_id": self.rule_id, "source": f"hook:{hook}"},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What came of a message, and the alert that it is about."""

    outcome: Outcome
    seq: int | None = None
    is_new: bool = False
    """The alert began with it."""


class RuleHooks:
    """Takes messages. What one says is durable together with the fact that it was taken."""

    def __init__(self, database: Database, book: AlertBook, *, now: Clock) -> None:
        self._database = database
        self._book = book
        self._now = now

    async def raise_alert(self, message: Message, report: Report) -> Taking:
        """Raise an alert, or the count of the one that is open."""
        at = self._now()
        occurrence = Occurrence(finding=report.finding(message.hook), taken=Taken.ALERTED, at=at)

        def work() -> Work[Taking]:
            recorded = yield from self._book.work([occurrence])
            return Taking(outcome=Outcome.RAISED, seq=recorded[0].seq, is_new=recorded[0].is_new)

        return await self._once(message, work, at)

    async def resolve(self, message: Message, report: Report) -> Taking:
        """End the alert that is open, unless the gateway itself sees that what it is about still holds."""
        at, key = self._now(), fingerprint(report.kind, report.episode)

        def work() -> Work[Taking]:
            found = yield Sql(_OPEN, (key,))
            seq = cast("int", found[0][0]) if found else None
            if (yield Sql(_HOLDS, (key,))):
                return Taking(outcome=Outcome.STANDS, seq=seq)
            ended = yield from self._book.clearing(key, at=at)
            return Taking(outcome=Outcome.RESOLVED if ended else Outcome.NOT_OPEN, seq=seq)

        return await self._once(message, work, at)

    async def evaluate(self, message: Message) -> Taking:
        """Note that a rule is to be measured; whoever asked measures it unless that is a replay."""

        def work() -> Work[Taking]:
            yield from ()
            return Taking(outcome=Outcome.EVALUATED)

        return await self._once(message, work, self._now())

    async def _once(self, message: Message, make: Callable[[], Work[Taking]], at: datetime) -> Taking:
        """Do what a message says unless it was taken before."""

        def work() -> Work[Taking]:
            yield Sql(_FORGET, (to_micros(at - REMEMBERED),))
            if not (yield Sql(_CLAIM, (message.hook, message.id, to_micros(at)))):
                known = yield Sql(_KNOWN, (message.hook, message.id))
                return Taking(outcome=Outcome.REPLAYED, seq=cast("int | None", known[0][0]))
            taking = yield from make()
            yield Sql(_NOTE, (taking.seq, message.hook, message.id))
            return taking

        return await self._database.write(work)
