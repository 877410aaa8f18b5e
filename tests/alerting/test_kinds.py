"""The registry says of each kind what the published table says."""

from typing import Any

import pytest

from alerting.finding import AlertKind, Severity, Taken
from alerting.fingerprint import fingerprint
from alerting.kinds import KINDS, LOCAL_TYPES, Ends, local_selections, local_severity, local_type, org_type

TABLE = [
    # kind, severity, blocked, org, local, entries
    ("prompt_drift", "critical", "critical", "anomaly_detected", "prompt_drift"),
    ("prompt_size", "medium", "high", "policy_violation", "prompt_size"),
    ("budget_warning", "medium", "medium", "budget_exceeded", "budget_warning"),
    ("budget_exceeded", "high", "high", "budget_exceeded", "budget_exceeded"),
    ("rate_limit_hit", "medium", "medium", "policy_violation", "rate_limit_hit"),
    ("user_locked_out", "critical", "critical", "security_event", None),
    ("client_cert_revoked", "critical", "critical", "security_event", None),
    ("unpriced_model", "medium", "medium", "anomaly_detected", None),
    ("meter_gap", "medium", "medium", "anomaly_detected", None),
    ("gateway_degraded", "high", "high", "security_event", None),
]


@pytest.mark.parametrize(("name", "severity", "blocked", "org", "local"), TABLE)
def test_each_kind_is_called_as_published(name: Any, severity: Any, blocked: Any, org: Any, local: Any) -> None:
    kind = KINDS[AlertKind(name)]

    assert (kind.severity_of(blocked=False), kind.severity_of(blocked=True)) == (severity, blocked)
    assert (kind.org_type, kind.entries_label, kind.account_type, kind.rules_type) == (org, name, None, None)
    assert local_type(kind.kind, severity=Severity(severity), taken=Taken.ALERTED) == local


RULES_TABLE = [
    ("rule_conflict", "high", "conflict_detected"),
    ("rule_dormant", "low", "dormant_rule"),
    ("rule_high_deny_rate", "medium", "high_deny_rate"),
    ("rule_health_decline", "medium", "health_decline"),
]


@pytest.mark.parametrize(("name", "severity", "published"), RULES_TABLE)
def test_what_is_wrong_with_a_rule_is_in_the_rules_feed_alone_and_ends_with_its_condition(name: Any, severity: Any, published: Any) -> None:
    kind = KINDS[AlertKind(name)]

    assert (kind.severity, kind.rules_type, kind.ends) == (severity, published, Ends.CONDITION)
    assert (kind.org_type, kind.entries_label, kind.local_type, kind.account_type) == (None, None, None, None)


USAGE_TABLE = [
    # kind, severity, org, local, account
    ("usage_cost", "high", "budget_exceeded", "budget_exceeded", "cost_threshold"),
    ("usage_error_rate", "medium", None, None, "error_rate"),
    ("usage_spike", "high", "anomaly_detected", "anomalous_volume", "usage_spike"),
    ("usage_quota", "medium", None, "budget_warning", "quota_limit"),
    ("usage_quota", "high", "budget_exceeded", "budget_exceeded", "quota_limit"),
    ("usage_latency", "medium", None, None, "model_latency"),
    ("usage_unusual", "high", "anomaly_detected", "anomalous_volume", "unusual_activity"),
]


@pytest.mark.parametrize(("name", "severity", "org", "local", "account"), USAGE_TABLE)
def test_what_a_usage_alert_raises_is_called_as_published(name: Any, severity: Any, org: Any, local: Any, account: Any) -> None:
    kind = KINDS[AlertKind(name)]

    assert org_type(kind.kind, severity=Severity(severity), opted_in=False) == org
    assert local_type(kind.kind, severity=Severity(severity), taken=Taken.ALERTED) == local
    assert (kind.account_type, kind.entries_label, kind.rules_type) == (account, name, None)
    assert [one for one in local_selections(local) if one.kind is kind.kind and severity in (one.severities or [severity])] or not local


def test_every_kind_is_registered() -> None:
    assert set(KINDS) == set(AlertKind)
    assert KINDS[AlertKind.POLICY_VIOLATION].severity_of(blocked=True) is Severity.MEDIUM


@pytest.mark.parametrize("taken", list(Taken))
@pytest.mark.parametrize("severity", list(Severity))
def test_only_blocked_and_severe_violations_are_in_the_local_feed(severity: Any, taken: Any) -> None:
    shown = local_type(AlertKind.POLICY_VIOLATION, severity=severity, taken=taken)

    expected = "high_severity_denied_action" if taken is Taken.BLOCKED and severity in ("high", "critical") else None
    assert shown == expected


@pytest.mark.parametrize(
    ("kind", "severity", "taken", "expected"),
    [
        (AlertKind.PROMPT_DRIFT, Severity.CRITICAL, Taken.ALERTED, "critical"),
        (AlertKind.BUDGET_EXCEEDED, Severity.HIGH, Taken.ALERTED, "critical"),
        (AlertKind.POLICY_VIOLATION, Severity.HIGH, Taken.BLOCKED, "critical"),
        (AlertKind.POLICY_VIOLATION, Severity.HIGH, Taken.OBSERVED, "warning"),
        (AlertKind.PROMPT_SIZE, Severity.HIGH, Taken.BLOCKED, "warning"),
        (AlertKind.BUDGET_WARNING, Severity.MEDIUM, Taken.ALERTED, "warning"),
    ],
)
def test_the_local_feed_knows_two_severities(kind: Any, severity: Any, taken: Any, expected: Any) -> None:
    assert local_severity(kind, severity=severity, taken=taken) == expected


def test_the_local_feed_shows_all_its_types_or_one() -> None:
    assert len(LOCAL_TYPES) == len(set(LOCAL_TYPES)) == 10
    assert [one.kind for one in local_selections("prompt_size")] == [AlertKind.PROMPT_SIZE]
    assert len(local_selections()) == 12


def test_a_fingerprint_is_the_same_for_the_same_values_and_no_others() -> None:
    seen = [
        fingerprint(AlertKind.PROMPT_SIZE, ("a", "bc")),
        fingerprint(AlertKind.PROMPT_SIZE, ("ab", "c")),
        fingerprint(AlertKind.PROMPT_SIZE, ("a", "b", "c")),
        fingerprint(AlertKind.PROMPT_DRIFT, ("a", "bc")),
        fingerprint(AlertKind.PROMPT_SIZE, ('a","bc',)),
    ]

    assert len(set(seen)) == 5
    assert fingerprint(AlertKind.PROMPT_SIZE, ("a", "bc")) == seen[0]
    assert all(len(one) == 32 for one in seen)
