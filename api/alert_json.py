"""An alert whole, as it is kept: what is around the feeds shows it so."""

from dataclasses import asdict
from datetime import datetime
from typing import Final

from alerting.alert import Alert
from api.times import rfc3339

_LEFT_OUT: Final = frozenset({"subject"})


def alert_json(alert: Alert) -> dict[str, object]:
    """Return an alert as a JSON object: moments in RFC 3339, of its subject what is known, and where it stands."""
    plain = {key: rfc3339(value) if isinstance(value, datetime) else value for key, value in asdict(alert).items() if key not in _LEFT_OUT}
    subject = {key: value for key, value in asdict(alert.subject).items() if value is not None}
    return {**plain, "subject": subject, "status": alert.status.value, "local_id": alert.local_id}
