"""Amounts as people write them in the config: `32 MiB`, `24h`, `50 USD`, `1000000 tokens`."""

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import BeforeValidator, GetPydanticSchema
from pydantic_core import core_schema

NANO = 1_000_000_000
"""Nano-dollars in a dollar."""

_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"(\d+)\s*([A-Za-z]*)")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_size(value: object) -> object:
    """Return the bytes in `32 MiB`; pass on integers; raise ValueError with the accepted units otherwise."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match or (match[2] or "B") not in _SIZES:
        msg = f"{value!r} is not a size: write for example '32 MiB' (units: {', '.join(_SIZES)})"
        raise ValueError(msg)
    return int(match[1]) * _SIZES[match[2] or "B"]


def parse_span(value: object) -> object:
    """Return the timedelta in `24h`, `90d`, `2s`; pass on timedeltas; raise ValueError with the accepted units otherwise."""
    if isinstance(value, timedelta):
        return value
    match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        msg = f"{value!r} is not a span of time: write for example '24h' (units: s, m, h, d, w)"
        raise ValueError(msg)
    return timedelta(seconds=float(match[1]) * _SPANS[match[2]])


def off(value: object) -> object:
    """Return the word `off` for what YAML reads it as."""
    return "off" if value is False else value


type ByteSize = Annotated[int, BeforeValidator(parse_size)]
type Span = Annotated[timedelta, BeforeValidator(parse_span)]


@dataclass(frozen=True, slots=True)
class Limit:
    """What a budget allows in a period: nano-dollars or tokens."""

    amount: int
    unit: Literal["usd", "tokens"]

    def __str__(self) -> str:
        return dollars(self.amount) if self.unit == "usd" else f"{self.amount:,} tokens"


def parse_limit(value: object) -> Limit:
    """Return the limit in `50 USD` or `2000000 tokens`; raise ValueError otherwise."""
    if isinstance(value, Limit):
        return value
    amount, _, unit = value.strip().partition(" ") if isinstance(value, str) else ("", "", "")
    try:
        number = Decimal(amount.replace("_", "").replace(",", ""))
    except InvalidOperation:
        number = Decimal(-1)
    if number.is_finite() and number > 0:
        if unit.strip().upper() == "USD":
            return Limit(int(number * NANO), "usd")
        if unit.strip() == "tokens" and number == number.to_integral_value():
            return Limit(int(number), "tokens")
    msg = f"{value!r} is not a limit: write for example '50 USD' or '2000000 tokens'"
    raise ValueError(msg)


type BudgetLimit = Annotated[Limit, GetPydanticSchema(lambda _source, _handler: core_schema.no_info_plain_validator_function(parse_limit))]


def dollars(nano: int) -> str:
    """Return nano-dollars for people: `$12.34`, and small amounts with as many digits as they need (`$0.00042`)."""
    value = Decimal(nano) / NANO
    if value == 0 or abs(value) >= Decimal("0.01"):
        return f"${value:,.2f}"
    return f"${value.normalize():f}"
