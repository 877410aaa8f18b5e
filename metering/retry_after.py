"""When a provider says that a call may be tried again."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(days=31)
"""What a provider asks beyond this is taken as this."""

_NOTHING = timedelta(0)


def retry_after(headers: Mapping[str, str], *, at: datetime) -> timedelta | None:
    """Return how long to wait after `at`, from headers that are looked up by lower-case name; None where they do not tell.

    `retry-after-ms` (OpenAI, Azure) is the more exact one; `retry-after` is seconds, of which some providers send parts, or a date
    (RFC 9110, 10.2.3).
    """
    if (waits := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(waits / 1_000)
    said = headers.get("retry-after")
    if said is None:
        return None
    if (waits := _number(said)) is not None:
        return _bounded(waits)
    try:
        until = parsedate_to_datetime(said.strip())
    except ValueError:
        return None
    return _bounded(((until if until.tzinfo else until.replace(tzinfo=UTC)) - at).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bounded(seconds: float) -> timedelta:
    return max(_NOTHING, timedelta(seconds=min(seconds, LONGEST.total_seconds())))
