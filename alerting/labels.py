"""An alert as a set of labels: what matchers look at, and what Alertmanager's world knows it by."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import reduce

from alerting.alert import Alert
from alerting.finding import AlertKind, Severity, Subject

_SUBJECT = tuple(field.name for field in fields(Subject))
LABELS = ("alertname", "kind", "severity", *_SUBJECT, "fingerprint")
"""The names that a label can have."""
_OFFSET, _PRIME, _WORD = 14695981039346656037, 1099511628211, (1 << 64) - 1


def labels_of(alert: Alert) -> Mapping[str, str]:
    """Return the labels of an alert."""
    return labels(kind=alert.kind, severity=alert.severity, subject=alert.subject, fingerprint=alert.fingerprint)


def labels(*, kind: AlertKind, severity: Severity, subject: Subject, fingerprint: str) -> Mapping[str, str]:
    """Return the labels of what is known of an alert; of its subject those that it has.

    `fingerprint` is in them, so that no two open alerts have the same labels.
    """
    named = {"alertname": kind.value, "kind": kind.value, "severity": severity.value}
    about = {name: value for name in _SUBJECT if (value := getattr(subject, name))}
    return {**named, **about, "fingerprint": fingerprint}


def label_hash(labels: Mapping[str, str]) -> str:
    """Return 16 hex digits that name a set of labels, as Prometheus computes them (FNV-1a over sorted names and values)."""
    signs = b"".join(part for name in sorted(labels) for part in (name.encode(), b"\xff", labels[name].encode(), b"\xff"))
    return f"{_fnv1a(signs):016x}"


def _fnv1a(signs: Sequence[int]) -> int:
    return reduce(lambda total, sign: ((total ^ sign) * _PRIME) & _WORD, signs, _OFFSET)
