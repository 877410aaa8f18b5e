"""What a store of alerts is expected to hold: a simple model of findings, people and time, to hold every view against."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from alerting.kinds import local_type, org_type

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
QUIET = timedelta(hours=24)
PERIOD = timedelta(hours=10)

type Event = tuple[str, str | None, str | None]
"""What happened, through which feed, with which words."""


@dataclass(frozen=True)
class Sort:
    """One sort of finding that the machine makes."""

    kind: AlertKind
    about: str
    """The field of the subject that the name stands in."""
    severity: Severity = Severity.MEDIUM
    taken: Taken = Taken.ALERTED
    ends: str = "quiet"

    @property
    def local(self) -> str | None:
        return local_type(self.kind, severity=self.severity, taken=self.taken)

    @property
    def org(self) -> str | None:
        return org_type(self.kind, severity=self.severity, opted_in=False)


SORTS = {
    "size": Sort(AlertKind.PROMPT_SIZE, "user"),
    "drift": Sort(AlertKind.PROMPT_DRIFT, "user", severity=Severity.CRITICAL),
    "denied": Sort(AlertKind.POLICY_VIOLATION, "user", severity=Severity.HIGH, taken=Taken.BLOCKED),
    "allowed": Sort(AlertKind.POLICY_VIOLATION, "agent", severity=Severity.LOW),
    "warning": Sort(AlertKind.BUDGET_WARNING, "budget_id", ends="period"),
    "exceeded": Sort(AlertKind.BUDGET_EXCEEDED, "budget_id", severity=Severity.HIGH, ends="period"),
    "locked": Sort(AlertKind.USER_LOCKED_OUT, "user", severity=Severity.CRITICAL, ends="condition"),
    "degraded": Sort(AlertKind.GATEWAY_DEGRADED, "instance", severity=Severity.HIGH, ends="condition"),
    "conflict": Sort(AlertKind.RULE_CONFLICT, "rule_id", severity=Severity.HIGH, ends="condition"),
}


USAGE = Sort(AlertKind.USAGE_COST, "usage_alert_id", severity=Severity.HIGH, ends="period")
"""Fires by its own worker, once in an hour."""


@dataclass
class Expected:
    """What the model knows of one alert."""

    seq: int
    sort: Sort
    name: str
    key: str
    last_seen: datetime
    ends_at: datetime | None
    count: int = 0
    acknowledged: bool = False
    viewed: bool = False
    dismissed: bool = False
    resolution: str | None = None
    history: list[Event] = field(default_factory=list)
    streamed: int = 0
    """How many of them the stream has told."""

    @property
    def status(self) -> str:
        return "resolved" if self.resolution else "acknowledged" if self.acknowledged else "open"


@dataclass
class Done:
    """What was done with one entry by itself."""

    viewed: bool = False
    acknowledged: bool = False
    acted: bool = False
    caused: bool = False
    dismissed: bool = False


class Model:
    """All alerts that were raised, and what became of them."""

    def __init__(self) -> None:
        super().__init__()
        self.time = START
        self.alerts: list[Expected] = []
        self.open: dict[str, Expected] = {}
        self.mutes: dict[str, tuple[Expected, datetime]] = {}
        self.silences: dict[str, tuple[str, datetime]] = {}
        self.raised: set[int] = set()
        self.streamed = "0"
        self.off = False
        self.fired: set[datetime] = set()
        """The hours in which the usage alert has fired."""
        self.entries: dict[str, Done] = {}
        self.detections: dict[str, int] = {}
        self.held: set[str] = set()

    def occurrence(self, sort: Sort, name: str) -> Occurrence:
        starts_at = START + (self.time - START) // PERIOD * PERIOD
        is_period = sort.ends == "period"
        finding = Finding(
            kind=sort.kind,
            action=Action.ALERT,
            severity=sort.severity,
            title="t",
            message="m",
            episode=(name, sort.severity, starts_at.isoformat()) if is_period else (name, sort.severity),
            subject=Subject(service="openai", **{sort.about: name}),
            ends_at=starts_at + PERIOD if is_period else None,
        )
        return Occurrence(finding=finding, taken=sort.taken, at=self.time)

    def is_over(self, alert: Expected, since: datetime) -> bool:
        if alert.ends_at:
            return alert.ends_at <= self.time
        return alert.sort.ends == "quiet" and since + QUIET <= self.time

    def end(self, alert: Expected, resolution: str, *, feed: str | None, note: str | None = None) -> bool:
        if alert.resolution:
            return False
        alert.resolution = resolution
        alert.history.append((resolution, feed, note))
        del self.open[alert.key]
        return True

    def acknowledged(self, alert: Expected, feed: str, *, note: str | None = None) -> None:
        if not alert.acknowledged and not alert.resolution:
            alert.acknowledged = True
            alert.history.append(("acknowledged", feed, note))

    def dismissed(self, alert: Expected, feed: str) -> None:
        if self.end(alert, "dismissed", feed=feed):
            alert.dismissed = True
            self.mutes[alert.key] = (alert, self.time)

    def silencing(self, alert: Expected) -> set[str]:
        about = f"{alert.sort.about}={alert.name}"
        return {key for key, (matcher, ends_at) in self.silences.items() if matcher == about and self.time < ends_at}

    def inhibiting(self, alert: Expected) -> set[int]:
        def holds(other: Expected) -> bool:
            if other.name != alert.name:
                return False
            if other.sort is SORTS["exceeded"]:
                return alert.sort is SORTS["warning"] and other.ends_at is not None and other.ends_at > self.time
            return other.sort is SORTS["locked"] and alert.sort.about == "user" and alert.sort is not other.sort

        return {other.seq for other in self.open.values() if holds(other)}

    def held_back(self, alert: Expected) -> bool:
        return bool(self.silencing(alert) or self.inhibiting(alert))

    def newest(self, shown: Callable[[Expected], bool] = lambda _alert: True) -> Iterator[Expected]:
        return (alert for alert in reversed(self.alerts) if shown(alert))
