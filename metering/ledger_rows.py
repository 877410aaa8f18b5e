"""One row of the ledger: its columns, how it is written, its one shape for people and programs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from metering.call import Call
from metering.charges import untold_tokens
from metering.holds import Intent, Settlement
from metering.ledger_batch import PlacedHold
from metering.terms import Denial, counted_text
from metering.units import NANO
from storage.database import Row, Value
from storage.times import from_micros, to_micros

type Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A call as the ledger keeps it; one field a column. `state` is intent, settled, refused or unknown."""

    id: str
    started_at: datetime
    first_byte_at: datetime | None
    ended_at: datetime | None
    state: str
    ending: str | None
    verdict: str
    rule_id: str | None
    door: str
    provider: str
    service: str
    operation: str
    endpoint: str
    wire_format: str | None
    method: str
    host: str
    path: str
    request_model: str | None
    response_model: str | None
    streamed: bool
    status: int | None
    user: str | None
    department: str | None
    agent: str | None
    key_id: str | None
    request_bytes: int
    response_bytes: int | None
    estimated_input_tokens: int | None
    """The prompt as it was counted before the call was sent: to the token where there is no bound beside it."""
    input_tokens_bound: int | None
    """The most that the prompt can have, where it was not counted."""
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    cost_nano: int | None
    floor_nano: int | None
    ceiling_nano: int | None
    our_cost_nano: int | None
    source: str | None
    price_source: str | None
    price_version: str | None
    units: str | None
    """What is charged beside or instead of the tokens above (`Usage.units`), as JSON."""
    job: str | None
    """The result that this call was charged for, by the id under which it can be fetched again."""
    hold_nano: int
    hold_tokens: int
    """The most tokens that the call could use, as far as was known before it was sent."""
    overshoot_nano: int | None
    """What it cost beyond what it held of a budget; None where no budget in dollars held it."""
    instance: str

    @classmethod
    def from_row(cls, row: Row) -> "LedgerRow":
        """Return the row of a SELECT of `COLUMNS`."""
        values = list(cast("tuple[Any, ...]", row))
        for position in _MOMENTS:
            values[position] = None if values[position] is None else from_micros(values[position])
        values[_STREAMED] = bool(values[_STREAMED])
        return cls(*values)

    def as_json(self) -> Json:
        """Return the shape of `/api/calls` and `calls ls --json`. Unknown is null; money is a decimal string of dollars."""
        return {
            "id": self.id,
            "started_at": _moment(self.started_at),
            "first_byte_at": _moment(self.first_byte_at),
            "ended_at": _moment(self.ended_at),
            "provider": self.provider,
            "service": self.service,
            "operation": self.operation,
            "endpoint": self.endpoint,
            "wire_format": self.wire_format,
            "model": {"request": self.request_model, "response": self.response_model},
            "streamed": self.streamed,
            "door": self.door,
            "method": self.method,
            "host": self.host,
            "path": self.path,
            "status": self.status,
            "state": self.state,
            "ending": self.ending,
            "verdict": self.verdict,
            "rule_id": self.rule_id,
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "cache_read": self.cache_read_tokens,
                "cache_write": self.cache_write_tokens,
                "cache_write_1h": self.cache_write_1h_tokens,
                "reasoning": self.reasoning_tokens,
                "estimated_input": self.estimated_input_tokens,
            },
            "cost_usd": usd(self.cost_nano),
            "cost_floor_usd": usd(self.floor_nano),
            "cost_ceiling_usd": usd(self.ceiling_nano),
            "our_cost_usd": usd(self.our_cost_nano),
            "hold_usd": usd(self.hold_nano),
            "overshoot_usd": usd(self.overshoot_nano),
            "source": self.source,
            "price": {"source": self.price_source, "version": self.price_version},
            "units": json.loads(self.units) if self.units else None,
            "job": self.job,
            "caller": {"user": self.user, "department": self.department, "agent": self.agent, "key_id": self.key_id},
            "bytes": {"request": self.request_bytes, "response": self.response_bytes},
            "instance": self.instance,
        }


def usd(nano: int | None) -> str | None:
    """Return nano-dollars as an exact decimal string of dollars."""
    if nano is None:
        return None
    whole, rest = divmod(abs(nano), NANO)
    part = f".{rest:09}".rstrip("0") if rest else ""
    return f"{'-' if nano < 0 else ''}{whole}{part}"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_NAMES = tuple(field.name for field in fields(LedgerRow))
_MOMENTS = tuple(_NAMES.index(name) for name in ("started_at", "first_byte_at", "ended_at"))
_STREAMED = _NAMES.index("streamed")

COLUMNS = ", ".join(f'"{name}"' for name in _NAMES)
"""For `SELECT`; `user` is a word of SQL and so needs its quotes."""

_CALL_COLUMNS = (
    "id, started_at, state, verdict, rule_id, door, provider, service, operation, endpoint, wire_format, method, host, path, "
    'request_model, streamed, "user", department, agent, key_id, request_bytes, estimated_input_tokens, input_tokens_bound, '
    "hold_nano, hold_tokens, holds, instance, terms, admitted_seq"
)
INSERT_INTENT = f"INSERT INTO calls ({_CALL_COLUMNS}) VALUES ({', '.join('?' * 29)})"  # noqa: S608 - made of the constants above
INSERT_REFUSED = (
    f"INSERT INTO calls ({_CALL_COLUMNS}, ended_at, ending, status, source, cost_nano, floor_nano, ceiling_nano) "  # noqa: S608 - as above
    f"VALUES ({', '.join('?' * 36)})"
)
SETTLE_CALL = (
    "UPDATE calls SET settled_seq = ?, first_byte_at = ?, ended_at = ?, state = 'settled', ending = ?, response_model = ?, "
    "status = ?, response_bytes = ?, "
    "input_tokens = ?, output_tokens = ?, cache_read_tokens = ?, cache_write_tokens = ?, cache_write_1h_tokens = ?, reasoning_tokens = ?, "
    "cost_nano = ?, floor_nano = ?, ceiling_nano = ?, our_cost_nano = ?, source = ?, price_source = ?, price_version = ?, "
    "units = ?, job = ?, overshoot_nano = ?, counted = ?, top_ups = ?, charged_tokens = ?, holds = NULL WHERE id = ? AND state = 'intent'"
)


def intent_values(intent: Intent, *, holds: str | None, instance: str, terms: str | None, number: int | None) -> tuple[Value, ...]:
    """Return the parameters of INSERT_INTENT; the last is the number of the step."""
    tail = (intent.estimated_input_tokens, intent.input_tokens_bound, intent.hold_nano, intent.hold_tokens, holds, instance, terms, number)
    return _call_values(
        intent.call,
        state="intent",
        verdict=intent.verdict,
        rule_id=intent.rule_id,
        tail=tail,
    )


def refused_values(  # noqa: PLR0913 - all keyword-only but the call: what a refused row says
    call: Call,
    *,
    rule_id: str | None,
    status: int,
    ended_at: datetime,
    instance: str,
    estimated_input_tokens: int | None,
    input_tokens_bound: int | None,
    denial: Denial,
) -> tuple[Value, ...]:
    """Return the parameters of INSERT_REFUSED."""
    sizes = (estimated_input_tokens, input_tokens_bound)
    tail = (*sizes, 0, 0, None, instance, denial.terms, denial.number, to_micros(ended_at), "refused", status, "none", 0, 0, 0)
    return _call_values(call, state="refused", verdict="block", rule_id=rule_id, tail=tail)


KEEP_HOLDS = "UPDATE calls SET holds = ?, hold_nano = CASE WHEN hold_nano < ? THEN ? ELSE hold_nano END, top_ups = ? WHERE id = ?"


def kept_holds(holds: Sequence[tuple[PlacedHold, int]]) -> str | None:
    """Return holds as the row keeps them while its call is open: what recovery needs to charge them."""
    if not holds:
        return None
    return orjson.dumps([(*placed.key, amount, placed.hold.budget.limit.amount) for placed, amount in holds]).decode()


def settled_values(settlement: Settlement, overshoot_nano: int | None, *, number: int | None, top_ups: str) -> tuple[Value, ...]:
    """Return the parameters of SETTLE_CALL; the first is the number of the step, the last the call's id."""
    reply, reading = settlement.reply, settlement.reading
    usage = reading.usage
    return (
        number,
        None if reply.first_byte_at is None else to_micros(reply.first_byte_at),
        to_micros(reply.ended_at),
        str(reply.ending),
        reading.model,
        reply.status,
        reply.response_bytes,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.reasoning_tokens,
        reading.cost_nano,
        *reading.interval,
        reading.our_cost_nano,
        str(reading.source),
        reading.price_source,
        reading.price_version,
        json.dumps(units) if (units := usage.units) else None,
        reading.job,
        overshoot_nano,
        None if settlement.counted is None else counted_text(settlement.counted),
        top_ups or None,
        untold_tokens(reading),
        settlement.call.id,
    )


def _call_values(call: Call, *, state: str, verdict: str, rule_id: str | None, tail: tuple[Value, ...]) -> tuple[Value, ...]:
    # Enums are written as plain texts (by `str`, which is faster than `value`): sqlite3 asks its adapters about every subclass of str.
    caller = call.caller
    return (
        call.id,
        to_micros(call.started_at),
        state,
        verdict,
        rule_id,
        str(call.door),
        call.provider,
        call.service,
        call.operation,
        str(call.endpoint),
        call.wire_format,
        call.method,
        call.host,
        call.path,
        call.model,
        int(call.streamed),
        caller.user,
        caller.department,
        caller.agent,
        caller.key_id,
        call.request_bytes,
        *tail,
    )
