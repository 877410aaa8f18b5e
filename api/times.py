"""Moments as the API reads and prints them."""

from collections.abc import Callable
from datetime import UTC, datetime

type Clock = Callable[[], datetime]
"""Returns the moment, time-zone aware, in UTC."""


def rfc3339(moment: datetime) -> str:
    """Return `2025-01-15T10:30:00Z`, with a fraction only where it is not zero."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def whole_seconds(moment: datetime) -> str:
    """Return `2025-01-15T10:30:00Z`, always without a fraction, as published samples have it."""
    return rfc3339(moment.replace(microsecond=0))


def unix_seconds(moment: datetime) -> int:
    """Return whole seconds since 1970."""
    return int(moment.timestamp())


def parse_moment(text: str) -> datetime:
    """Return the UTC moment of a date, a date and time (without offset: UTC; a space for a decoded `+` is read as `+`) or unix seconds.

    Raises ValueError on anything else.
    """
    if text.isascii() and text.isdecimal() and len(text) in range(9, 12):
        return datetime.fromtimestamp(int(text), UTC)
    head, blank, offset = text.rpartition(" ")
    if blank and "T" in head:
        text = f"{head}+{offset}"
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        msg = f"{text!r} is out of range"
        raise ValueError(msg) from error
