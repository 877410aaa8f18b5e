"""Tokens of a call. Unknown is None, never 0; usage of several parts adds with `+`."""

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal


def _add(a: int | None, b: int | None) -> int | None:
    if a is None:
        return b
    return a if b is None else a + b


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, normalised over providers (the OpenTelemetry GenAI convention).

    `input_tokens` INCLUDES cache reads and cache writes; `output_tokens` INCLUDES reasoning. The others are shares of those two.
    `cache_write_tokens` includes `cache_write_1h_tokens`.
    `billed_input_tokens` and `billed_output_tokens` are what is charged where the provider says so beside its counts, or where its total
    proves that the counts leave something out: Cohere's billed units, Mistral's audio, Gemini's thinking behind the OpenAI door.
    `seconds` (of sound), `pages` (of which `annotated_pages` were), `characters` (of speech), `images`, `video_seconds`, `search_units`
    and `compute_ms` are units that are charged instead of tokens, or beside them.
    `other_models` is usage on other models inside the call that these numbers leave out (Anthropic `iterations[]`).
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_input_tokens: int | None = None
    image_output_tokens: int | None = None
    web_searches: int | None = None
    billed_input_tokens: int | None = None
    billed_output_tokens: int | None = None
    seconds: int | None = None
    pages: int | None = None
    annotated_pages: int | None = None
    characters: int | None = None
    images: int | None = None
    video_seconds: int | None = None
    search_units: int | None = None
    compute_ms: int | None = None
    other_models: tuple[tuple[str, "Usage"], ...] = ()

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=_add(self.input_tokens, other.input_tokens),
            output_tokens=_add(self.output_tokens, other.output_tokens),
            cache_read_tokens=_add(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_tokens=_add(self.cache_write_tokens, other.cache_write_tokens),
            cache_write_1h_tokens=_add(self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            reasoning_tokens=_add(self.reasoning_tokens, other.reasoning_tokens),
            audio_input_tokens=_add(self.audio_input_tokens, other.audio_input_tokens),
            audio_output_tokens=_add(self.audio_output_tokens, other.audio_output_tokens),
            image_input_tokens=_add(self.image_input_tokens, other.image_input_tokens),
            image_output_tokens=_add(self.image_output_tokens, other.image_output_tokens),
            web_searches=_add(self.web_searches, other.web_searches),
            billed_input_tokens=_billed(self, other, "input_tokens"),
            billed_output_tokens=_billed(self, other, "output_tokens"),
            seconds=_add(self.seconds, other.seconds),
            pages=_add(self.pages, other.pages),
            annotated_pages=_add(self.annotated_pages, other.annotated_pages),
            characters=_add(self.characters, other.characters),
            images=_add(self.images, other.images),
            video_seconds=_add(self.video_seconds, other.video_seconds),
            search_units=_add(self.search_units, other.search_units),
            compute_ms=_add(self.compute_ms, other.compute_ms),
            other_models=self.other_models + other.other_models,
        )

    @property
    def charged(self) -> "Usage":
        """Return the tokens that are charged, for pricing: what is billed, and no share that exceeds its whole."""
        if self._charged_as_counted:
            return self
        billed = self.billed_input_tokens
        whole = self.input_tokens if billed is None else billed
        # Cohere bills what is not its own prompt: what was cached of the counted tokens has no part in that.
        read = self.cache_read_tokens if billed is None or billed >= (self.input_tokens or 0) else None
        return replace(
            self,
            input_tokens=whole,
            output_tokens=self.output_tokens if self.billed_output_tokens is None else self.billed_output_tokens,
            cache_read_tokens=_within(read, whole),
            cache_write_tokens=_within(self.cache_write_tokens, whole),
            other_models=tuple((model, usage.charged) for model, usage in self.other_models),
        )

    @property
    def _charged_as_counted(self) -> bool:
        """Whether every count is what is charged: the common case, told without a copy."""
        whole = self.input_tokens
        return (
            self.billed_input_tokens is None
            and self.billed_output_tokens is None
            and not self.other_models
            and (whole is None or ((self.cache_read_tokens or 0) <= whole and (self.cache_write_tokens or 0) <= whole))
        )

    @property
    def units(self) -> dict[str, int]:
        """Return what is charged and stands in no other count, by name: for the ledger."""
        amounts = _amounts(self)
        return {name: amount for name, amount in zip(_UNITS, amounts, strict=True) if amount} if any(amounts) else {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was counted."""
        return self.input_tokens is None and self.output_tokens is None and self == NO_USAGE


_UNITS = (
    "billed_input_tokens",
    "billed_output_tokens",
    "seconds",
    "pages",
    "annotated_pages",
    "characters",
    "images",
    "video_seconds",
    "search_units",
    "compute_ms",
    "web_searches",
)
_amounts = attrgetter(*_UNITS)


def _within(share: int | None, whole: int | None) -> int | None:
    return share if share is None or whole is None else min(share, whole)


def _billed(one: Usage, other: Usage, counted: Literal["input_tokens", "output_tokens"]) -> int | None:
    """Add what is billed; where one of the two says nothing apart, its count is what is billed."""
    first, second = (getattr(each, f"billed_{counted}") for each in (one, other))
    if first is None and second is None:
        return None
    return _add(getattr(one, counted) if first is None else first, getattr(other, counted) if second is None else second)


NO_USAGE = Usage()
