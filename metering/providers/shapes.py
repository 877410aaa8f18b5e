"""Careful looks into JSON that others wrote: what is not of the expected type is not there."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import cast

import orjson

type Json = Mapping[str, object]

_LARGEST = 10**12
"""No call has more tokens; a number beyond it is no count."""

NOTHING: Json = {}


def load(data: bytes) -> object:
    """Return the parsed JSON, or None where it is none (an event cut short)."""
    try:
        return cast("object", orjson.loads(data))
    except orjson.JSONDecodeError:
        return None


def obj(value: object) -> Json:
    """Return the object, or an empty one."""
    return cast("Json", value) if isinstance(value, dict) else NOTHING


def items(value: object) -> Sequence[object]:
    """Return the list, or an empty one."""
    return cast("Sequence[object]", value) if isinstance(value, list) else ()


def objects(value: object) -> Iterator[Json]:
    """Return the objects in a list."""
    return (cast("Json", item) for item in items(value) if isinstance(item, dict))


def text(value: object) -> str | None:
    """Return a string that says something."""
    return value if isinstance(value, str) and value else None


def count(value: object) -> int | None:
    """Return a count; whole floats are counts (gpustack), booleans, negative and absurd numbers are none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= _LARGEST:  # a bool is an int as well
        return None
    return value


def first_count(*values: object) -> int | None:
    """Return the first of the values that is a count."""
    for value in values:
        if value is not None and (number := count(value)) is not None:
            return number
    return None


def first_text(name: str, *objects: Json) -> str | None:
    """Return the first string that says something among the members of this name."""
    for each in objects:
        if found := text(each.get(name)):
            return found
    return None


def amount(value: object) -> Decimal | None:
    """Return an amount of money of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(repr(value))
    return number if number.is_finite() and 0 <= number <= _LARGEST else None


def error_type(value: object) -> str | None:
    """Return what kind of error the `error` member of an answer speaks of, or None when it is null or empty."""
    if isinstance(value, str):
        return value[:100] or None
    error = obj(value)
    if not error:
        return None
    found = text(error.get("type")) or text(error.get("code")) or text(error.get("status")) or "error"
    return found[:100]
