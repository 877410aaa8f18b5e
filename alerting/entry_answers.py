"""What people do with an entry: each thing's first time is kept, and the entry's alerts hear of it."""

from datetime import datetime
from enum import StrEnum
from typing import cast

from alerting import endings
from alerting.book import AlertBook
from alerting.entry_clock import in_turn, moments
from alerting.entry_configs import DEFINITION
from alerting.entry_settings import AckMechanism, EntryConfigSettings, TagCategory, read_definition
from storage.database import Sql, Work
from storage.times import to_micros

FEED = "entries"


class Answer(StrEnum):
    """One thing that somebody does with an entry."""

    VIEW = "view"
    ACKNOWLEDGE = "acknowledge"
    ACT = "act"
    ROOT_CAUSE = "root_cause"
    DISMISS = "dismiss"


class NoEntryError(LookupError):
    """There is no such entry."""


class NotAllowedError(ValueError):
    """The entry's config does not allow it; the message says what it allows."""


_MECHANISMS = {
    Answer.VIEW: AckMechanism.VIEW,
    Answer.ACKNOWLEDGE: AckMechanism.BUTTON,
    Answer.ACT: AckMechanism.ACT,
    Answer.ROOT_CAUSE: AckMechanism.SET_ROOT_CAUSE,
}
_TEXTS = {Answer.ACT: (TagCategory.ACTION, "action"), Answer.ROOT_CAUSE: (TagCategory.ROOT_CAUSE, "root cause")}
_NOTES = {Answer.ACT: "", Answer.ROOT_CAUSE: "Root cause: "}
"""How the history of the entry's alerts says it."""
_UPDATE = "UPDATE entries SET "
_FIRST = {
    Answer.VIEW: "viewed_at = ?, updated_at = ? WHERE id = ? AND viewed_at IS NULL",
    Answer.ACT: "action_taken = ?, acted_at = ?, updated_at = ? WHERE id = ? AND acted_at IS NULL",
    Answer.ROOT_CAUSE: "root_cause = ?, root_cause_set_at = ?, updated_at = ? WHERE id = ? AND root_cause_set_at IS NULL",
    Answer.DISMISS: "dismissed_at = ?, updated_at = ? WHERE id = ? AND dismissed_at IS NULL",
}
_ACKNOWLEDGE = "acknowledged_at = ?, updated_at = ? WHERE id = ? AND acknowledged_at IS NULL"
_CONFIG = "SELECT config_id FROM entries WHERE id = ?"
_ALERTS = "SELECT alert_seq FROM entry_alerts WHERE entry_id = ? ORDER BY alert_seq"


def answered(entry_id: str, answer: Answer, *, text: str | None, at: datetime, actor: str, alerts: AlertBook) -> Work[None]:
    """Write it down, on the entry and on its alerts. Raises NoEntryError or NotAllowedError."""
    yield from in_turn()
    settings = yield from _settings(entry_id)
    _check(settings, answer, text)
    acknowledges = answer in _MECHANISMS and settings.acknowledged_by(_MECHANISMS[answer])
    ticks = yield from moments(1, now=to_micros(at))
    moment, updated_at = to_micros(at), ticks[0]
    is_first = False
    if (statement := _FIRST.get(answer)) is not None:
        said = () if text is None else (text,)
        is_first = bool((yield Sql(_UPDATE + statement + " RETURNING id", (*said, moment, updated_at, entry_id))))
    if acknowledges:
        yield Sql(_UPDATE + _ACKNOWLEDGE, (moment, updated_at, entry_id))
    for row in (yield Sql(_ALERTS, (entry_id,))):
        seq = cast("int", row[0])
        if answer is Answer.VIEW:
            yield from endings.view(seq, at=at, actor=actor, feed=FEED)
        if answer is Answer.DISMISS:
            yield from alerts.dismissing(seq, at=at, actor=actor, feed=FEED)
        if is_first and text is not None:
            yield from endings.act(seq, text=_NOTES[answer] + text, at=at, actor=actor, feed=FEED)
        if acknowledges:
            yield from alerts.acknowledging(seq, at=at, actor=actor, feed=FEED)


def _settings(entry_id: str) -> Work[EntryConfigSettings]:
    rows = yield Sql(_CONFIG, (entry_id,))
    if not rows:
        raise NoEntryError(entry_id)
    config_id = cast("str", rows[0][0])
    rows = yield Sql(DEFINITION, (config_id,))
    try:
        return read_definition(cast("str", rows[0][0]))
    except ValueError as error:
        raise NotAllowedError(f"the config {config_id} of this entry was made by another version and cannot be read") from error


def _check(settings: EntryConfigSettings, answer: Answer, text: str | None) -> None:
    """Raise NotAllowedError for what the config has not foreseen."""
    if answer is Answer.ACKNOWLEDGE and not settings.acknowledged_by(AckMechanism.BUTTON):
        raise NotAllowedError(f"entries of {settings.title!r} are acknowledged by {', '.join(settings.ack_mechanisms)}, not by button")
    if answer in _TEXTS:
        category, noun = _TEXTS[answer]
        if not settings.allows(category, text or ""):
            allowed = ", ".join(repr(preset) for preset in settings.texts(category)) or "none is set up"
            raise NotAllowedError(f"entries of {settings.title!r} allow no {noun} of one's own; choose one of: {allowed}")
