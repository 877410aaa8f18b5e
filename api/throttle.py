"""Failed logins, counted so that guessing is slow."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from api.times import Clock

WINDOW = timedelta(minutes=5)
PER_SOURCE = 5
IN_ALL = 50


class TooManyFailuresError(Exception):
    """Too many logins failed lately: the next attempt is heard after `retry_after_seconds`."""

    def __init__(self, retry_after_seconds: int, *, from_all: bool = False) -> None:
        super().__init__(f"too many failed login attempts: try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds
        self.from_all = from_all
        """The failures of all addresses together are too many."""


@dataclass(slots=True)
class LoginThrottle:
    """At most 5 failures from one address and 50 from all in any five minutes.

    An attempt counts when it begins and is taken back when it succeeds, so that many at once get no more guesses than one after another.
    """

    now: Clock
    _attempts: deque[tuple[datetime, str]] = field(default_factory=deque[tuple[datetime, str]])

    def begin(self, source: str) -> None:
        """Count an attempt from `source`. Raises TooManyFailuresError when no more are heard for now."""
        now = self.now()
        while self._attempts and now - self._attempts[0][0] >= WINDOW:
            self._attempts.popleft()
        own = [at for at, whose in self._attempts if whose == source]
        if len(own) >= PER_SOURCE:
            raise TooManyFailuresError(_seconds(own[-PER_SOURCE] + WINDOW - now))
        if len(self._attempts) >= IN_ALL:
            raise TooManyFailuresError(_seconds(self._attempts[0][0] + WINDOW - now), from_all=True)
        self._attempts.append((now, source))

    def take_back(self, source: str) -> None:
        """Forget the latest attempt from `source`: it was no guess."""
        for attempt in reversed(self._attempts):
            if attempt[1] == source:
                self._attempts.remove(attempt)
                return

    def succeeded(self, source: str) -> None:
        """Forget the attempts from `source`."""
        self._attempts = deque(attempt for attempt in self._attempts if attempt[1] != source)


def _seconds(span: timedelta) -> int:
    return max(1, ceil(span.total_seconds()))
