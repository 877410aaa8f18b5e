"""A silence: for some time, nobody is told of the alerts that it matches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum

from alerting.labels import LABELS
from alerting.matchers import Matcher, checked

MOST_MATCHERS = 50
LONGEST = timedelta(days=3650)
LONGEST_COMMENT = 2_000
LONGEST_NAME = 200


class SilenceState(StrEnum):
    """Where a silence stands; derived from its moments, never stored."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceDraft:
    """A silence that somebody asks for. No `ends_at`: it never ends, which only the config file may say."""

    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime | None
    created_by: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """One silence. All matchers must match, from `starts_at` to before `ends_at`."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime | None
    created_by: str
    comment: str
    updated_at: datetime
    in_config: bool = False
    """The config file defines it: it cannot be changed here."""

    def state(self, now: datetime) -> SilenceState:
        """Pending, active or expired."""
        if self.ends_at is not None and self.ends_at <= now:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if self.starts_at > now else SilenceState.ACTIVE

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether all its matchers match an alert with these labels."""
        return all(matcher.matches(labels) for matcher in self.matchers)

    def matches(self, labels: Mapping[str, str], now: datetime) -> bool:
        """Whether it silences an alert with these labels now."""
        return self.state(now) is SilenceState.ACTIVE and self.covers(labels)


def checked_matchers(matchers: Sequence[Matcher]) -> tuple[Matcher, ...]:
    """Return the matchers of a silence. Raises ValueError when they would silence everything, or nothing for a mistyped name."""
    if not 1 <= len(matchers) <= MOST_MATCHERS:
        raise ValueError(f"A silence has 1 to {MOST_MATCHERS} matchers, not {len(matchers)}: write for example kind=rate_limit_hit")
    for matcher in matchers:
        if matcher.name not in LABELS:
            close = get_close_matches(matcher.name, LABELS, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"No alert has the label {matcher.name!r}{meant} Labels: {', '.join(LABELS)}")
        checked(matcher)
    if all(matcher.matches({}) for matcher in matchers):
        raise ValueError(
            f"The matchers {', '.join(map(str, matchers))} also match an alert without these labels: at least one must not match "
            'the empty value (to silence everything, write kind=~".+")'
        )
    return tuple(matchers)


def checked_draft(draft: SilenceDraft, now: datetime) -> SilenceDraft:
    """Return what may be stored. Raises ValueError with the remedy."""
    checked_matchers(draft.matchers)
    if draft.ends_at is None:
        raise ValueError("A silence needs an end; one without belongs into the config file, under alerting.silences")
    if draft.ends_at <= draft.starts_at:
        raise ValueError(f"A silence that ends at {draft.ends_at.isoformat()} cannot begin at {draft.starts_at.isoformat()}")
    if draft.ends_at <= now:
        raise ValueError(f"A silence cannot end in the past: it is {now.isoformat(timespec='seconds')}, not {draft.ends_at.isoformat()}")
    if draft.ends_at - now > LONGEST:
        raise ValueError("A silence ends within ten years; one that is to last belongs into the config file, under alerting.silences")
    if not draft.comment.strip() or len(draft.comment) > LONGEST_COMMENT:
        raise ValueError(f"A silence has a comment of 1 to {LONGEST_COMMENT:,} characters: say why")
    if not draft.created_by.strip() or len(draft.created_by) > LONGEST_NAME:
        raise ValueError(f"A silence says who made it, in 1 to {LONGEST_NAME} characters")
    return draft
