"""The registry of alert kinds: their severity, how they end, and what each feed calls them (API.md, kinds)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, get_args

from alerting.finding import AlertKind, Severity, Taken


class Ends(StrEnum):
    """How an episode of a kind ends when no person ends it."""

    QUIET = "quiet"
    """After `alerting.expire_after` without a recurrence."""
    PERIOD = "period"
    """At the moment its finding names: the end of the budget's period."""
    CONDITION = "condition"
    """When its condition clears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row of the registry. A name is None where the kind is not in that feed."""

    kind: AlertKind
    severity: Severity | None
    """None: the rule's own."""
    ends: Ends
    org_type: str | None
    entries_label: str | None
    local_type: str | None = None
    account_type: str | None = None
    rules_type: str | None = None
    blocked_severity: Severity | None = None
    """Where a blocked call weighs more."""
    org_opt_in: bool = False
    """Its `org_type` counts only where `alerting.org_budget_warnings` is on."""
    high_org_type: str | None = None
    """What it is called instead where its severity is high or more."""
    high_local_type: str | None = None

    def severity_of(self, *, blocked: bool) -> Severity:
        """Return the severity of a finding of this kind; medium where the rule has its own to say."""
        if blocked and self.blocked_severity:
            return self.blocked_severity
        return self.severity or Severity.MEDIUM


_ROWS = (
    Kind(
        kind=AlertKind.PROMPT_DRIFT,
        severity=Severity.CRITICAL,
        ends=Ends.QUIET,
        org_type="anomaly_detected",
        local_type="prompt_drift",
        entries_label="prompt_drift",
    ),
    Kind(
        kind=AlertKind.PROMPT_SIZE,
        severity=Severity.MEDIUM,
        blocked_severity=Severity.HIGH,
        ends=Ends.QUIET,
        org_type="policy_violation",
        local_type="prompt_size",
        entries_label="prompt_size",
    ),
    Kind(
        kind=AlertKind.BUDGET_WARNING,
        severity=Severity.MEDIUM,
        ends=Ends.PERIOD,
        org_type="budget_exceeded",
        org_opt_in=True,
        local_type="budget_warning",
        entries_label="budget_warning",
    ),
    Kind(
        kind=AlertKind.BUDGET_EXCEEDED,
        severity=Severity.HIGH,
        ends=Ends.PERIOD,
        org_type="budget_exceeded",
        local_type="budget_exceeded",
        entries_label="budget_exceeded",
    ),
    Kind(
        kind=AlertKind.USAGE_COST,
        severity=Severity.HIGH,
        ends=Ends.PERIOD,
        org_type="budget_exceeded",
        local_type="budget_exceeded",
        account_type="cost_threshold",
        entries_label="usage_cost",
    ),
    Kind(
        kind=AlertKind.USAGE_ERROR_RATE,
        severity=Severity.MEDIUM,
        ends=Ends.PERIOD,
        org_type=None,
        account_type="error_rate",
        entries_label="usage_error_rate",
    ),
    Kind(
        kind=AlertKind.USAGE_SPIKE,
        severity=Severity.HIGH,
        ends=Ends.PERIOD,
        org_type="anomaly_detected",
        local_type="anomalous_volume",
        account_type="usage_spike",
        entries_label="usage_spike",
    ),
    Kind(
        kind=AlertKind.USAGE_QUOTA,
        severity=Severity.MEDIUM,
        ends=Ends.PERIOD,
        org_type=None,
        local_type="budget_warning",
        account_type="quota_limit",
        entries_label="usage_quota",
        high_org_type="budget_exceeded",
        high_local_type="budget_exceeded",
    ),
    Kind(
        kind=AlertKind.USAGE_LATENCY,
        severity=Severity.MEDIUM,
        ends=Ends.PERIOD,
        org_type=None,
        account_type="model_latency",
        entries_label="usage_latency",
    ),
    Kind(
        kind=AlertKind.USAGE_UNUSUAL,
        severity=Severity.HIGH,
        ends=Ends.PERIOD,
        org_type="anomaly_detected",
        local_type="anomalous_volume",
        account_type="unusual_activity",
        entries_label="usage_unusual",
    ),
    Kind(
        kind=AlertKind.RATE_LIMIT_HIT,
        severity=Severity.MEDIUM,
        ends=Ends.QUIET,
        org_type="policy_violation",
        local_type="rate_limit_hit",
        entries_label="rate_limit_hit",
    ),
    Kind(
        kind=AlertKind.POLICY_VIOLATION,
        severity=None,
        ends=Ends.QUIET,
        org_type="policy_violation",
        local_type="high_severity_denied_action",
        entries_label="policy_violation",
    ),
    Kind(
        kind=AlertKind.USER_LOCKED_OUT,
        severity=Severity.CRITICAL,
        ends=Ends.CONDITION,
        org_type="security_event",
        entries_label="user_locked_out",
    ),
    Kind(
        kind=AlertKind.CLIENT_CERT_REVOKED,
        severity=Severity.CRITICAL,
        ends=Ends.QUIET,
        org_type="security_event",
        entries_label="client_cert_revoked",
    ),
    Kind(
        kind=AlertKind.ONCHAIN_DENIED,
        severity=Severity.HIGH,
        ends=Ends.QUIET,
        org_type="policy_violation",
        local_type="onchain_denied",
        entries_label="onchain_denied",
    ),
    Kind(
        kind=AlertKind.UNPRICED_MODEL,
        severity=Severity.MEDIUM,
        ends=Ends.QUIET,
        org_type="anomaly_detected",
        entries_label="unpriced_model",
    ),
    Kind(
        kind=AlertKind.METER_GAP,
        severity=Severity.MEDIUM,
        ends=Ends.QUIET,
        org_type="anomaly_detected",
        entries_label="meter_gap",
    ),
    Kind(
        kind=AlertKind.LOGIN_ABUSE,
        severity=Severity.HIGH,
        ends=Ends.QUIET,
        org_type="security_event",
        entries_label="login_abuse",
    ),
    Kind(
        kind=AlertKind.GATEWAY_DEGRADED,
        severity=Severity.HIGH,
        ends=Ends.CONDITION,
        org_type="security_event",
        entries_label="gateway_degraded",
    ),
    Kind(
        kind=AlertKind.RULE_CONFLICT,
        severity=Severity.HIGH,
        ends=Ends.CONDITION,
        org_type=None,
        entries_label=None,
        rules_type="conflict_detected",
    ),
    Kind(
        kind=AlertKind.RULE_DORMANT,
        severity=Severity.LOW,
        ends=Ends.CONDITION,
        org_type=None,
        entries_label=None,
        rules_type="dormant_rule",
    ),
    Kind(
        kind=AlertKind.RULE_HIGH_DENY_RATE,
        severity=Severity.MEDIUM,
        ends=Ends.CONDITION,
        org_type=None,
        entries_label=None,
        rules_type="high_deny_rate",
    ),
    Kind(
        kind=AlertKind.RULE_HEALTH_DECLINE,
        severity=Severity.MEDIUM,
        ends=Ends.CONDITION,
        org_type=None,
        entries_label=None,
        rules_type="health_decline",
    ),
)

KINDS: Mapping[AlertKind, Kind] = MappingProxyType({row.kind: row for row in _ROWS})

type LocalType = Literal[
    "prompt_drift",
    "prompt_size",
    "budget_warning",
    "budget_exceeded",
    "onchain_denied",
    "rate_limit_hit",
    "anomalous_volume",
    "new_endpoint",
    "time_anomaly",
    "high_severity_denied_action",
]
"""A type of the local feed."""

LOCAL_TYPES: tuple[LocalType, ...] = get_args(LocalType.__value__)
"""The ten types of the local feed; each has a toggle, whether or not a kind of this version raises it."""

type RulesType = Literal["dormant_rule", "high_deny_rate", "health_decline", "conflict_detected"]
"""A type of the rules feed."""

RULES_TYPES: Mapping[str, AlertKind] = MappingProxyType({row.rules_type: row.kind for row in _ROWS if row.rules_type is not None})
"""The kind of each type of the rules feed."""

DENIED_SEVERITIES = (Severity.HIGH, Severity.CRITICAL)
_LOWER_SEVERITIES = (Severity.LOW, Severity.MEDIUM)
_LOCALLY_CRITICAL = frozenset({AlertKind.PROMPT_DRIFT, AlertKind.BUDGET_EXCEEDED, AlertKind.ONCHAIN_DENIED})


def local_type(kind: AlertKind, *, severity: Severity, taken: Taken) -> str | None:
    """Return what the local feed calls an alert; None: it is not in that feed."""
    if kind is AlertKind.POLICY_VIOLATION and not (taken is Taken.BLOCKED and severity in DENIED_SEVERITIES):
        return None
    row = KINDS[kind]
    return row.high_local_type if row.high_local_type and severity in DENIED_SEVERITIES else row.local_type


def local_severity(kind: AlertKind, *, severity: Severity, taken: Taken) -> str:
    """Return `critical` or `warning`, all that the local feed knows."""
    denied = kind is AlertKind.POLICY_VIOLATION and local_type(kind, severity=severity, taken=taken) is not None
    return "critical" if severity is Severity.CRITICAL or kind in _LOCALLY_CRITICAL or denied else "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Alerts of one kind, narrowed by what was done and how severe they are (empty: any)."""

    kind: AlertKind
    actions: tuple[Taken, ...] = ()
    severities: tuple[Severity, ...] = ()


def org_type(kind: AlertKind, *, severity: Severity, opted_in: bool) -> str | None:
    """Return what the org feed calls an alert; None: it is not in that feed."""
    row = KINDS[kind]
    if row.high_org_type and severity in DENIED_SEVERITIES:
        return row.high_org_type
    return None if row.org_opt_in and not opted_in else row.org_type


def org_selections(*, opted_in: bool) -> tuple[Selection, ...]:
    """Return which alerts the org feed shows."""
    return tuple(_org(row) for row in _ROWS if row.high_org_type or org_type(row.kind, severity=Severity.LOW, opted_in=opted_in))


def _org(row: Kind) -> Selection:
    only_high = row.org_type is None and row.high_org_type is not None
    return Selection(kind=row.kind, severities=DENIED_SEVERITIES if only_high else ())


def local_selections(name: LocalType | None = None) -> tuple[Selection, ...]:
    """Return which alerts the local feed shows, all or those of one of its types; none for a type that no kind raises."""
    return tuple(selection for row in _ROWS for shown, selection in _local(row) if shown is not None and name in (None, shown))


def _local(row: Kind) -> tuple[tuple[str | None, Selection], ...]:
    """Return under which types the local feed shows the alerts of a kind."""
    if row.kind is AlertKind.POLICY_VIOLATION:
        return ((row.local_type, Selection(kind=row.kind, actions=(Taken.BLOCKED,), severities=DENIED_SEVERITIES)),)
    if row.high_local_type is None:
        return ((row.local_type, Selection(kind=row.kind)),)
    return (
        (row.local_type, Selection(kind=row.kind, severities=_LOWER_SEVERITIES)),
        (row.high_local_type, Selection(kind=row.kind, severities=DENIED_SEVERITIES)),
    )
