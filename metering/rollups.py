"""What each hour's calls came to, and where they went: rolled up once, when the hour has ended; a call that ends later adds itself.

The store keeps up to where it is rolled up. One writer runs all works, so a call either ended before its hour was rolled up, and is in
its sums, or ends after it, and sees so in the transaction that settles it: each call is counted exactly once, whenever the process dies.
"""

from datetime import UTC, datetime
from functools import partial

from storage.database import Database, Sql, Work
from storage.ids import first_id
from storage.times import from_micros, to_micros

HOUR_MICROS = 3_600_000_000

KEYS = ("provider", "model", "service", '"user"', "department", "source")
"""What an hour's calls are told apart by; '' stands for none, since NULL would not be one key."""
SUMS = (
    "calls",
    "refused_calls",
    "cost_nano",
    "floor_nano",
    "ceiling_nano",
    "unknown_calls",
    "unknown_hold_nano",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
)
"""What an hour's calls came to in money and tokens."""
ANSWER_SUMS = ("error_calls", "timed_calls", "timed_micros")
"""How they were answered: those that failed, those that were answered well, and how long the latter took in all."""
ALL_SUMS = (*SUMS, *ANSWER_SUMS)

_COLUMNS = ", ".join(("hour", *KEYS, *ALL_SUMS))
_ADD = ", ".join(f"{name} = spend_hours.{name} + excluded.{name}" for name in ALL_SUMS)
_ON_CONFLICT = f"ON CONFLICT (hour, {', '.join(KEYS)}) DO UPDATE SET {_ADD}"
_UNKNOWN = "cost_nano IS NULL AND COALESCE(source, '') <> 'none'"

ROW_KEYS = (
    "provider, COALESCE(response_model, request_model, '') AS model, service, COALESCE(\"user\", '') AS \"user\", "
    "COALESCE(department, '') AS department, COALESCE(source, '') AS source"
)
ROW_SUMS = (
    "CASE WHEN state = 'refused' THEN 0 ELSE 1 END AS calls, CASE WHEN state = 'refused' THEN 1 ELSE 0 END AS refused_calls, "
    "COALESCE(cost_nano, 0) AS cost_nano, COALESCE(floor_nano, 0) AS floor_nano, COALESCE(ceiling_nano, hold_nano) AS ceiling_nano, "
    f"CASE WHEN {_UNKNOWN} THEN 1 ELSE 0 END AS unknown_calls, "
    f"CASE WHEN {_UNKNOWN} THEN COALESCE(ceiling_nano, hold_nano) ELSE 0 END AS unknown_hold_nano, "
    "COALESCE(input_tokens, 0) AS input_tokens, COALESCE(output_tokens, 0) AS output_tokens, "
    "COALESCE(cache_read_tokens, 0) AS cache_read_tokens, COALESCE(cache_write_tokens, 0) AS cache_write_tokens"
)
"""What one row of `calls` adds to its hour."""
_FAILED = "status >= 400 OR ending IN ('upstream_reset', 'upstream_unreachable', 'failed')"
_TIMED = "ending = 'completed' AND status >= 200 AND status < 400 AND ended_at >= started_at"
ROW_ANSWER_SUMS = (
    f"CASE WHEN state <> 'refused' AND ({_FAILED}) THEN 1 ELSE 0 END AS error_calls, "
    f"CASE WHEN {_TIMED} THEN 1 ELSE 0 END AS timed_calls, CASE WHEN {_TIMED} THEN ended_at - started_at ELSE 0 END AS timed_micros"
)
"""The same of how it was answered."""
# All made of the constants above alone.
_ROLLED = "COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'spend_rolled_until'), 0)"
ADD_LATE = (
    f"INSERT INTO spend_hours ({_COLUMNS}) SELECT started_at - started_at % {HOUR_MICROS}, {ROW_KEYS}, {ROW_SUMS}, "  # noqa: S608
    f"{ROW_ANSWER_SUMS} "
    f"FROM calls WHERE id = ? AND started_at < {_ROLLED} {_ON_CONFLICT}"
)
"""Add a call that ended after its hour was rolled up; of any other nothing is added, since its hour will hold it."""
_ADD_HOURS = (
    f"INSERT INTO spend_hours ({_COLUMNS}) SELECT started_at - started_at % {HOUR_MICROS}, {', '.join(KEYS)}, "  # noqa: S608
    f"{', '.join(f'SUM({name})' for name in ALL_SUMS)} FROM (SELECT started_at, {ROW_KEYS}, {ROW_SUMS}, {ROW_ANSWER_SUMS} FROM calls "
    f"WHERE id >= ? AND started_at >= ? AND started_at < ? AND state <> 'intent') AS ended WHERE 1 = 1 GROUP BY 1, {', '.join(KEYS)} "
    f"{_ON_CONFLICT}"
)
_SENT = "state NOT IN ('intent', 'refused') AND provider <> 'tollwatch'"
ADD_LATE_ENDPOINT = (
    f"INSERT INTO endpoint_hours (hour, host, endpoint) SELECT started_at - started_at % {HOUR_MICROS}, host, endpoint "  # noqa: S608
    f"FROM calls WHERE id = ? AND started_at < {_ROLLED} AND {_SENT} ON CONFLICT DO NOTHING"
)
"""Note the endpoint of a call that ended after its hour was rolled up, as ADD_LATE adds the call."""
_ADD_ENDPOINTS = (
    f"INSERT INTO endpoint_hours (hour, host, endpoint) SELECT DISTINCT started_at - started_at % {HOUR_MICROS}, host, endpoint "  # noqa: S608
    f"FROM calls WHERE id >= ? AND started_at >= ? AND started_at < ? AND {_SENT} ON CONFLICT DO NOTHING"
)
READ_ROLLED = f"SELECT {_ROLLED}"
_SET_ROLLED = "INSERT INTO meta (name, value) VALUES ('spend_rolled_until', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of the hour (UTC)."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def roll_work(*, until: datetime) -> Work[bool]:
    """Roll up the hours that have ended by `until`, each once; return whether there were any."""
    ((start,),) = yield Sql(READ_ROLLED)
    begin, end = int(start or 0), to_micros(until)
    if end <= begin:
        return False
    span = (first_id(from_micros(begin)), begin, end)
    yield Sql(_ADD_HOURS, span)
    yield Sql(_ADD_ENDPOINTS, span)
    yield Sql(_SET_ROLLED, (str(end),))
    return True


async def roll_up(database: Database, *, now: datetime) -> bool:
    """Roll up the hours before this one. What ends later adds itself (ADD_LATE)."""
    return await database.write(partial(roll_work, until=hour_of(now)))
