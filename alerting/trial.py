"""The judging of one call: what was found so far, and whether it is still to be sent."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from alerting.finding import Action, Finding, Occurrence, Refusal, Taken, Verdict
from alerting.kinds import KINDS
from metering.call import Call
from metering.input_size import InputSize
from metering.terms import NO_DENIAL

type Mode = Literal["enforce", "monitor"]

STATUS = {
    Refusal.POLICY: 403,
    Refusal.PROMPT_SIZE: 403,
    Refusal.PROMPT_DRIFT: 403,
    Refusal.BUDGET: 402,
    Refusal.RATE_LIMIT: 429,
    Refusal.UNKNOWN_FORMAT: 403,
    Refusal.LOCKED_OUT: 403,
    Refusal.LAST_DAY: 403,
    Refusal.CERTIFICATE: 403,
    Refusal.UNREADABLE: 400,
    Refusal.TOO_LARGE: 413,
    Refusal.UNSUPPORTED_ENCODING: 415,
    Refusal.DEGRADED: 503,
    Refusal.ONCHAIN: 200,
}
"""The status that a refused call is answered with and recorded under."""

_ALLOWED = Verdict(action=Action.ALLOW)
_WOULD = "In enforce mode this call would have been refused."


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a call is not sent."""

    refusal: Refusal
    finding: Finding


class Trial:
    """One call before the gate. Findings gather; the first one that blocks in this mode ends it."""

    __slots__ = ("_enforces", "at", "call", "denial", "occurrences", "refused", "rule_id", "size")

    def __init__(self, call: Call, size: InputSize, *, enforces: bool, at: datetime) -> None:
        self.call = call
        self.size = size
        self.occurrences: list[Occurrence] = []
        self.refused: Refused | None = None
        self.rule_id: str | None = None
        self.denial = NO_DENIAL
        """What budgets denied it."""
        self._enforces = enforces
        self.at = at

    def hear(self, finding: Finding, refusal: Refusal) -> None:
        """Take a finding in; where it blocks, the call is refused, or in monitor mode said to be."""
        taken = Taken.ALERTED
        if finding.action is Action.BLOCK and (self._enforces or finding.silent):
            taken = Taken.THROTTLED if refusal is Refusal.RATE_LIMIT else Taken.BLOCKED
            self.refused = self.refused or Refused(refusal, finding)
        elif finding.action is Action.BLOCK:
            taken, finding = Taken.OBSERVED, _as_observed(finding)
        self.occurrences.append(Occurrence(finding=finding, taken=taken, at=self.at, call_id=self.call.id))

    def hear_all(self, findings: Iterable[Finding], refusal: Refusal) -> None:
        """Take several findings in; the blocking one that lasts longest speaks for the refusal."""
        for finding in sorted(findings, key=_wait, reverse=True):
            self.hear(finding, refusal)

    def take_in(self, inner: "Trial") -> None:
        """Take in what was found of a part of this call; equal findings of other parts are one."""
        known = {(each.finding.kind, each.finding.episode) for each in self.occurrences}
        for each in inner.occurrences:
            if (each.finding.kind, each.finding.episode) not in known:
                self.occurrences.append(replace(each, call_id=self.call.id))
        self.refused = self.refused or inner.refused
        self.rule_id = self.rule_id or inner.rule_id

    @property
    def verdict(self) -> Verdict:
        """The decision as it stands."""
        if not self.occurrences:
            return _ALLOWED if self.rule_id is None else Verdict(action=Action.ALLOW, rule_id=self.rule_id)
        findings = tuple(occurrence.finding for occurrence in self.occurrences)
        if self.refused is None:
            message = " ".join(finding.message for finding in findings)
            return Verdict(action=Action.ALERT if findings else Action.ALLOW, findings=findings, message=message, rule_id=self.rule_id)
        finding = self.refused.finding
        return Verdict(
            action=Action.BLOCK,
            findings=findings,
            refusal=self.refused.refusal,
            message=f"{finding.message} {finding.remedy}".rstrip(),
            rule_id=finding.subject.rule_id or finding.subject.budget_id or self.rule_id,
            retry_after=finding.retry_after,
        )


def _wait(finding: Finding) -> timedelta:
    return timedelta.max if finding.retry_after is None else finding.retry_after


def _as_observed(finding: Finding) -> Finding:
    """Return the finding as monitor mode tells it: what enforce would have done, and the severity of a call that passed."""
    kind = KINDS[finding.kind]
    severity = kind.severity_of(blocked=False) if kind.blocked_severity else finding.severity
    return replace(finding, message=f"{finding.message} {_WOULD}", severity=severity)
