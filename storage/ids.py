"""Time-ordered identifiers (UUIDv7, RFC 9562 section 5.7)."""

import os
import uuid
from datetime import datetime, timedelta

_SLACK = timedelta(minutes=1)
_RANDOM_BYTES = 10
_DRAWN_AT_ONCE = 400
_random = bytearray()


def uuid7(at: datetime) -> uuid.UUID:
    """Return a UUIDv7 whose first 48 bits are `at` in unix milliseconds; the rest is random."""
    millis = int(at.timestamp() * 1000)
    value = (millis << 80) | int.from_bytes(_draw())
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


def _draw() -> bytes:
    """Return fresh bytes of the system's generator, asked for many at once: each question is a system call."""
    if not _random:
        _random.extend(os.urandom(_RANDOM_BYTES * _DRAWN_AT_ONCE))
    drawn = bytes(_random[-_RANDOM_BYTES:])
    del _random[-_RANDOM_BYTES:]
    return drawn


def first_id(since: datetime) -> str:
    """Return a lower bound of the ids of what began at `since` or later; a minute early, as an id may be made before its moment."""
    millis = max(0, int((since - _SLACK).timestamp() * 1000))
    digits = f"{millis:012x}"
    return f"{digits[:8]}-{digits[8:]}"
