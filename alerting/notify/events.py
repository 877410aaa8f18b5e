"""Names of events, and what a receiver subscribes to."""

from collections.abc import Iterable, Sequence

from alerting.notify.channel import EventType

ALL = "alert.*"
ACCEPTED = (ALL, *(event.value for event in EventType))
"""What a receiver may ask for."""


def known_events(events: Sequence[str]) -> tuple[str, ...]:
    """Return the events without repeats, in the order of the vocabulary. Raises ValueError when one is unknown or none is given."""
    for event in events:
        if event not in ACCEPTED:
            raise ValueError(f"{event!r} is no event: use one or more of {', '.join(ACCEPTED)}")
    if not events:
        raise ValueError(f"no event is named, so nothing would be told: use one or more of {', '.join(ACCEPTED)}")
    return tuple(event for event in ACCEPTED if event in events)


def is_asked_for(event: EventType, events: Iterable[str]) -> bool:
    """Whether these ask for an event."""
    return any(asked in (ALL, event.value) for asked in events)
