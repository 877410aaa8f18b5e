"""What Alertmanager's API v2 calls alerts and silences."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from alerting.alert import Alert
from alerting.labels import label_hash, labels_of
from alerting.matchers import LONGEST_VALUE, Matcher, MatchOperator, parse_matcher
from alerting.silence import MOST_MATCHERS, Silence
from alerting.suppression import HeldBack
from api.bodies import Answer, Body
from api.times import rfc3339

RECEIVER = "default"
NEVER = "9999-12-31T23:59:59Z"
"""What stands for the end of a silence that has none."""

type Filter = Annotated[str, StringConstraints(max_length=LONGEST_VALUE + 200)]
"""A matcher as text, such as `kind="prompt_size"`."""


class WireMatcher(Body):
    """One condition of a silence."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=100)
    value: str = Field(max_length=LONGEST_VALUE)
    isRegex: bool = False  # noqa: N815  # Alertmanager's word
    isEqual: bool = True  # noqa: N815  # the same


class PostedSilence(Body):
    """A silence to make, or with an `id` to change."""

    model_config = ConfigDict(extra="ignore")

    id: str | None = Field(default=None, max_length=100)
    matchers: list[WireMatcher] = Field(min_length=1, max_length=MOST_MATCHERS)
    startsAt: AwareDatetime  # noqa: N815  # Alertmanager's word
    endsAt: AwareDatetime  # noqa: N815  # the same
    createdBy: str  # noqa: N815  # the same
    comment: str


class SilenceMade(Answer):
    """The id of the silence that is in force now."""

    silenceID: str  # noqa: N815  # Alertmanager's word


class SilenceStatus(Answer):
    """Where a silence stands."""

    state: Literal["active", "pending", "expired"]


class MatcherAnswer(Answer):
    """One condition of a silence."""

    name: str
    value: str
    isRegex: bool  # noqa: N815  # Alertmanager's word
    isEqual: bool  # noqa: N815  # the same


class SilenceAnswer(Answer):
    """A silence."""

    id: str
    status: SilenceStatus
    updatedAt: datetime  # noqa: N815  # Alertmanager's word
    matchers: list[MatcherAnswer]
    startsAt: datetime  # noqa: N815  # the same
    endsAt: datetime  # noqa: N815  # the same
    createdBy: str  # noqa: N815  # the same
    comment: str


class Receiver(Answer):
    """Who is told."""

    name: str


class AlertStatus(Answer):
    """Whether somebody is told, or what holds that back."""

    state: Literal["active", "suppressed"]
    silencedBy: list[str]  # noqa: N815  # Alertmanager's word
    inhibitedBy: list[str]  # noqa: N815  # the same


class AlertAnswer(Answer):
    """An alert that is not resolved."""

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    receivers: list[Receiver]
    startsAt: datetime  # noqa: N815  # Alertmanager's word
    endsAt: datetime  # noqa: N815  # the same
    updatedAt: datetime  # noqa: N815  # the same
    status: AlertStatus


class GroupAnswer(Answer):
    """The alerts of one kind."""

    labels: dict[str, str]
    receiver: Receiver
    alerts: list[AlertAnswer]


def alert_json(alert: Alert, held: HeldBack, *, ends_at: datetime) -> dict[str, object]:
    """Return an alert as Alertmanager tells it."""
    labels = labels_of(alert)
    return {
        "fingerprint": label_hash(labels),
        "labels": labels,
        "annotations": annotations(alert),
        "receivers": [{"name": RECEIVER}],
        "startsAt": rfc3339(alert.first_seen_at),
        "endsAt": rfc3339(ends_at),
        "updatedAt": rfc3339(alert.updated_at),
        "status": {
            "state": "suppressed" if held else "active",
            "silencedBy": list(held.silenced_by),
            "inhibitedBy": [label_hash(labels_of(other)) for other in held.inhibited_by],
        },
    }


def annotations(alert: Alert) -> Mapping[str, str]:
    """Return what an alert says beside its labels."""
    return {
        "summary": alert.title,
        "description": alert.message,
        "alert_id": alert.local_id,
        "action": alert.action.value,
        "status": alert.status.value,
        "occurrences": str(alert.occurrence_count),
    }


def silence_json(silence: Silence, now: datetime) -> dict[str, object]:
    """Return a silence as Alertmanager tells it."""
    return {
        "id": silence.id,
        "status": {"state": silence.state(now).value},
        "updatedAt": rfc3339(silence.updated_at),
        "matchers": [
            {"name": one.name, "value": one.value, "isRegex": one.operator.is_regex, "isEqual": one.operator.is_equal}
            for one in silence.matchers
        ],
        "startsAt": rfc3339(silence.starts_at),
        "endsAt": rfc3339(silence.ends_at) if silence.ends_at else NEVER,
        "createdBy": silence.created_by,
        "comment": silence.comment,
    }


def matchers_of(texts: Sequence[str]) -> Sequence[Matcher]:
    """Return the matchers of a filter. Raises ValueError."""
    return [parse_matcher(text) for text in texts]


def shown_by(filters: Sequence[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all of a filter matches these labels."""
    return all(matcher.matches(labels) for matcher in filters)


def matcher_of(given: WireMatcher) -> Matcher:
    """Return a matcher that came in a body."""
    operator = next(one for one in MatchOperator if (one.is_equal, one.is_regex) == (given.isEqual, given.isRegex))
    return Matcher(name=given.name, operator=operator, value=given.value)
