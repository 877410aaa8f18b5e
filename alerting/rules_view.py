"""An alert as the rules feed and the gateway policies show it."""

from collections.abc import Mapping
from typing import Literal

from alerting.alert import Alert, Status
from alerting.kinds import KINDS
from alerting.org_view import org_moment

type Shown = Literal["active", "acknowledged", "resolved"]
"""A status as the rules feed calls it."""

STATUS: Mapping[Shown, Status] = {"active": Status.OPEN, "acknowledged": Status.ACKNOWLEDGED, "resolved": Status.RESOLVED}
_SHOWN: Mapping[Status, Shown] = {status: shown for shown, status in STATUS.items()}


def rules_view(alert: Alert) -> dict[str, object] | None:
    """Return an alert as a JSON object; None: it is not in that feed."""
    kind = KINDS[alert.kind].rules_type
    if kind is None:
        return None
    numbers: dict[str, object] = {name: value for one in alert.evidence[-1:] for name, value in one.items() if name != "rule_id"}
    if alert.resolution_note is not None:
        numbers["resolution_note"] = alert.resolution_note
    return {
        "id": alert.rules_id,
        "type": kind,
        "status": _SHOWN[alert.status],
        "rule_id": alert.subject.rule_id,
        "message": alert.message,
        "created_at": org_moment(alert.created_at),
        "metadata": numbers,
    }
