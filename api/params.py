"""Query parameters, each with its limits; a refusal names the parameter and what it accepts."""

from collections.abc import Iterable
from datetime import datetime

from aiohttp import web

from api.errors import ApiError
from api.times import parse_moment


def text(request: web.Request, name: str, *, max_length: int = 200) -> str | None:
    """Return a parameter, None when it is not given."""
    values = request.query.getall(name, [])
    if not values:
        return None
    if len(values) > 1:
        raise ApiError(400, f"invalid {name}: it is given {len(values)} times")
    if not values[0] or len(values[0]) > max_length:
        raise ApiError(400, f"invalid {name}: it has 1 to {max_length} characters")
    return values[0]


def choice[Word: str](request: web.Request, name: str, accepted: Iterable[Word]) -> Word | None:
    """Return a parameter that is one of a set of words."""
    value, words = text(request, name), tuple(accepted)
    if value is None:
        return None
    found = next((word for word in words if word == value), None)
    if found is None:
        raise ApiError(400, f"invalid {name}: use one of {', '.join(words)}")
    return found


def flag(request: web.Request, name: str) -> bool | None:
    """Return a parameter that is `true` or `false`."""
    value = choice(request, name, ("true", "false"))
    return None if value is None else value == "true"


def integer(request: web.Request, name: str, *, default: int, least: int, most: int) -> int:
    """Return a parameter that is a whole number within limits."""
    value = text(request, name)
    if value is None:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) <= 12 and least <= int(value) <= most):
        raise ApiError(400, f"invalid {name}: use a whole number from {least} to {most}")
    return int(value)


def moment(request: web.Request, name: str) -> datetime | None:
    """Return a parameter that is a moment."""
    value = text(request, name, max_length=40)
    if value is None:
        return None
    try:
        return parse_moment(value)
    except ValueError as error:
        raise ApiError(400, f"invalid {name}: use RFC 3339, for example 2025-01-15T10:30:00Z, a date or unix seconds") from error
