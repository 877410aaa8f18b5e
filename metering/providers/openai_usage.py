"""The usage objects of OpenAI-shaped APIs, with what each provider does differently."""

from decimal import ROUND_HALF_EVEN, Decimal

from metering.providers.shapes import Json, amount, count, first_count, obj, text
from metering.units import NANO
from metering.usage import Usage

_TICKS_PER_NANO = 10
"""xAI counts in ten-billionths of a dollar."""


def chat_usage(usage: Json, *, provider: str, model: str | None) -> Usage | None:
    """Return the usage of chat completions, completions or embeddings; None when the object counts nothing."""
    prompt, completion, total = (count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    if prompt is None and completion is None:
        if total is None:
            return None
        prompt = total  # Voyage reports the total alone, and embeddings are all input.
    took = _input_details(usage)
    gave = obj(usage.get("completion_tokens_details")) or obj(usage.get("completion_token_details"))
    reasoning = first_count(gave.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    audio = count(took.get("audio_tokens"))
    if prompt is not None and completion is not None and audio and total == prompt + audio + completion:
        prompt += audio  # Mistral counts audio beside the prompt.
    return Usage(
        input_tokens=prompt,
        output_tokens=_output(completion, prompt=prompt, total=total, reasoning=reasoning, names=(provider, model or "")),
        cache_read_tokens=_within(_cache_read(usage, took), prompt),
        cache_write_tokens=_within(first_count(took.get("cache_write_tokens"), usage.get("cache_creation_input_tokens")), prompt),
        reasoning_tokens=reasoning,
        audio_input_tokens=audio,
        audio_output_tokens=count(gave.get("audio_tokens")),
        image_input_tokens=count(took.get("image_tokens")),
        image_output_tokens=count(gave.get("image_tokens")),
        web_searches=count(obj(usage.get("server_tool_use_details")).get("web_search_requests")),
    )


def _input_details(usage: Json) -> Json:
    return obj(usage.get("prompt_tokens_details")) or obj(usage.get("prompt_token_details"))


def _cache_read(usage: Json, took: Json) -> int | None:
    return first_count(
        took.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),  # DeepSeek
        usage.get("cached_tokens"),  # Together, Hugging Face
        usage.get("cache_read_input_tokens"),  # Databricks
    )


def _within(share: int | None, whole: int | None) -> int | None:
    """Return a share that is no more than the whole: Azure's Grok counts a hidden cached prompt that is not in the prompt tokens."""
    return share if share is None or whole is None else min(share, whole)


def _output(completion: int | None, *, prompt: int | None, total: int | None, reasoning: int | None, names: tuple[str, str]) -> int | None:
    """Return the output with reasoning. Most providers include it; the sum tells who does not.

    xAI: total = prompt + completion + reasoning. Gemini behind its OpenAI door reports thinking in the total alone.
    Vercel's gateway leaves Gemini's thinking out of both (its own cost fits only when it is added).
    """
    provider, model = names
    if completion is None or prompt is None:
        return completion
    if provider == "gcp.gemini" and total is not None and total > prompt + completion:
        return total - prompt
    if not reasoning:
        return completion
    if total == prompt + completion + reasoning:
        return completion + reasoning
    if provider == "vercel" and model.startswith("google/"):
        return completion + reasoning
    return completion


def responses_usage(usage: Json) -> Usage | None:
    """Return the usage of the Responses API: input includes cached, output includes reasoning, at every provider seen."""
    took, gave = obj(usage.get("input_tokens_details")), obj(usage.get("output_tokens_details"))
    read, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if read is None and written is None:
        return None
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cache_read_tokens=_within(count(took.get("cached_tokens")), read),
        cache_write_tokens=_within(count(took.get("cache_write_tokens")), read),
        reasoning_tokens=count(gave.get("reasoning_tokens")),
        audio_input_tokens=count(took.get("audio_tokens")),
        audio_output_tokens=count(gave.get("audio_tokens")),
        image_input_tokens=count(took.get("image_tokens")),
        image_output_tokens=count(gave.get("image_tokens")),
        web_searches=count(obj(usage.get("server_side_tool_usage_details")).get("web_search_calls")),
    )


def reported_cost(usage: Json, *, provider: str) -> int | None:
    """Return the provider's own price of the call in nano-dollars, where it states one."""
    if provider == "x_ai":
        ticks = count(usage.get("cost_in_usd_ticks"))
        return None if ticks is None else int((Decimal(ticks) / _TICKS_PER_NANO).quantize(Decimal(1), ROUND_HALF_EVEN))
    if provider == "perplexity":
        return _nano(amount(obj(usage.get("cost")).get("total_cost")))
    if provider not in {"openrouter", "vercel"}:
        return None
    cost = amount(usage.get("cost"))
    if cost is not None and usage.get("is_byok") is True:
        cost += amount(obj(usage.get("cost_details")).get("upstream_inference_cost")) or 0
    return _nano(cost)


def _nano(dollars: Decimal | None) -> int | None:
    return None if dollars is None else int((dollars * NANO).quantize(Decimal(1), ROUND_HALF_EVEN))


def usage_of(event: Json) -> Json:
    """Return the usage object of a chat body or chunk; Groq's streams have it under `x_groq` when they were not asked."""
    return obj(event.get("usage")) or obj(obj(event.get("x_groq")).get("usage"))


def model_of(*events: Json) -> str | None:
    """Return the first model that an event names (Azure's first chunk names an empty one)."""
    return next((name for event in events if (name := text(event.get("model")))), None)
