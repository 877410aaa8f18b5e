"""Questions to the alert book, as SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alerting.alert import COLUMNS, Status
from alerting.finding import AlertKind, Severity, Taken
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
    """Return the statement that answers with the page, newest first.

    Of several kinds an index knows the newest of each alone: one term for each kind, severity and status that is asked for, merged, so
    that a page costs what its rows do, however many alerts there are before it, after it and of other kinds.
    """
    params: list[Value] = []
    if page.kinds is None:
        text = f"SELECT {COLUMNS} FROM alerts WHERE {_where(page, params)} ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608  # values are bound
        return Sql(text, (*params, page.limit, page.skip))
    after = "" if page.after is None else " AND seq < ?"
    terms: list[str] = []
    for number, condition in enumerate(_conditions(page)):
        newest = f"SELECT seq FROM alerts WHERE {condition}{after} ORDER BY seq DESC LIMIT ?"  # noqa: S608  # only words of enumerations
        terms.append(f"SELECT seq FROM ({newest}) AS term{number}")  # noqa: S608  # the same
        params += [page.limit + page.skip] if page.after is None else [page.after, page.limit + page.skip]
    merged = " UNION ALL ".join(terms) or "SELECT seq FROM alerts WHERE 1 = 0"
    chosen = f"SELECT seq FROM ({merged}) AS terms ORDER BY seq DESC LIMIT ? OFFSET ?"  # noqa: S608  # the same
    text = f"SELECT {COLUMNS} FROM alerts WHERE seq IN ({chosen}) ORDER BY seq DESC"  # noqa: S608  # the same
    return Sql(text, (*params, page.limit, page.skip))


def _conditions(page: Page) -> Iterator[str]:
    """Yield conditions that exclude each other and together are what the page asks for; the indexes `alerts_listed` serve each."""
    for kind in page.kinds or ():
        selection = kind if isinstance(kind, Selection) else Selection(kind=kind)
        actions = f" AND {_in('action', selection.actions)}" if selection.actions else ""
        for severity in selection.severities or tuple(Severity):
            if page.severity in (None, severity):
                start = f"kind = '{selection.kind.value}' AND severity = '{severity.value}'{actions}"
                yield from (f"{start}{status}" for status in _statuses(page))


def _statuses(page: Page) -> Iterator[str]:
    """Yield the conditions of the statuses that a page asks for, one empty one when it asks for any."""
    if page.status is None and page.dismissed is None:
        yield ""
        return
    for status, condition in _STATUS.items():
        if page.status in (None, status) and page.dismissed in (None, status is Status.RESOLVED):
            yield f" AND {condition}"


def count(page: Page, *, most: int | None = None) -> Sql:
    """Return the statement that answers with the number of alerts on all pages of this kind; it stops counting at `most`."""
    params: list[Value] = []
    conditions = [_where(page, params)] if page.kinds is None else [*_groups(page)] or ["1 = 0"]
    counted = " UNION ALL ".join(f"SELECT 1 FROM alerts WHERE {condition}" for condition in conditions)  # noqa: S608  # the same
    bound = "" if most is None else " LIMIT ?"
    text = f"SELECT COUNT(*) FROM ({counted}{bound}) AS counted"  # noqa: S608  # the same
    return Sql(text, params if most is None else [*params, most])


def _groups(page: Page) -> Iterator[str]:
    """Yield the conditions of `_conditions`, as few as can be: kinds that are narrowed alike share one."""
    alike: dict[tuple[tuple[Severity, ...], tuple[Taken, ...]], list[AlertKind]] = {}
    for kind in page.kinds or ():
        selection = kind if isinstance(kind, Selection) else Selection(kind=kind)
        alike.setdefault((selection.severities, selection.actions), []).append(selection.kind)
    for (severities, actions), kinds in alike.items():
        wanted = [severity for severity in severities or Severity if page.severity in (None, severity)]
        parts = [
            _in("kind", kinds),
            *([_in("severity", wanted)] if severities or page.severity else []),
            *([_in("action", actions)] if actions else []),
        ]
        if wanted:
            yield from (f"{' AND '.join(parts)}{status}" for status in _statuses(page))


def _where(page: Page, params: list[Value]) -> str:
    """Return the condition that a page of any kind puts, and bind its values."""
    where: list[str] = ["1 = 1"]
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


def _in(column: str, words: Sequence[StrEnum]) -> str:
    """Return a condition with words of an enumeration as they stand: partial indexes are not found by values that are bound."""
    return f"{column} IN ({', '.join(f"'{word.value}'" for word in words)})"
