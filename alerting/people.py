"""What is judged of the caller alone, before anything else of a call: locks, last days, revoked certificates."""

from collections.abc import Callable, Container, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerting.finding import Action, AlertKind, Finding, Occurrence, Refusal, Severity, Taken
from alerting.kinds import KINDS
from alerting.lockout import Lock, Lockouts, locked_out, who_is
from alerting.settings import LastDaySettings, LockoutSettings
from alerting.subjects import NOBODY, shown, subject_of
from metering.call import Call
from metering.providers.catalog import CANARY_HOST, PROBE_HOST
from metering.settings import UserSettings
from storage.database import Work

type Found = tuple[Finding, Refusal]

LAST_DAY_RULE = "tollwatch:last_day"
_OWN_HOSTS = frozenset({CANARY_HOST, PROBE_HOST})
"""The gateway's own questions, which never leave it: a refusal of their sender would hide the answer."""
_NOTHING: tuple[Found, ...] = ()
_NOT_COUNTED = frozenset({AlertKind.USER_LOCKED_OUT, AlertKind.CLIENT_CERT_REVOKED})
_TOLD_FOR = timedelta(days=1)
"""How long the alert on a lock that monitor mode did not put on stays: there is nothing to release that would end it."""
_REASON = "{count} critical violation{s} within {span}"


@dataclass(frozen=True, slots=True)
class _Left:
    """The last day of a user, and the moment at which it is over."""

    day: date
    end: datetime


class People:
    """The gate's questions about the caller; with nothing configured and nobody locked out they are three looks at empty tables."""

    def __init__(
        self,
        lockouts: Lockouts,
        *,
        users: Sequence[UserSettings] = (),
        lockout: LockoutSettings | None = None,
        last_day: LastDaySettings | None = None,
        revoked: Container[str] = frozenset[str](),
    ) -> None:
        self._lockouts = lockouts
        self._lockout = lockout or LockoutSettings()
        self._last_day = last_day or LastDaySettings()
        self._left = _ends(users, self._last_day.timezone)
        self._revoked = revoked

    def check(self, call: Call, *, at: datetime) -> Sequence[Found]:
        """Return what there is to say of the caller; nothing, as a rule."""
        caller = call.caller
        found = _NOTHING
        if caller.certificate is not None and caller.certificate in self._revoked:
            found = ((_revoked(call, caller.certificate), Refusal.CERTIFICATE),)
        if lock := self._lockouts.of(caller):
            found = (*found, (locked_out(lock, subject=subject_of(call)), Refusal.LOCKED_OUT))
        if self._left and caller.user is not None and (left := self._left.get(caller.user)) and at >= left.end:
            found = (*found, (self._after_last_day(call, caller.user, left.day), Refusal.LAST_DAY))
        return found if found and call.host not in _OWN_HOSTS else _NOTHING

    def struck(self, call: Call, occurrences: Sequence[Occurrence], *, at: datetime) -> Lock | None:
        """Count the critical violations of a call that was, or in monitor mode would have been, refused; return the lock to put on."""
        after, within = self._lockout.after, self._lockout.within
        if after is None or not any(map(_is_violation, occurrences)):
            return None
        who = who_is(call.caller)
        if who is None or self._lockouts.of(call.caller) or not self._lockouts.strike(who, at=at, after=after, within=within):
            return None
        reason = _REASON.format(count=after, s="" if after == 1 else "s", span=_span(within))
        return Lock(who=who, locked_at=at, locked_by="system", reason=reason)

    @contextmanager
    def locking(self, call: Call, occurrences: Sequence[Occurrence], *, at: datetime) -> Generator[Callable[[], Work[None]] | None]:
        """Put the lock on that a refused call brings, and give the work that makes it durable; without that it is taken back."""
        lock = self.struck(call, occurrences, at=at)
        if lock is None:
            yield None
            return
        self._lockouts.put(lock)
        try:
            yield lambda: self._lockouts.locking(lock)
        except BaseException:
            self._lockouts.take_back(lock)
            raise

    def observed(self, call: Call, occurrences: Sequence[Occurrence], *, at: datetime) -> Sequence[Occurrence]:
        """Return what monitor mode says where enforce would lock out."""
        lock = self.struck(call, occurrences, at=at)
        if lock is None:
            return ()
        message = f"The {lock.who} would be locked out in enforce mode ({lock.reason}); monitor mode locks nobody out."
        finding = locked_out(lock, subject=subject_of(call))
        told = Finding(
            kind=finding.kind,
            action=finding.action,
            severity=finding.severity,
            title=f"Would be locked out: {lock.who}",
            message=message,
            episode=(*finding.episode, "observed"),
            subject=finding.subject,
            evidence=finding.evidence,
            ends_at=at + _TOLD_FOR,
        )
        return (Occurrence(finding=told, taken=Taken.OBSERVED, at=at, call_id=call.id),)

    def _after_last_day(self, call: Call, user: str, day: date) -> Finding:
        return Finding(
            kind=AlertKind.POLICY_VIOLATION,
            action=Action(self._last_day.action),
            severity=Severity.HIGH,
            title="Call after the last day",
            message=f"The last day of {shown(user)} was {day.isoformat()}.",
            episode=(LAST_DAY_RULE, user, call.model or NOBODY),
            subject=subject_of(call, rule_id=LAST_DAY_RULE),
            evidence={"last_day": day.isoformat(), "timezone": self._last_day.timezone, "model": shown(call.model)},
            remedy="If they still work here, change users.last_day in the config.",
        )


def _is_violation(occurrence: Occurrence) -> bool:
    finding = occurrence.finding
    return (
        finding.severity is Severity.CRITICAL and finding.action is Action.BLOCK and finding.kind not in _NOT_COUNTED and not finding.silent
    )


def _revoked(call: Call, serial: str) -> Finding:
    return Finding(
        kind=AlertKind.CLIENT_CERT_REVOKED,
        action=Action.BLOCK,
        severity=KINDS[AlertKind.CLIENT_CERT_REVOKED].severity_of(blocked=True),
        title=f"Revoked client certificate in use: {serial}",
        message=f"The client certificate {serial} is revoked.",
        episode=(serial,),
        subject=subject_of(call),
        evidence={"serial": serial},
        remedy="Use another one: tollwatch ca client issue NAME",
    )


def _ends(users: Sequence[UserSettings], timezone: str) -> Mapping[str, _Left]:
    """Return when the last day of each user is over, for those who have one."""
    zone = ZoneInfo(timezone)
    return {
        user.name: _Left(user.last_day, datetime.combine(user.last_day + timedelta(days=1), time.min, tzinfo=zone).astimezone(UTC))
        for user in users
        if user.last_day is not None
    }


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
