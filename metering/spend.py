"""What was spent by what: the hourly sums, the rows where a span begins or ends inside an hour, and what is still open."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from metering.ledger_rows import Json, usd
from metering.rollups import HOUR_MICROS, KEYS, ROW_KEYS, ROW_SUMS, SUMS
from storage.database import Value
from storage.ids import first_id
from storage.times import from_micros, to_micros

type SpendBy = Literal["day", "provider", "model", "user", "service", "department", "source"]

SPEND_BY: tuple[SpendBy, ...] = ("day", "provider", "model", "user", "service", "department", "source")

_OURSELVES = "tollwatch"
_DAY_MICROS = 86_400_000_000
_FOR_EVER = 1 << 62
_LAST_ID = "g"
"""After every id: they are hexadecimal."""
_ID_SLACK = timedelta(minutes=2)
"""An id may be made up to a minute off its moment."""
_GROUPS: dict[SpendBy, str] = {
    "day": f"moment - moment % {_DAY_MICROS}",
    "provider": "provider",
    "model": "model",
    "user": '"user"',
    "service": "service",
    "department": "department",
    "source": "source",
}
_HOURS = f"SELECT hour AS moment, {', '.join((*KEYS, *SUMS))} FROM spend_hours WHERE hour >= ? AND hour < ?"  # noqa: S608 - constants alone
_ROWS = f"SELECT started_at AS moment, {ROW_KEYS}, {ROW_SUMS} FROM calls"  # noqa: S608 - as above
_EDGE = f"{_ROWS} WHERE id >= ? AND id < ? AND started_at >= ? AND started_at < ? AND state <> 'intent'"
_OPEN = f"{_ROWS} WHERE state = 'intent' AND started_at >= ? AND started_at < ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRow:
    """What the calls of one key came to. `cost_nano` is what is known; `unknown_calls` cost something that is not."""

    key: str | None
    """The day (UTC, ISO), or the name; None where the calls had none."""
    calls: int
    """Calls that were sent."""
    refused_calls: int
    cost_nano: int
    floor_nano: int
    """What they cost at least."""
    ceiling_nano: int
    """What they cost at most."""
    unknown_calls: int
    unknown_hold_nano: int
    """What the calls of unknown cost may have come to at most."""
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int

    def as_json(self) -> Json:
        """Return the shape of `spend --json`."""
        return {
            "key": self.key,
            "calls": self.calls,
            "refused_calls": self.refused_calls,
            "cost_usd": usd(self.cost_nano),
            "cost_floor_usd": usd(self.floor_nano),
            "cost_ceiling_usd": usd(self.ceiling_nano),
            "unknown_cost": {"calls": self.unknown_calls, "at_most_usd": usd(self.unknown_hold_nano)},
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "cache_read": self.cache_read_tokens,
                "cache_write": self.cache_write_tokens,
            },
        }


def spend_query(
    *, since: datetime, until: datetime | None, by: Sequence[SpendBy], rolled_until: int, provider: str | None = None
) -> tuple[str, tuple[Value, ...]]:
    """Return the statement that sums calls that began from `since` to before `until` by the keys, days first or the dearest first.

    Whole hours before `rolled_until` are taken from their sums, everything else from the rows. The gateway's own calls (the canary,
    `doctor`'s probes), which cost nothing, are left out unless they are asked for as a `provider`.
    """
    start, end = to_micros(since), _FOR_EVER if until is None else to_micros(until)
    first, stop = -(-start // HOUR_MICROS) * HOUR_MICROS, min(end // HOUR_MICROS * HOUR_MICROS, rolled_until)
    parts = [_OPEN]
    bound: list[Value] = [start, end]
    edges = [(start, end)]
    if first < stop:
        parts.append(_HOURS)
        bound += [first, stop]
        edges = [(begin, close) for begin, close in ((start, first), (stop, end)) if begin < close]
    for begin, close in edges:
        parts.append(_EDGE)
        bound += [first_id(from_micros(begin)), _LAST_ID if close == _FOR_EVER else first_id(from_micros(close) + _ID_SLACK), begin, close]
    where = f"WHERE provider {'<>' if provider is None else '='} ? "
    keys = ", ".join(_GROUPS[each] for each in by)
    numbers = ", ".join(map(str, range(1, len(by) + 1)))
    cost, calls = len(by) + 3, len(by) + 1
    order = numbers if by[0] == "day" else f"{cost} DESC, {calls} DESC, {numbers}"
    sums = ", ".join(f"SUM({name})" for name in SUMS)
    # Made of the constants of this module alone; what comes from outside is bound.
    text = f"SELECT {keys}, {sums} FROM ({' UNION ALL '.join(parts)}) AS spent {where}GROUP BY {numbers} ORDER BY {order}"  # noqa: S608
    return text, (*bound, provider or _OURSELVES)


def spend_rows(rows: Sequence[tuple[Value, ...]], *, by: Sequence[SpendBy]) -> list[tuple[tuple[str | None, ...], SpendRow]]:
    """Return the keys and the sums of each row of `spend_query`; the key of the sums is the first."""
    found: list[tuple[tuple[str | None, ...], SpendRow]] = []
    for row in rows:
        values = cast("tuple[Any, ...]", row)
        keys = tuple(_shown(value, each) for value, each in zip(values, by, strict=False))
        amounts: dict[str, int] = dict(zip(SUMS, values[len(by) :], strict=True))
        found.append((keys, SpendRow(key=keys[0], **amounts)))
    return found


def _shown(value: Any, by: SpendBy) -> str | None:  # noqa: ANN401 - a value of the store
    if by == "day":
        return from_micros(value).astimezone(UTC).date().isoformat()
    return value or None
