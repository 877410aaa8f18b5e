"""Questions to the alert book, as SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from alerting.alert import COLUMNS, Status
from alerting.finding import AlertKind, Severity
from alerting.kinds import Selection
from storage.database import Sql, Value

COUNTS = """
SELECT severity, COUNT(*), SUM(CASE WHEN acknowledged_at IS NULL THEN 0 ELSE 1 END)
FROM alerts WHERE resolved_at IS NULL GROUP BY severity
"""
ALL_COUNT = "SELECT COUNT(*) FROM alerts"
BY_SEQ = f"SELECT {COLUMNS} FROM alerts WHERE seq = ?"  # noqa: S608  # only constants are put together
BY_ID = f"SELECT {COLUMNS} FROM alerts WHERE id = ?"  # noqa: S608  # the same
BEFORE = "SELECT seq, id FROM alerts WHERE id <= ? ORDER BY id DESC LIMIT 1"
"""The alert of an `id`, or the last that was before it."""
HISTORY_OF = "SELECT at, event, actor, feed, note FROM alert_history WHERE alert_seq = ? ORDER BY seq"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCounts:
    """How many alerts stand where; `by_severity` counts those that are not resolved."""

    open: int
    acknowledged: int
    resolved: int
    by_severity: dict[Severity, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which alerts are asked for. Empty or None: no restriction."""

    kinds: Sequence[AlertKind | Selection] | None = None
    dismissed: bool | None = None
    """Resolved in whatever way: what the local feed calls dismissed."""
    status: Status | None = None
    severity: Severity | None = None
    after: int | None = None
    """Only those with a smaller `seq`: the next page after one that ended with it."""
    limit: int
    skip: int = 0


_STATUS = {
    Status.OPEN: "resolved_at IS NULL AND acknowledged_at IS NULL",
    Status.ACKNOWLEDGED: "resolved_at IS NULL AND acknowledged_at IS NOT NULL",
    Status.RESOLVED: "resolved_at IS NOT NULL",
}


def select(page: Page) -> Sql:
    """Return the statement that answers with the page, newest first."""
    params: list[Value] = []
    text = f"SELECT {COLUMNS} FROM alerts WHERE {_where(page, params)} ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608  # values are bound
    return Sql(text, (*params, page.limit, page.skip))


def count(page: Page, *, most: int | None = None) -> Sql:
    """Return the statement that answers with the number of alerts on all pages of this kind; it stops counting at `most`."""
    params: list[Value] = []
    where = _where(page, params)
    if most is None:
        return Sql(f"SELECT COUNT(*) FROM alerts WHERE {where}", tuple(params))  # noqa: S608  # the same
    return Sql(f"SELECT COUNT(*) FROM (SELECT 1 FROM alerts WHERE {where} LIMIT ?) AS counted", (*params, most))  # noqa: S608  # the same


def _where(page: Page, params: list[Value]) -> str:
    """Return the condition that a page puts, and bind its values."""
    where: list[str] = ["1 = 1"]
    if page.kinds is not None:
        where.append(_any_of(page.kinds, params))
    if page.dismissed is not None:
        where.append("resolved_at IS NOT NULL" if page.dismissed else "resolved_at IS NULL")
    if page.status is not None:
        where.append(_STATUS[page.status])
    if page.severity is not None:
        where.append("severity = ?")
        params.append(page.severity.value)
    if page.after is not None:
        where.append("seq < ?")
        params.append(page.after)
    return " AND ".join(where)


def _any_of(kinds: Sequence[AlertKind | Selection], params: list[Value]) -> str:
    """Return a condition that is true for alerts of any of these kinds, and bind its values."""
    # Of one kind the index of kinds knows the newest; of several it would gather all before it sorts, so it is kept out of that.
    column = "kind" if len(kinds) == 1 else "kind || ''"
    parts = [_one(kind if isinstance(kind, Selection) else Selection(kind=kind), column, params) for kind in kinds]
    return f"({' OR '.join(parts)})" if parts else "1 = 0"


def _one(selection: Selection, kind: str, params: list[Value]) -> str:
    params.append(selection.kind.value)
    parts = [f"{kind} = ?"]
    for column, values in (("action", selection.actions), ("severity", selection.severities)):
        if values:
            parts.append(f"{column} IN ({', '.join('?' * len(values))})")
            params.extend(value.value for value in values)
    return " AND ".join(parts)
