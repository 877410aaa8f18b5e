"""Detections become entries as the contract says, whatever the portions they come in."""

from collections.abc import Sequence
from itertools import count, pairwise

from hypothesis import given
from hypothesis import strategies as st

from alerting.grouping import Event, Group, Lane, group

TIMES = st.lists(st.integers(0, 60), max_size=25)


def naive(times: Sequence[int], *, window: int, least: int) -> tuple[list[list[int]], list[int]]:
    """Return the entries (the positions of their events) that the contract's own words make, and what waits; times are ascending."""
    entries: list[list[int]] = []
    waiting: list[int] = []
    for position, at in enumerate(times):
        if entries and at - times[entries[-1][-1]] <= window:
            entries[-1].append(position)
            continue
        waiting = [*(one for one in waiting if at - times[one] <= window), position]
        if len(waiting) >= least:
            entries.append(waiting)
            waiting = []
    return entries, waiting


def events_of(times: Sequence[int]) -> list[Event]:
    return [Event(at, f"{number:03d}", number % 3) for number, at in enumerate(times)]


def put(events: Sequence[Event], *, portions: Sequence[int], window: int, least: int) -> Lane:
    """Group the events in portions; between two, only what a store keeps is left."""
    lane, names = Lane([], []), count()
    taken: dict[str, list[Event]] = {}
    start = 0
    for end in (*sorted(portions), len(events)):
        kept = Lane([Group(g.entry_id, g.first_at, g.last_at) for g in lane.groups], list(lane.waiting))
        group(kept, events[start:end], window=window, min_events=least, new_id=lambda: f"entry-{next(names)}")
        for found in kept.groups:
            taken.setdefault(found.entry_id, []).extend(found.added)
        lane, start = kept, max(start, end)
    for found in lane.groups:
        found.added = taken[found.entry_id]
    return lane


@given(times=TIMES, window=st.integers(1, 12), least=st.integers(1, 5), portions=st.lists(st.integers(0, 25), max_size=4))
def test_in_order_of_time_they_are_grouped_as_one_by_one(times: list[int], window: int, least: int, portions: list[int]) -> None:
    events = events_of(sorted(times))
    entries, waiting = naive(sorted(times), window=window, least=least)

    lane = put(events, portions=[min(one, len(events)) for one in portions], window=window, least=least)

    assert [[int(event.id) for event in found.added] for found in lane.groups] == entries
    last = max(times, default=0)
    assert [int(event.id) for event in lane.waiting if last - event.at <= window] == [
        one for one in waiting if last - sorted(times)[one] <= window
    ]


@given(times=TIMES, window=st.integers(1, 12), least=st.integers(1, 5))
def test_in_whatever_order_no_event_is_in_two_entries_and_none_is_far_from_its_own(times: list[int], window: int, least: int) -> None:
    lane = put(events_of(times), portions=range(len(times)), window=window, least=least)

    ids = [event.id for found in lane.groups for event in found.added]
    assert len(ids) == len(set(ids))
    assert not set(ids) & {event.id for event in lane.waiting}
    for found in lane.groups:
        at = sorted(event.at for event in found.added)
        assert len(at) >= least
        assert all(later - earlier <= window for earlier, later in pairwise(at))
        assert (found.first_at, found.last_at) == (at[0], at[-1])
    assert len(lane.waiting) < least


def test_the_edge_of_the_window_is_inside_it() -> None:
    assert [len(found.added) for found in put(events_of([0, 5, 10]), portions=[], window=5, least=1).groups] == [3]
    assert [len(found.added) for found in put(events_of([0, 5, 11]), portions=[], window=5, least=1).groups] == [2, 1]
    assert [len(found.added) for found in put(events_of([0, 5, 5]), portions=[], window=5, least=3).groups] == [3]
    assert put(events_of([0, 5, 6]), portions=[], window=5, least=3).groups == []


def test_an_event_that_comes_too_late_is_taken_where_its_time_falls() -> None:
    first = put(events_of([100, 101, 200, 201]), portions=[], window=10, least=2)
    late = Event(95, "late", 0)

    group(first, [late], window=10, min_events=2, new_id=lambda: "never")

    assert [(found.first_at, found.last_at) for found in first.groups] == [(95, 101), (200, 201)]


def test_what_waits_is_taken_by_an_entry_that_grows_towards_it() -> None:
    lane = put(events_of([0, 1, 12]), portions=[], window=10, least=2)
    waiting = [event.at for event in lane.waiting]

    group(lane, [Event(8, "late", 0)], window=10, min_events=2, new_id=lambda: "never")

    assert (waiting, lane.waiting) == ([12], [])
    assert [(found.first_at, found.last_at) for found in lane.groups] == [(0, 12)]
