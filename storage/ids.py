"""Time-ordered identifiers (UUIDv7, RFC 9562 section 5.7)."""

import secrets
import uuid
from datetime import datetime, timedelta

_SLACK = timedelta(minutes=1)


def uuid7(at: datetime) -> uuid.UUID:
    """Return a UUIDv7 whose first 48 bits are `at` in unix milliseconds; the rest is random."""
    millis = int(at.timestamp() * 1000)
    value = (millis << 80) | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


def first_id(since: datetime) -> str:
    """Return a lower bound of the ids of what began at `since` or later; a minute early, as an id may be made before its moment."""
    millis = max(0, int((since - _SLACK).timestamp() * 1000))
    digits = f"{millis:012x}"
    return f"{digits[:8]}-{digits[8:]}"
