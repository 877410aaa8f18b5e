"""Until when what was blocked or throttled may not go on: the downtime of a detection's place."""

from datetime import UTC, datetime

from alerting.finding import AlertKind, Finding, Occurrence, Taken
from alerting.kinds import KINDS, Ends

UNTIL_CLEARED = datetime(9999, 12, 31, tzinfo=UTC)
"""Stands for a hold whose end is not known before somebody lifts it."""


def held_until(occurrence: Occurrence) -> datetime | None:
    """Return when traffic like the refused call's would pass again; None: nothing but that call was stopped."""
    if occurrence.taken not in (Taken.BLOCKED, Taken.THROTTLED):
        return None
    finding = occurrence.finding
    if finding.retry_after is not None:
        return occurrence.at + finding.retry_after
    if KINDS[finding.kind].ends is Ends.CONDITION:
        return UNTIL_CLEARED
    return finding.ends_at if _is_spent(finding) else None


def _is_spent(finding: Finding) -> bool:
    """Whether a budget has nothing left: else a smaller call would have passed."""
    spent, limit = finding.evidence.get("spent"), finding.evidence.get("limit")
    return finding.kind is AlertKind.BUDGET_EXCEEDED and isinstance(spent, int) and isinstance(limit, int) and spent >= limit
