"""The audit trail: who changed a token or the password, when."""

from datetime import datetime

from storage.database import Sql
from storage.times import to_micros


def audit_row(*, at: datetime, actor: str, action: str, subject: str, detail: str = "") -> Sql:
    """Return the statement that appends one row; it rides in the transaction of the change it tells of."""
    return Sql(
        "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)",
        (to_micros(at), actor, action, subject, detail),
    )
