"""How the detections of one config at one place become entries: pure, and the same however they are dealt out over time."""

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One detection: when it was made (microseconds), its id, and the alert that it belongs to."""

    at: int
    id: str
    alert_seq: int


@dataclass(slots=True)
class Group:
    """An entry, from its first event to its last; `added` are the events that it took now."""

    entry_id: str
    first_at: int
    last_at: int
    made_by: Event | None = None
    """The event that came last to be enough for it; None: it was there already."""
    added: list[Event] = field(default_factory=list[Event])

    def take(self, event: Event) -> None:
        """Take an event."""
        self.first_at, self.last_at = min(self.first_at, event.at), max(self.last_at, event.at)
        self.added.append(event)


@dataclass(slots=True)
class Lane:
    """One config at one place: the entries that an event may still reach, and the events that wait to be enough."""

    groups: list[Group]
    waiting: list[Event]


def group(lane: Lane, events: Iterable[Event], *, window: int, min_events: int, new_id: Callable[[], str]) -> None:
    """Put events into the lane: an entry whose last event is at most `window` before takes one; else it waits for `min_events` in a window.

    Events come in the order of time. One that comes too late for that is taken by the entry whose time it falls into, from `window` before
    its first event on; it never joins what is further away.
    """
    for event in events:
        found = _reached(lane, event, window)
        if found is None:
            found = _enough(lane, event, window=window, min_events=min_events, new_id=new_id)
        else:
            found.take(event)
        if found is not None:
            _absorb(lane, found, window)


def _reached(lane: Lane, event: Event, window: int) -> Group | None:
    reached = [found for found in lane.groups if found.first_at - window <= event.at <= found.last_at + window]
    return max(reached, key=lambda found: found.last_at, default=None)


def _enough(lane: Lane, event: Event, *, window: int, min_events: int, new_id: Callable[[], str]) -> Group | None:
    """Let an event wait; return the entry that those who wait make, when they are enough."""
    insort(lane.waiting, event)
    since = lane.waiting[-1].at - window
    lane.waiting = [one for one in lane.waiting if one.at >= since]
    if len(lane.waiting) < min_events:
        return None
    made = Group(new_id(), lane.waiting[0].at, lane.waiting[-1].at, made_by=event, added=lane.waiting)
    lane.groups.append(made)
    lane.waiting = []
    return made


def _absorb(lane: Lane, found: Group, window: int) -> None:
    """Take what waits within reach of an entry that grew; only where events came too late."""
    if not lane.waiting:
        return
    rest: list[Event] = []
    for one in lane.waiting:
        if found.first_at - window <= one.at <= found.last_at + window:
            found.take(one)
        else:
            rest.append(one)
    lane.waiting = rest
