"""Tokens of a call. Unknown is None, never 0; usage of several parts adds with `+`."""

from dataclasses import dataclass


def _add(a: int | None, b: int | None) -> int | None:
    if a is None:
        return b
    return a if b is None else a + b


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, normalised over providers (the OpenTelemetry GenAI convention).

    `input_tokens` INCLUDES cache reads and cache writes; `output_tokens` INCLUDES reasoning. The others are shares of those two.
    `cache_write_tokens` includes `cache_write_1h_tokens`.
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
            other_models=self.other_models + other.other_models,
        )


NO_USAGE = Usage()
