"""Time-ordered identifiers (UUIDv7, RFC 9562 section 5.7)."""

import os
import uuid
from datetime import datetime, timedelta

_SLACK = timedelta(minutes=1)
_RANDOM_BYTES = 10
_DRAWN_AT_ONCE = 400
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A digit whose two upper bits are those of RFC 9562, and whose lower two are as they were."""
_drawn: list[str] = []


def uuid7(at: datetime) -> uuid.UUID:
    """Return a UUIDv7 whose first 48 bits are `at` in unix milliseconds; the rest is random."""
    return uuid.UUID(uuid7_text(at))


def uuid7_text(at: datetime) -> str:
    """Return the same written out, without an object that takes three times as long to make and to write."""
    digits = f"{int(at.timestamp() * 1000):012x}"
    if not _drawn:
        _draw()
    drawn = _drawn.pop()
    return f"{digits[:8]}-{digits[8:]}-7{drawn[:3]}-{_VARIANT[drawn[3]]}{drawn[4:7]}-{drawn[7:19]}"


def _draw() -> None:
    """Take fresh digits of the system's generator, many at once: each question is a system call."""
    random = os.urandom(_RANDOM_BYTES * _DRAWN_AT_ONCE)
    _drawn.extend(random[at : at + _RANDOM_BYTES].hex() for at in range(0, len(random), _RANDOM_BYTES))


def first_id(since: datetime) -> str:
    """Return a lower bound of the ids of what began at `since` or later; a minute early, as an id may be made before its moment."""
    millis = max(0, int((since - _SLACK).timestamp() * 1000))
    digits = f"{millis:012x}"
    return f"{digits[:8]}-{digits[8:]}"
