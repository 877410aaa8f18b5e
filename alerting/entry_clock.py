"""Moments that no two detections or entries share, in the order in which they are committed."""

from storage.database import Sql, Work

_LOCK = "UPDATE entry_clock SET at = at"
_TAKE = "UPDATE entry_clock SET at = CASE WHEN at >= ? THEN at ELSE ? END + ? RETURNING at"


def in_turn() -> Work[None]:
    """Wait for whoever else writes detections or entries, and let others wait for this transaction: on every engine it holds the row."""
    yield Sql(_LOCK)


def moments(number: int, *, now: int) -> Work[range]:
    """Return so many moments (microseconds), each later than any that was given before; now, where the clock went on since."""
    rows = yield Sql(_TAKE, (now - 1, now - 1, number))
    (last,) = rows[0]
    assert isinstance(last, int)  # noqa: S101 - BIGINT; for the type checker
    return range(last - number + 1, last + 1)
