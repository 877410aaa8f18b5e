"""New detections become parts of entries, a batch at a time; each carries what is still to be done with it, so nothing is done twice."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import orjson

from alerting.alert import COLUMNS, Alert, from_row
from alerting.entry_clock import in_turn, moments
from alerting.entry_configs import IN_FORCE, SILENCES, KeptConfig, kept
from alerting.finding import Taken
from alerting.grouping import Event, Group, Lane, group
from alerting.kinds import KINDS
from alerting.labels import labels_of
from alerting.places import place_name
from alerting.suppression import Suppressors
from storage.database import Many, Row, Sql, Value, Work
from storage.ids import uuid7
from storage.times import to_micros

BATCH = 100
"""Detections that one transaction takes: some milliseconds, which calls may have to wait for."""
_NEVER_ENDS = timedelta(days=1)
"""A call that did not end for so long is not waited for."""

# The index of what is due is of rows `due > 0`, and is used only where a question says so in these words.
UNDONE = """
SELECT EXISTS (SELECT 1 FROM detections WHERE due > 0 AND due = 1),
       EXISTS (SELECT 1 FROM detections d JOIN calls c ON c.id = d.call_id WHERE d.due > 0 AND d.due = 2 AND c.state <> 'intent'),
       EXISTS (SELECT 1 FROM detections WHERE held = 1 AND held_until <= ? AND due <> 1),
       EXISTS (SELECT 1 FROM detections WHERE due > 0 AND due = 2 AND detected_at < ?)
"""
_NEW = """
SELECT d.id, d.alert_seq, d.detected_at, d.action, d.duration, d.held_until, d.muted, d.call_id,
       c.service, c.agent, c."user", c.endpoint, c.instance, c.state, c.started_at, c.ended_at
FROM detections d LEFT JOIN calls c ON c.id = d.call_id
WHERE d.due > 0 AND d.due = 1 ORDER BY d.detected_at, d.id LIMIT ?
"""
_ORPHANED = "UPDATE detections SET due = 0 WHERE id = ?"
_PLACED = """
UPDATE detections SET kind = ?, place = ?, line = ?, duration = ?, held_until = COALESCE(held_until, ?), due = ?, updated_at = ?
WHERE id = ?
"""
_SEEN = "INSERT INTO places (name, seen_at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at"
_ENDED = """
SELECT d.id, c.ended_at - c.started_at FROM detections d JOIN calls c ON c.id = d.call_id
WHERE d.due > 0 AND d.due = 2 AND c.state <> 'intent' LIMIT ?
"""
_LAPSED = "SELECT id FROM detections WHERE held = 1 AND held_until <= ? AND due <> 1 ORDER BY held_until LIMIT ?"
_GIVEN_UP = "UPDATE detections SET due = 0 WHERE due > 0 AND due = 2 AND detected_at < ?"

_GROUPS = """
SELECT id, first_event_at, last_event_at FROM entries
WHERE config_id = ? AND place = ? AND last_event_at >= ? AND first_event_at <= ? ORDER BY last_event_at
"""
_WAITING = "SELECT events FROM entry_waiting WHERE config_id = ? AND place = ?"
_WAIT = """
INSERT INTO entry_waiting (config_id, place, last_at, events) VALUES (?, ?, ?, ?)
ON CONFLICT (config_id, place) DO UPDATE SET last_at = excluded.last_at, events = excluded.events
"""
_WAIT_NO_MORE = "DELETE FROM entry_waiting WHERE config_id = ? AND place = ?"
_OPEN = """
INSERT INTO entries (id, config_id, place, title, created_at, updated_at, first_event_at, last_event_at, event_count)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_GROW = "UPDATE entries SET updated_at = ?, first_event_at = ?, last_event_at = ?, event_count = event_count + ? WHERE id = ?"
_EVENTS = "INSERT INTO entry_events (config_id, detection_id, entry_id, detected_at) VALUES (?, ?, ?, ?)"
_ALERTS = "INSERT INTO entry_alerts (entry_id, alert_seq) VALUES (?, ?) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A new detection, with what its alert and its call tell of it."""

    event: Event
    label: str
    place: str
    line: str
    duration: int | None
    held_until: int | None
    due: int
    held_back: bool


@dataclass(slots=True)
class _Grown:
    """What grouping did in one lane."""

    number: int
    """Of the config, as they stand."""
    config: KeptConfig
    place: str
    lane: Lane
    waited: bool

    @property
    def groups(self) -> list[Group]:
        """The entries that took something."""
        return [found for found in self.lane.groups if found.added]


def undone(now: datetime) -> Sql:
    """Return the question whether there is anything to do."""
    return Sql(UNDONE, (to_micros(now), to_micros(now - _NEVER_ENDS)))


def take(*, now: datetime, line: str, suppressors: Callable[[], Work[Suppressors]], batch: int = BATCH) -> Work[int]:
    """Put a batch of new detections into entries; return how many there were. What nobody is told of now makes no entry."""
    yield from in_turn()
    rows = yield Sql(_NEW, (batch,))
    if not rows:
        return 0
    alerts = yield from _alerts({row[1] for row in rows})
    suppressed = yield from suppressors()
    held_back = {seq for seq, alert in alerts.items() if suppressed.of_labels(labels_of(alert))}
    found = [_found(row, alerts[row[1]], held_back=row[1] in held_back, line=line) for row in rows if row[1] in alerts]
    yield Many(_ORPHANED, [(row[0],) for row in rows if row[1] not in alerts])
    configs = kept((yield Sql(IN_FORCE)), (yield Sql(SILENCES)))
    grown = yield from _group(found, configs, now=now)
    yield from _write(found, grown, now=to_micros(now))
    return len(found)


def complete(*, now: datetime, batch: int = BATCH) -> Work[int]:
    """Note of a batch of detections how long their call took, or that what they held goes on; return how many changed."""
    yield from in_turn()
    ended = yield Sql(_ENDED, (batch,))
    lapsed = yield Sql(_LAPSED, (to_micros(now), batch))
    ticks = yield from moments(len(ended) + len(lapsed), now=to_micros(now))
    at = iter(ticks)
    yield Many("UPDATE detections SET due = 0, duration = ?, updated_at = ? WHERE id = ?", [(row[1], next(at), row[0]) for row in ended])
    yield Many("UPDATE detections SET held = 0, updated_at = ? WHERE id = ?", [(next(at), row[0]) for row in lapsed])
    yield Sql(_GIVEN_UP, (to_micros(now - _NEVER_ENDS),))
    return len(ticks)


def _alerts(seqs: Collection[Value]) -> Work[dict[Value, Alert]]:
    holes = ", ".join("?" * len(seqs))
    rows = yield Sql(f"SELECT {COLUMNS} FROM alerts WHERE seq IN ({holes})", tuple(seqs))  # noqa: S608  # values are bound
    return {row[0]: from_row(row) for row in rows}


def _found(row: Row, alert: Alert, *, held_back: bool, line: str) -> _Found:
    detection_id, _seq, at, action, duration, held_until, muted, call_id = row[:8]
    service, agent, user, endpoint, instance, state, started_at, ended_at = row[8:]
    if state is None:
        about = alert.subject
        service, agent, user, endpoint, instance = about.service, about.agent, about.user, about.endpoint, about.instance
    if duration is None and ended_at is not None:
        duration = cast("int", ended_at) - cast("int", started_at)
    if duration is None and call_id is None:
        duration = 0
    if state == "refused" and held_until is None and action in (Taken.BLOCKED, Taken.THROTTLED):
        held_until = cast("int", at) + cast("int", duration or 0)
    return _Found(
        event=Event(cast("int", at), cast("str", detection_id), alert.seq),
        label=KINDS[alert.kind].entries_label or alert.kind.value,
        place=place_name(
            service=cast("str | None", service),
            agent=cast("str | None", agent),
            user=cast("str | None", user),
            endpoint=cast("str | None", endpoint),
        ),
        line=cast("str | None", instance) or line,
        duration=cast("int | None", duration),
        held_until=cast("int | None", held_until),
        due=2 if call_id is not None and state in (None, "intent") else 0,
        held_back=held_back or bool(muted),
    )


def _group(found: Sequence[_Found], configs: Sequence[KeptConfig], *, now: datetime) -> Work[list[_Grown]]:
    """Group the new detections in every config that takes them, at each place on its own."""
    lanes: defaultdict[tuple[int, str], list[Event]] = defaultdict(list)
    for one in found:
        if one.held_back:
            continue
        for number, config in enumerate(configs):
            if config.settings.takes(one.label, one.place) and not config.is_silent(one.place, one.event.at):
                lanes[number, one.place].append(one.event)
    grown: list[_Grown] = []
    for (number, place), events in lanes.items():
        config = configs[number]
        lane = yield from _lane(config, place, events)
        waited = bool(lane.waiting)
        settings = config.settings
        window = settings.time_window_seconds * 1_000_000
        group(lane, events, window=window, min_events=settings.min_events, new_id=lambda: str(uuid7(now)))
        grown.append(_Grown(number, config, place, lane, waited))
    return grown


def _lane(config: KeptConfig, place: str, events: Sequence[Event]) -> Work[Lane]:
    """Return what is known of a lane, as far as these events may reach."""
    rows = yield Sql(_WAITING, (config.id, place))
    waiting = [Event(*one) for one in orjson.loads(cast("str", rows[0][0]))] if rows else []
    window = config.settings.time_window_seconds * 1_000_000
    times = [event.at for event in (*waiting, *events)]
    rows = yield Sql(_GROUPS, (config.id, place, min(times) - window, max(times) + window))
    groups = [Group(cast("str", row[0]), cast("int", row[1]), cast("int", row[2])) for row in rows]
    return Lane(groups, waiting)


def _write(found: Sequence[_Found], grown: Sequence[_Grown], *, now: int) -> Work[None]:
    number = len(found) + sum(len(one.groups) for one in grown)
    at = iter((yield from moments(number, now=now)))
    placed = [(f.label, f.place, f.line, f.duration, f.held_until, f.due, next(at), f.event.id) for f in found]
    yield Many(_PLACED, placed)
    yield Many(_SEEN, [(place, now) for place in {one.place for one in found}])
    for lane, entry in sorted(((one, entry) for one in grown for entry in one.groups), key=_came):
        yield from _write_entry(lane, entry, at=next(at))
    for one in grown:
        yield from _write_waiting(one)


def _came(grown: tuple[_Grown, Group]) -> tuple[Event, int]:
    """Order entries by the events that made them or that they took, and those that one event made as their configs stand."""
    one, entry = grown
    return entry.made_by or entry.added[-1], one.number


def _write_entry(one: _Grown, entry: Group, *, at: int) -> Work[None]:
    span = (entry.first_at, entry.last_at, len(entry.added))
    if entry.made_by is not None:
        yield Sql(_OPEN, (entry.entry_id, one.config.id, one.place, one.config.settings.title, at, at, *span))
    else:
        yield Sql(_GROW, (at, *span, entry.entry_id))
    yield Many(_EVENTS, [(one.config.id, event.id, entry.entry_id, event.at) for event in entry.added])
    yield Many(_ALERTS, [(entry.entry_id, seq) for seq in {event.alert_seq for event in entry.added}])


def _write_waiting(one: _Grown) -> Work[None]:
    waiting = one.lane.waiting
    if waiting:
        events: list[list[Value]] = [[event.at, event.id, event.alert_seq] for event in waiting]
        yield Sql(_WAIT, (one.config.id, one.place, waiting[-1].at, orjson.dumps(events).decode()))
    elif one.waited:
        yield Sql(_WAIT_NO_MORE, (one.config.id, one.place))
