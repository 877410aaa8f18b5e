"""The audit trail: who changed what, when. Rows are appended and read; nothing in the product changes or deletes one."""

from datetime import datetime

from storage.database import Sql
from storage.times import to_micros

_APPEND = "INSERT INTO audit (at, actor, action, subject, detail) VALUES (?, ?, ?, ?, ?)"


def audit_row(*, at: datetime, actor: str, action: str, subject: str, detail: str = "") -> Sql:
    """Return the statement that appends one row; it rides in the transaction of the change it tells of.

    `action` is `<noun>.<what was done>` (`token.created`), `subject` the name or id of what was changed, `detail` what a reader needs
    besides (JSON where it has parts). None of them may hold a secret.
    """
    return Sql(_APPEND, (to_micros(at), actor, action, subject, detail))
