"""One entry config: which detections are grouped into entries, and how people answer them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Literal, cast
from uuid import UUID, uuid5

from pydantic import BeforeValidator, Field, field_validator

from alerting.kinds import KINDS
from metering.scope import compile_patterns
from metering.settings import Section

LABELS: tuple[str, ...] = tuple(row.entries_label for row in KINDS.values() if row.entries_label is not None)
"""What entries call the kinds that they tell of."""

LONGEST_TEXT = 500
LONGEST_PLACE = 1_300
"""Two names as long as they are shown, every sign of them escaped, and the kind of endpoint."""
_NAMESPACE = UUID("9e7f1c52-41c5-5b0c-9d5e-0f1b6c1d7a44")
_WEEK = 7 * 86_400


class AckMechanism(StrEnum):
    """What acknowledges an entry."""

    BUTTON = "button"
    VIEW = "view"
    ACT = "act"
    SET_ROOT_CAUSE = "set_root_cause"


class TagCategory(StrEnum):
    """What a preset text is for."""

    ACTION = "action"
    ROOT_CAUSE = "root_cause"


class PresetTag(Section):
    """A text to choose."""

    tag_category: Literal[TagCategory.ACTION, TagCategory.ROOT_CAUSE]
    text: str = Field(min_length=1, max_length=LONGEST_TEXT)


def _names(value: object) -> object:
    """Take what the API prints of places and labels (objects with a name) for their names."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(map(_name, cast("Iterable[object]", value)))


def _name(item: object) -> object:
    return cast("Mapping[str, object]", item).get("name", item) if isinstance(item, Mapping) else item  # pyright: ignore[reportUnknownArgumentType]  # the cast tells it


type Name = Annotated[str, Field(min_length=1, max_length=LONGEST_PLACE)]


class EntryConfigSettings(Section):
    """Which detections become entries: those of these labels (none given: any), at these places (globs; none given: anywhere)."""

    id: UUID | None = None
    """None: made from the title."""
    title: str = Field(min_length=1, max_length=200)
    time_window_seconds: int = Field(default=300, ge=1, le=_WEEK)
    min_events: int = Field(default=1, ge=1, le=1000)
    labels: Annotated[tuple[Name, ...], BeforeValidator(_names)] = Field(default=(), max_length=100)
    rois: Annotated[tuple[Name, ...], BeforeValidator(_names)] = Field(default=(), max_length=100)
    preset_tags: tuple[PresetTag, ...] = Field(default=(), max_length=100)
    allow_custom_action: bool = False
    allow_custom_root_cause: bool = False
    ack_mechanisms: tuple[AckMechanism, ...] = Field(default=(AckMechanism.BUTTON,), min_length=1, max_length=4)

    @field_validator("labels")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [label for label in value if label not in LABELS]:
            raise ValueError(f"{unknown[0]!r} is no label of a detection: use {', '.join(LABELS)}")
        return value

    @field_validator("labels", "rois", "ack_mechanisms", "preset_tags")
    @classmethod
    def _each_once[T: tuple[object, ...]](cls, value: T) -> T:
        if len(set(value)) < len(value):
            raise ValueError("one of them stands twice")
        return value

    @property
    def config_id(self) -> str:
        """Its id: the one it was given, else one made from its title."""
        return str(self.id or uuid5(_NAMESPACE, self.title))

    def takes(self, label: str, place: str) -> bool:
        """Whether it groups detections of this label at this place."""
        return (not self.labels or label in self.labels) and (not self.rois or compile_patterns(self.rois)(place))

    def acknowledged_by(self, mechanism: AckMechanism) -> bool:
        """Whether this acknowledges an entry."""
        return mechanism in self.ack_mechanisms

    def allows(self, category: TagCategory, text: str) -> bool:
        """Whether this text may be set."""
        custom = self.allow_custom_action if category is TagCategory.ACTION else self.allow_custom_root_cause
        return custom or text in self.texts(category)

    def texts(self, category: TagCategory) -> tuple[str, ...]:
        """Return the texts to choose from."""
        return tuple(tag.text for tag in self.preset_tags if tag.tag_category is category)


@lru_cache(maxsize=1024)
def read_definition(definition: str) -> EntryConfigSettings:
    """Return the config of its JSON. Raises ValueError."""
    return EntryConfigSettings.model_validate_json(definition)


def label_title(label: str) -> str:
    """Return `Prompt drift` for `prompt_drift`."""
    return label.replace("_", " ").capitalize()


def _tags(category: TagCategory, *texts: str) -> tuple[PresetTag, ...]:
    return tuple(PresetTag(tag_category=category, text=text) for text in texts)


def _labels(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names if name in LABELS)


_MECHANISMS = (AckMechanism.BUTTON, AckMechanism.ACT, AckMechanism.SET_ROOT_CAUSE)

SHIPPED = (
    EntryConfigSettings(
        title="Security",
        time_window_seconds=300,
        min_events=1,
        labels=_labels(
            "prompt_drift",
            "policy_violation",
            "onchain_denied",
            "user_locked_out",
            "client_cert_revoked",
            "pre_departure_anomaly",
            "unmetered_traffic",
            "login_abuse",
            "gateway_degraded",
        ),
        preset_tags=(
            *_tags(
                TagCategory.ACTION, "Caller contacted", "Key revoked", "Caller locked out", "Rule changed", "Change approved", "None needed"
            ),
            *_tags(
                TagCategory.ROOT_CAUSE, "Misuse", "Leaked key", "Prompt injection", "Planned change", "Wrong rule", "False alarm", "Other"
            ),
        ),
        ack_mechanisms=_MECHANISMS,
    ),
    EntryConfigSettings(
        title="Spend",
        time_window_seconds=3_600,
        min_events=1,
        labels=_labels("budget_warning", "budget_exceeded", "usage_cost", "usage_quota", "unpriced_model", "meter_gap"),
        preset_tags=(
            *_tags(TagCategory.ACTION, "Budget raised", "Budget reset", "Caller contacted", "Price added", "Model changed", "None needed"),
            *_tags(TagCategory.ROOT_CAUSE, "More use", "Runaway program", "Dearer model", "Budget too small", "Unknown price", "Other"),
        ),
        ack_mechanisms=_MECHANISMS,
    ),
    EntryConfigSettings(
        title="Traffic anomalies",
        time_window_seconds=600,
        min_events=3,
        labels=_labels(
            "rate_limit_hit",
            "prompt_size",
            "anomalous_volume",
            "new_endpoint",
            "time_anomaly",
            "usage_error_rate",
            "usage_spike",
            "usage_latency",
            "usage_unusual",
        ),
        preset_tags=(
            *_tags(TagCategory.ACTION, "Limit changed", "Caller contacted", "Program stopped", "Provider asked", "None needed"),
            *_tags(TagCategory.ROOT_CAUSE, "More use", "Retry storm", "Runaway program", "Fault of the provider", "Limit too low", "Other"),
        ),
        ack_mechanisms=_MECHANISMS,
    ),
)
"""The configs of a gateway whose config file has none of its own."""
