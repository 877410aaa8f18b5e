"""Who listens to the stream: how many at most, what calls they have yet to hear of, and when all must end."""

import asyncio
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from alerting.changes import AlertChanges
from metering.ledger import Ledger

AT_MOST: Final = 20
"""Streams at a time: each holds one of the connections that the API has."""
MOST_CALLS: Final = 5_000
"""Calls that one reader may lag behind."""


MOST_NOTICES: Final = 100
"""Notices that a reader has yet to take; older ones are dropped, since they are kept elsewhere."""


class TooManyStreamsError(Exception):
    """No more readers are taken for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a stream looks, speaks and asks, in seconds."""

    look: float = 0.25
    """Between two looks at the alerts."""
    heartbeat: float = 15.0
    """Without an event, after so long a comment says that the stream lives."""
    recheck: float = 5.0
    """Between two looks at whether the token is still good."""
    patience: float = 10.0
    """How long a reader may take none of what it is sent."""


@dataclass(slots=True, eq=False)
class Listener:
    """One reader of the stream."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    calls: deque[str] = field(default_factory=deque[str])
    notices: deque[Mapping[str, object]] = field(default_factory=lambda: deque[Mapping[str, object]](maxlen=MOST_NOTICES))
    lags: bool = False
    """More calls ended than it took: those that it did not hear of are lost to it."""

    def hear(self, call_ids: Sequence[str]) -> None:
        """Note calls that have ended."""
        if len(self.calls) + len(call_ids) > MOST_CALLS:
            self.lags = True
        else:
            self.calls.extend(call_ids)
        self.wake.set()


class Streams:
    """The readers of the stream. While nobody listens to calls the ledger tells of none."""

    def __init__(self, changes: AlertChanges, ledger: Ledger, *, pace: Pace | None = None) -> None:
        self.changes = changes
        self.ledger = ledger
        self.pace = pace or Pace()
        self.closing = False
        self._listeners: set[Listener] = set()
        self._to_calls: set[Listener] = set()

    @contextmanager
    def listen(self, *, calls: bool) -> Generator[Listener]:
        """Be told from now on. Raises TooManyStreamsError."""
        if len(self._listeners) >= AT_MOST:
            raise TooManyStreamsError(f"{AT_MOST} streams are open, which is the most: end one, or ask again later")
        listener = Listener()
        self._listeners.add(listener)
        if calls:
            self._to_calls.add(listener)
            self.ledger.on_ended = self._ended
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            self._to_calls.discard(listener)
            if not self._to_calls:
                self.ledger.on_ended = None

    def tell(self, notice: Mapping[str, object]) -> None:
        """Show everybody who listens now something that is no alert."""
        for listener in self._listeners:
            listener.notices.append(notice)
            listener.wake.set()

    def close(self) -> None:
        """Let every stream end now, each with its last event."""
        self.closing = True
        for listener in self._listeners:
            listener.wake.set()

    def _ended(self, call_ids: Sequence[str]) -> None:
        for listener in self._to_calls:
            listener.hear(call_ids)
