"""What was spent by what, with the unknown apart."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from metering.ledger_rows import Json, usd
from storage.database import Value
from storage.ids import first_id
from storage.times import from_micros, to_micros

type SpendBy = Literal["day", "provider", "model", "user", "service", "department"]

_DAY_MICROS = 86_400_000_000
_KEYS: dict[SpendBy, str] = {
    "day": f"started_at - started_at % {_DAY_MICROS}",
    "provider": "provider",
    "model": "COALESCE(response_model, request_model)",
    "user": '"user"',
    "service": "service",
    "department": "department",
}
_UNKNOWN = "cost_nano IS NULL AND COALESCE(source, '') <> 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRow:
    """What the calls of one key came to. `cost_nano` is what is known; `unknown_calls` cost something that is not."""

    key: str | None
    """The day (UTC, ISO), or the name; None where the calls had none."""
    calls: int
    """Calls that were sent."""
    refused_calls: int
    cost_nano: int
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
            "unknown_cost": {"calls": self.unknown_calls, "at_most_usd": usd(self.unknown_hold_nano)},
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "cache_read": self.cache_read_tokens,
                "cache_write": self.cache_write_tokens,
            },
        }


def spend_query(*, since: datetime, until: datetime | None, by: SpendBy) -> tuple[str, tuple[Value, ...]]:
    """Return the statement, for readers that have no Database (the command line beside a running gateway)."""
    key = _KEYS[by]
    bounds = "id >= ? AND started_at >= ?" if until is None else "id >= ? AND started_at >= ? AND started_at < ?"
    # Made of the constants of this module alone; what comes from outside is bound.
    text = (
        f"SELECT {key}, SUM(CASE WHEN state = 'refused' THEN 0 ELSE 1 END), SUM(CASE WHEN state = 'refused' THEN 1 ELSE 0 END), "  # noqa: S608
        "COALESCE(SUM(cost_nano), 0), "
        f"SUM(CASE WHEN {_UNKNOWN} THEN 1 ELSE 0 END), SUM(CASE WHEN {_UNKNOWN} THEN hold_nano ELSE 0 END), "
        "COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0), "
        "COALESCE(SUM(cache_read_tokens), 0), COALESCE(SUM(cache_write_tokens), 0) "
        f"FROM calls WHERE {bounds} GROUP BY 1 ORDER BY {'1' if by == 'day' else '4 DESC, 2 DESC, 1'}"
    )
    params = (first_id(since), to_micros(since))
    return text, params if until is None else (*params, to_micros(until))


def spend_row(row: tuple[Value, ...], *, by: SpendBy) -> SpendRow:
    """Return one row of `spend_query`."""
    key, calls, refused, cost, unknown, unknown_hold, *tokens = cast("tuple[Any, ...]", row)
    if by == "day":
        key = from_micros(key).astimezone(UTC).date().isoformat()
    return SpendRow(
        key=key,
        calls=calls,
        refused_calls=refused,
        cost_nano=cost,
        unknown_calls=unknown,
        unknown_hold_nano=unknown_hold,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cache_read_tokens=tokens[2],
        cache_write_tokens=tokens[3],
    )
