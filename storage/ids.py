"""Time-ordered identifiers (UUIDv7, RFC 9562 section 5.7)."""

import secrets
import uuid
from datetime import datetime


def uuid7(at: datetime) -> uuid.UUID:
    """Return a UUIDv7 whose first 48 bits are `at` in unix milliseconds; the rest is random."""
    millis = int(at.timestamp() * 1000)
    value = (millis << 80) | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)
