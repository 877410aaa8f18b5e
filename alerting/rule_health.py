"""How well a rule is kept, from 0 to 100, and what of it is worth an alert."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.conflicts import Analysis
from alerting.finding import Action, AlertKind, Finding, Subject
from alerting.kinds import KINDS
from alerting.rule import given
from alerting.rule_counts import RuleCount, RuleOutcome
from alerting.rule_settings import Match, Not, RuleSettings, listed
from alerting.settings import RuleHealthSettings

WEIGHTS = {"completeness": 20, "clarity": 25, "coverage": 15, "freshness": 15, "activity": 15, "ownership": 10}
"""In percent of the score."""
DECLINE = 15
"""Points lost since the last measurement that are a decline."""
POOR = 40
"""A score that falls below this is a decline, however little it lost."""
RECOVERED = 5
"""Points below the score from before at which a decline is over."""
_CLEARS = 0.05
"""A deny rate must fall so far below the limit before its alert ends."""
_FRESH, _STALE = timedelta(days=90), timedelta(days=365)
_ACTIVE = ((timedelta(days=7), 100), (timedelta(days=30), 75), (timedelta(days=90), 40))
_SHORT_TITLE = 10
_MANY_FIELDS = 5
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the store keeps of a rule: since when it is in force, when it last changed, how it last measured."""

    enabled_at: datetime
    changed_at: datetime
    measured_at: datetime | None = None
    score: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a rule did: `evaluated_at` is its last evaluation, the numbers are those of the deny window."""

    evaluated_at: datetime | None = None
    evaluations: int = 0
    denied: int = 0
    matched: bool = False
    """It held for a call at least once as far back as counts were looked at, which is the longer of the two spans."""
    unmatched: bool = False

    @property
    def deny_rate(self) -> float | None:
        """The share of evaluations that were denied; None where there were none."""
        return self.denied / self.evaluations if self.evaluations else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How one rule stands."""

    rule: RuleSettings
    record: Record
    activity: Activity
    parts: Mapping[str, int]
    notes: tuple[str, ...]
    """What keeps the score from 100, a sentence each."""

    @property
    def score(self) -> int:
        """The weighted sum of the parts, rounded down."""
        return sum(WEIGHTS[name] * value for name, value in self.parts.items()) // 100

    def as_json(self, *, dormant: bool) -> dict[str, object]:
        """Return it as a JSON object, moments in RFC 3339."""
        activity, record = self.activity, self.record
        return {
            "rule_id": self.rule.id,
            "score": self.score,
            "parts": dict(self.parts),
            "notes": list(self.notes),
            "dormant": dormant,
            "evaluation_count": activity.evaluations,
            "denied_count": activity.denied,
            "deny_rate": activity.deny_rate,
            "last_evaluated_at": activity.evaluated_at and activity.evaluated_at.isoformat(),
            "enabled_at": record.enabled_at.isoformat(),
            "changed_at": record.changed_at.isoformat(),
            "measured_at": record.measured_at and record.measured_at.isoformat(),
            "measured_score": record.score,
        }


def look_back(settings: RuleHealthSettings) -> timedelta:
    """Return how far back counts are needed."""
    return max(settings.dormant_after, settings.deny_window) + _DAY


def activities(counts: Iterable[RuleCount], *, settings: RuleHealthSettings, now: datetime) -> dict[str, Activity]:
    """Return what each rule did. The deny window is whole days (UTC), today included."""
    since = (now - settings.deny_window).date()
    found: dict[str, Activity] = {}
    for count in counts:
        if not count.is_evaluation:
            continue
        before = found.get(count.rule_id, Activity())
        in_window = count.number if count.day > since else 0
        found[count.rule_id] = Activity(
            evaluated_at=max(count.last_at, before.evaluated_at or count.last_at),
            evaluations=before.evaluations + in_window,
            denied=before.denied + (in_window if count.outcome is RuleOutcome.BLOCK else 0),
            matched=before.matched or count.outcome is not RuleOutcome.UNMATCHED,
            unmatched=before.unmatched or count.outcome is RuleOutcome.UNMATCHED,
        )
    return found


def measure(rule: RuleSettings, record: Record, activity: Activity, *, analysis: Analysis, now: datetime) -> Health:
    """Return how a rule stands.

    completeness: a description (50), anything in its match (30), a title that is not its id (20).
    clarity: 100, less 100 where no call can match it, 60 where it never decides, 40 where another of its priority says the opposite,
    20 for a title of fewer than ten letters, 20 for more than five fields in its match, 20 for more than one `not`, 10 for a field
    that is met by everything (`*`).
    coverage: it was seen to match a call (50), and not to match one that it was tested on (50).
    freshness: 100 until 90 days after its last change, from there down evenly to 0 after a year.
    activity: evaluated (or enabled) within 7 days 100, 30 days 75, 90 days 40, else 0.
    ownership: it names an owner (100).
    """
    notes: list[str] = []
    parts = {
        "completeness": _completeness(rule, notes),
        "clarity": _clarity(rule, analysis, notes),
        "coverage": _coverage(activity, notes),
        "freshness": _freshness(now - record.changed_at, notes),
        "activity": _activity(now - max(record.enabled_at, activity.evaluated_at or record.enabled_at), notes),
        "ownership": _first([(rule.owner is None, 0, "It names no owner.")], notes, otherwise=100),
    }
    return Health(rule=rule, record=record, activity=activity, parts=parts, notes=tuple(notes))


def _completeness(rule: RuleSettings, notes: list[str]) -> int:
    lacks = [
        (not rule.description, 50, "It has no description: why it is there."),
        (not given(rule.match), 30, "Its match is empty, so it is about every call."),
        (rule.title.strip().lower() == rule.id.lower(), 20, "Its title is its id."),
    ]
    return _less(lacks, notes)


def _clarity(rule: RuleSettings, analysis: Analysis, notes: list[str]) -> int:
    nots = sum(isinstance(getattr(rule.match, name), Not) for name in Match.model_fields)
    opposite = [one for one in analysis.overlaps if one.is_conflict and rule.id in {one.first.id, one.second.id}]
    shadow = next((one for one in analysis.shadows if one.rule.id == rule.id), None)
    lacks = [
        (rule.id in {one.id for one in analysis.impossible}, 100, "No call can match it."),
        (shadow is not None, 60, f"It never decides: {', '.join(one.id for one in shadow.by) if shadow else ''} decides before it."),
        (bool(opposite), 40, "Another rule of its priority says the opposite on a same call."),
        (len(rule.title) < _SHORT_TITLE, 20, "Its title is too short to say what it is about."),
        (len(given(rule.match)) > _MANY_FIELDS, 20, f"Its match has more than {_MANY_FIELDS} fields."),
        (nots > 1, 20, "Its match has more than one `not`."),
        (any("*" in listed(getattr(rule.match, name)) for name in _globbed(rule.match)), 10, "A field of its match is met by everything."),
    ]
    return _less(lacks, notes)


def _globbed(match: Match) -> Iterable[str]:
    return (name for name in given(match) if not isinstance(getattr(match, name), int))


def _coverage(activity: Activity, notes: list[str]) -> int:
    lacks = [
        (not activity.matched, 50, "It was not seen to match a call."),
        (not activity.unmatched, 50, "It was not seen to leave a call alone that it was tested on."),
    ]
    return _less(lacks, notes)


def _freshness(age: timedelta, notes: list[str]) -> int:
    if age <= _FRESH:
        return 100
    notes.append(f"It was last changed {age.days} days ago.")
    return max(0, int(100 * (_STALE - age) / (_STALE - _FRESH)))


def _activity(idle: timedelta, notes: list[str]) -> int:
    value = next((value for span, value in _ACTIVE if idle <= span), 0)
    return _first([(value < 100, value, f"It was last evaluated {idle.days} days ago.")], notes, otherwise=100)


def _less(lacks: Sequence[tuple[bool, int, str]], notes: list[str]) -> int:
    notes.extend(note for holds, _points, note in lacks if holds)
    return max(0, 100 - sum(points for holds, points, _note in lacks if holds))


def _first(cases: Sequence[tuple[bool, int, str]], notes: list[str], *, otherwise: int) -> int:
    for holds, value, note in cases:
        if holds:
            notes.append(note)
            return value
    return otherwise


# --- what is worth an alert ----------------------------------------------------------------------------------------------


def is_dormant(health: Health, settings: RuleHealthSettings, now: datetime) -> bool:
    """Whether a rule was not evaluated for long; one that was enabled a while ago only is not dormant yet."""
    return now - max(health.record.enabled_at, health.activity.evaluated_at or health.record.enabled_at) > settings.dormant_after


def denies_much(health: Health, settings: RuleHealthSettings, *, held: bool) -> bool:
    """Whether a rule denies more than it should. While its alert is open (`held`), it must fall below that by 0.05."""
    activity = health.activity
    if activity.deny_rate is None or activity.evaluations < settings.min_evaluations:
        return False
    return activity.deny_rate >= settings.deny_rate - _CLEARS if held else activity.deny_rate > settings.deny_rate


def declined(score: int, before: int | None) -> bool:
    """Whether a score is a decline from the one before."""
    return before is not None and (before - score >= DECLINE or score < POOR <= before)


def dormant(health: Health, settings: RuleHealthSettings, now: datetime) -> Finding:
    """Return the finding on a rule that is not evaluated."""
    last = health.activity.evaluated_at
    since = f"since {last:%Y-%m-%d}" if last else f"since it was enabled on {health.record.enabled_at:%Y-%m-%d}"
    return _finding(
        AlertKind.RULE_DORMANT,
        health.rule,
        title=f"Rule {health.rule.id} is dormant",
        message=f"Rule {health.rule.id} has not been evaluated {since}",
        evidence={
            "last_evaluated_at": last.isoformat() if last else None,
            "days": (now - (last or health.record.enabled_at)).days,
            "dormant_after_days": settings.dormant_after.days,
        },
        remedy="Take it out, or see whether what it is about still passes through the gateway.",
    )


def high_deny_rate(health: Health, settings: RuleHealthSettings) -> Finding:
    """Return the finding on a rule that denies much."""
    rate = health.activity.deny_rate or 0.0
    return _finding(
        AlertKind.RULE_HIGH_DENY_RATE,
        health.rule,
        title=f"Rule {health.rule.id} denies much",
        message=f"Rule {health.rule.id} has a {rate:.0%} DENY rate over the last {settings.deny_window.days} days",
        evidence={"deny_rate": round(rate, 4), "evaluation_count": health.activity.evaluations, "period_days": settings.deny_window.days},
        remedy="Narrow the rule, or tell its users what it is for.",
    )


def decline(health: Health, before: int) -> Finding:
    """Return the finding on a score that fell."""
    return _finding(
        AlertKind.RULE_HEALTH_DECLINE,
        health.rule,
        title=f"Health of rule {health.rule.id} declined",
        message=f"The health score of rule {health.rule.id} fell from {before} to {health.score}",
        evidence={"previous_score": before, "score": health.score, **health.parts},
        remedy=" ".join(health.notes),
    )


def _finding(
    kind: AlertKind, rule: RuleSettings, *, title: str, message: str, evidence: Mapping[str, str | int | float | None], remedy: str
) -> Finding:
    return Finding(
        kind=kind,
        action=Action.ALERT,
        severity=KINDS[kind].severity_of(blocked=False),
        title=title,
        message=message,
        episode=(rule.id,),
        subject=Subject(rule_id=rule.id),
        evidence={"rule_id": rule.id, **evidence},
        remedy=remedy,
    )
