"""What a usage alert makes of a bucket of its calendar: a number, and whether that is beyond its threshold. Pure, and exact."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import fmean, median

from alerting.usage_alert import UsageAlert, bucket_at
from alerting.usage_settings import UsageType, threshold_of
from metering.budgets import Budget
from metering.periods import Period
from metering.units import NANO, dollars
from metering.usage_hours import HOUR, HourSums

LEAST_CALLS = 20
"""With fewer calls in a bucket, a share of errors says nothing."""
LEAST_TIMED = 5
"""With fewer answers in a bucket, a mean of latencies says nothing."""
BASELINE_BUCKETS = 7
LEAST_WITH_TRAFFIC = 3
"""Of the buckets of a baseline so many need calls."""
WEEKS = 8
"""An hour is held against the same hour of so many weeks before it."""
LEAST_WEEKS = 4
UNUSUAL_SCORE = 3.5
"""From this robust z-score on an hour is unusual (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993)."""

_INSTANT = timedelta(microseconds=1)
_WEEK = timedelta(weeks=1)
_NONE = HourSums()
_FLAT = 0.1
"""Where all weeks were the same, a tenth of them counts as their spread, or the least of the measure if that is more."""

type Evidence = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """What of a budget is spent in one of its periods, in its unit."""

    budget: Budget
    period: Period
    spent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What usage alerts look at: calls by the hour (UTC), endpoints by the hour, and the budgets."""

    hours: Mapping[datetime, HourSums] = field(default_factory=dict[datetime, HourSums])
    endpoints: Mapping[datetime, int] = field(default_factory=dict[datetime, int])
    first_hour: datetime | None = None
    """The hour of the first call ever; nothing is known of what was before."""
    budgets: Sequence[Budget] = ()
    budget_uses: Sequence[BudgetUse] = ()

    def of(self, period: Period) -> HourSums:
        """Return the sums of a bucket."""
        total, hour = _NONE, period.starts_at
        while hour < period.ends_at:
            if (sums := self.hours.get(hour)) is not None:
                total += sums
            hour += HOUR
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured, in the unit of the alert's threshold; `told` says it in a sentence."""

    value: float
    beyond: bool
    told: str
    evidence: Evidence
    budget_id: str | None = None


def measure(alert: UsageAlert, bucket: Period, usage: Usage, *, now: datetime) -> Measurement | None:
    """Return what a bucket came to until now; None where too little is known to say."""
    return _MEASURES[alert.type](alert, bucket, usage, now)


def steps(alert: UsageAlert, *, since: datetime, now: datetime) -> Iterator[Period]:
    """Yield the spans to be measured one by one, from the one that holds `since` to the one that holds `now`.

    They are the buckets of the alert's calendar; for unusual activity, the hours in them.
    """
    at = since
    while at <= now:
        step = bucket_at("hour", at) if alert.type is UsageType.UNUSUAL_ACTIVITY else alert.bucket(at)
        if step.ends_at > alert.armed_at:
            yield step
        at = step.ends_at


def needed_since(alert: UsageAlert, since: datetime) -> datetime:
    """Return from when on the hours are needed to measure what `since` falls in."""
    start = alert.bucket(since).starts_at
    if alert.type is UsageType.USAGE_SPIKE:
        for _ in range(BASELINE_BUCKETS):
            start = alert.bucket(start - _INSTANT).starts_at
        return start
    return start - WEEKS * _WEEK if alert.type is UsageType.UNUSUAL_ACTIVITY else start


def _cost(alert: UsageAlert, bucket: Period, usage: Usage, _now: datetime) -> Measurement:
    sums, limit = usage.of(bucket), _threshold(alert)
    told = f"{dollars(sums.cost_nano)} spent, more than ${threshold_of(float(limit))}"
    if sums.unknown_calls:
        calls = "1 call" if sums.unknown_calls == 1 else f"{sums.unknown_calls} calls"
        told += f"; not in it: {calls} of unknown cost (at most {dollars(sums.unknown_hold_nano)})"
    return Measurement(
        value=sums.cost_nano / NANO,
        beyond=sums.cost_nano > limit * NANO,
        told=told,
        evidence={
            "calls": sums.calls,
            "unknown_calls": sums.unknown_calls,
            "unknown_at_most_usd": sums.unknown_hold_nano / NANO,
        },
    )


def _error_rate(alert: UsageAlert, bucket: Period, usage: Usage, _now: datetime) -> Measurement | None:
    sums = usage.of(bucket)
    if sums.calls < LEAST_CALLS:
        return None
    rate = Fraction(100 * sums.error_calls, sums.calls)
    limit = _threshold(alert)
    return Measurement(
        value=float(rate),
        beyond=rate > limit,
        told=f"{sums.error_calls} of {sums.calls} calls failed ({_shown(rate)} %), more than {_shown(limit)} %",
        evidence={"calls": sums.calls, "error_calls": sums.error_calls},
    )


def _latency(alert: UsageAlert, bucket: Period, usage: Usage, _now: datetime) -> Measurement | None:
    sums = usage.of(bucket)
    if sums.timed_calls < LEAST_TIMED:
        return None
    mean = Fraction(sums.timed_micros, 1000 * sums.timed_calls)
    limit = _threshold(alert)
    return Measurement(
        value=float(mean),
        beyond=mean > limit,
        told=f"{sums.timed_calls} answers took {_shown(mean)} ms on average, more than {_shown(limit)} ms",
        evidence={"timed_calls": sums.timed_calls},
    )


def _spike(alert: UsageAlert, bucket: Period, usage: Usage, _now: datetime) -> Measurement | None:
    if usage.first_hour is None:
        return None
    before: list[int] = []
    start = bucket.starts_at
    for _ in range(BASELINE_BUCKETS):
        earlier = alert.bucket(start - _INSTANT)
        if earlier.ends_at <= usage.first_hour:
            break  # nothing is known of it: it is no bucket without calls
        before.append(usage.of(earlier).calls)
        start = earlier.starts_at
    if sum(1 for calls in before if calls) < LEAST_WITH_TRAFFIC:
        return None
    calls, mean = usage.of(bucket).calls, Fraction(sum(before), len(before))
    rise, limit = 100 * (calls - mean) / mean, _threshold(alert)
    return Measurement(
        value=float(rise),
        beyond=rise > limit,
        told=f"{calls} calls, {_shown(rise)} % above the mean of {_shown(mean)} of the {len(before)} {alert.settings.period}s before; "
        f"more than {_shown(limit)} %",
        evidence={"calls": calls, "baseline": float(mean), "baseline_buckets": len(before)},
    )


def _quota(alert: UsageAlert, bucket: Period, usage: Usage, now: datetime) -> Measurement | None:
    """Measure a budget in those of its periods that belong to the bucket: they end in it, or are the current one in the current one."""
    budget_id = alert.settings.budget or _whole(alert, usage)
    belonging = [
        use
        for use in usage.budget_uses
        if use.budget.id == budget_id
        if use.period.starts_at < bucket.ends_at and use.period.ends_at > max(bucket.starts_at, alert.armed_at)
        if use.period.ends_at <= bucket.ends_at or (now in use.period and now in bucket)
    ]
    if not belonging:
        return None
    most = max(belonging, key=lambda use: use.spent)
    budget, limit = most.budget, _threshold(alert)
    share = Fraction(100 * most.spent, budget.limit.amount)
    spent = dollars(most.spent) if budget.limit.unit == "usd" else f"{most.spent:,} tokens"
    return Measurement(
        value=float(share),
        beyond=share >= limit,
        told=f"{spent} of {budget.limit} of the budget {budget.id} are spent ({_shown(share)} %), at least {_shown(limit)} %",
        evidence={"budget": budget.id, "budget_period_start": most.period.starts_at.isoformat(), "unit": budget.limit.unit},
        budget_id=budget.id,
    )


def _whole(alert: UsageAlert, usage: Usage) -> str | None:
    """Return the organisation's budget: one that counts every call, of the alert's period if there is one, else the first."""
    whole = [budget for budget in usage.budgets if not budget.settings.scope.model_dump(exclude_none=True)]
    of_period = [budget for budget in whole if budget.settings.period == alert.settings.period]
    return next((budget.id for budget in (*of_period, *whole)), None)


def _unusual(_alert: UsageAlert, hour: Period, usage: Usage, _now: datetime) -> Measurement | None:
    if usage.first_hour is None:
        return None
    weeks = [hour.starts_at - count * _WEEK for count in range(1, WEEKS + 1)]
    known = [week for week in weeks if week >= usage.first_hour]
    if len(known) < LEAST_WEEKS:
        return None
    scores = [
        (score(read(usage, hour.starts_at), before, least=least), name, read(usage, hour.starts_at), median(before))
        for name, read, least in _ACTIVITIES
        for before in [[read(usage, week) for week in known]]
    ]
    most, name, value, usual = max(scores)
    at = f"{hour.starts_at:%A %H:00}"
    shown = "$" if name == "cost" else ""
    return Measurement(
        value=most,
        beyond=most >= UNUSUAL_SCORE,
        told=f"{name} of the hour from {hour.starts_at:%Y-%m-%d %H:00} is {shown}{threshold_of(value)}; on a {at} it is usually "
        f"{shown}{threshold_of(usual)} ({len(known)} weeks; robust z-score {most:.1f}, at least {UNUSUAL_SCORE})",
        evidence={"measure": name, "hour": hour.starts_at.isoformat(), "measured": value, "usual": usual, "weeks": len(known)},
    )


def score(value: float, before: Sequence[float], *, least: float) -> float:
    """Return the robust z-score of a value above what was before: (value - median) / (1.4826 x median absolute deviation).

    Where more than half of what was before is the same, the mean absolute deviation stands in (x 1.2533); where all is, a tenth of it,
    and `least` at least.
    """
    middle = median(before)
    deviations = [abs(each - middle) for each in before]
    spread = 1.4826 * median(deviations) or 1.2533 * fmean(deviations) or max(_FLAT * abs(middle), least)
    return round((value - middle) / spread, 6)


def _cost_of(usage: Usage, hour: datetime) -> float:
    return usage.hours.get(hour, _NONE).cost_nano / NANO


def _calls_of(usage: Usage, hour: datetime) -> float:
    return usage.hours.get(hour, _NONE).calls


def _endpoints_of(usage: Usage, hour: datetime) -> float:
    return usage.endpoints.get(hour, 0)


_ACTIVITIES: tuple[tuple[str, Callable[[Usage, datetime], float], float], ...] = (
    ("cost", _cost_of, 0.01),
    ("calls", _calls_of, 1.0),
    ("endpoints", _endpoints_of, 1.0),
)
"""What an hour is looked at by, and the spread that each has at least."""


def _threshold(alert: UsageAlert) -> Fraction:
    return Fraction(Decimal(str(alert.settings.threshold or 0)))


def _shown(value: Fraction) -> str:
    return threshold_of(round(float(value), 2))


_MEASURES: Mapping[UsageType, Callable[[UsageAlert, Period, Usage, datetime], Measurement | None]] = {
    UsageType.COST_THRESHOLD: _cost,
    UsageType.ERROR_RATE: _error_rate,
    UsageType.USAGE_SPIKE: _spike,
    UsageType.QUOTA_LIMIT: _quota,
    UsageType.MODEL_LATENCY: _latency,
    UsageType.UNUSUAL_ACTIVITY: _unusual,
}
