"""When a delivery that failed is tried again."""

import random
from datetime import timedelta

PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Before the second attempt, the third, and so on; after the tenth it is a dead letter."""
LONGEST_ASKED = timedelta(hours=24)
"""What a receiver's Retry-After counts at most."""
_JITTER = 0.2


def pause_after(attempt: int, *, retry_after: timedelta | None = None) -> timedelta | None:
    """Return how long to wait after the failed `attempt` (from 1); None: that was the last.

    A pause is up to a fifth longer than its entry, at random, so that what failed together is not tried together again.
    """
    if attempt > len(PAUSES):
        return None
    pause = PAUSES[attempt - 1] * (1 + random.uniform(0, _JITTER))  # noqa: S311 - spreads load, guards nothing
    return max(pause, min(retry_after or timedelta(0), LONGEST_ASKED))
