"""The hourly sums of what calls came to, written in the transaction that settles them, so that each call is in them exactly once."""

from collections.abc import Iterable
from datetime import datetime

from metering.call import Call
from metering.reading import Reading, Source
from storage.database import Value
from storage.times import to_micros

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

_COLUMNS = ", ".join(("hour", *KEYS, *SUMS))
_ADD = ", ".join(f"{name} = spend_hours.{name} + excluded.{name}" for name in SUMS)
_ON_CONFLICT = f"ON CONFLICT (hour, {', '.join(KEYS)}) DO UPDATE SET {_ADD}"
_UNKNOWN = "cost_nano IS NULL AND COALESCE(source, '') <> 'none'"

# Made of the constants above alone.
ADD_SPEND = f"INSERT INTO spend_hours ({_COLUMNS}) VALUES ({', '.join('?' * (1 + len(KEYS) + len(SUMS)))}) {_ON_CONFLICT}"  # noqa: S608
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
ADD_ROW = (
    f"INSERT INTO spend_hours ({_COLUMNS}) SELECT started_at - started_at % {HOUR_MICROS}, {ROW_KEYS}, {ROW_SUMS} "  # noqa: S608 - as above
    f"FROM calls WHERE id = ? {_ON_CONFLICT}"
)

type _Key = tuple[int, str, str, str, str, str, str]
type _Amounts = tuple[int, ...]


def added(settled: Iterable[tuple[Call, Reading, int]]) -> list[tuple[Value, ...]]:
    """Return the parameters of ADD_SPEND for calls with their readings and holds, one row a key."""
    rows: dict[_Key, _Amounts] = {}
    for call, reading, hold_nano in settled:
        key, amounts = _key(call, reading), _amounts(reading, hold_nano)
        before = rows.get(key)
        rows[key] = amounts if before is None else tuple(map(int.__add__, before, amounts))
    return [(*key, *amounts) for key, amounts in rows.items()]


def refused(call: Call) -> tuple[Value, ...]:
    """Return the parameters of ADD_SPEND for a call that was not sent."""
    return (*_key(call, _NOTHING), 0, 1, *(0,) * (len(SUMS) - 2))


def hour_of(moment: datetime) -> int:
    """Return the beginning of the hour (UTC), in microseconds."""
    micros = to_micros(moment)
    return micros - micros % HOUR_MICROS


_NOTHING = Reading(source=Source.NONE)


def _key(call: Call, reading: Reading) -> _Key:
    caller = call.caller
    return (
        hour_of(call.started_at),
        call.provider,
        (call.model if reading.model is None else reading.model) or "",
        call.service,
        caller.user or "",
        caller.department or "",
        reading.source.value,
    )


def _amounts(reading: Reading, hold_nano: int) -> _Amounts:
    floor, ceiling = reading.interval
    most = hold_nano if ceiling is None else ceiling
    unknown = reading.cost_nano is None and reading.source is not Source.NONE
    usage = reading.usage
    return (
        1,
        0,
        reading.cost_nano or 0,
        floor or 0,
        most,
        int(unknown),
        most if unknown else 0,
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        usage.cache_read_tokens or 0,
        usage.cache_write_tokens or 0,
    )
