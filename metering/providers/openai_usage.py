"""The usage objects of OpenAI-shaped APIs, with what each provider does differently."""

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from metering.providers.shapes import Json, amount, count, first_count, first_text, obj
from metering.units import NANO
from metering.usage import Usage

_TICKS_PER_NANO = 10
"""xAI counts in ten-billionths of a dollar."""


def chat_usage(usage: Json, *, provider: str, model: str | None) -> Usage | None:
    """Return the usage of chat completions, completions or embeddings; None when the object counts nothing."""
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens"))
    if prompt is None and completion is None:
        if total is None:
            return None
        prompt = total  # Voyage reports the total alone, and embeddings are all input.
    took = _input_details(usage)
    gave = obj(usage.get("completion_tokens_details")) or obj(usage.get("completion_token_details"))
    reasoning = first_count(gave.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    audio = count(took.get("audio_tokens"))
    return Usage(
        input_tokens=prompt,
        output_tokens=_output(completion, prompt=prompt, total=total, reasoning=reasoning, names=(provider, model or "")),
        cache_read_tokens=_cache_read(usage, took),
        cache_write_tokens=first_count(took.get("cache_write_tokens"), usage.get("cache_creation_input_tokens")),
        reasoning_tokens=reasoning,
        audio_input_tokens=audio,
        audio_output_tokens=count(gave.get("audio_tokens")),
        image_input_tokens=count(took.get("image_tokens")),
        image_output_tokens=count(gave.get("image_tokens")),
        billed_input_tokens=_billed_input(prompt, completion, total=total, audio=audio),
        billed_output_tokens=_billed_output(prompt, completion, total=total, provider=provider),
        seconds=count(usage.get("prompt_audio_seconds")),
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


def _billed_input(prompt: int | None, completion: int | None, *, total: int | None, audio: int | None) -> int | None:
    """Return the input that the total proves: Mistral counts audio beside the prompt."""
    if prompt is None or not audio or total != prompt + audio + (completion or 0):
        return None
    return prompt + audio


def _billed_output(prompt: int | None, completion: int | None, *, total: int | None, provider: str) -> int | None:
    """Return the output that the total proves: Gemini behind its OpenAI door reports thinking in the total alone."""
    if provider not in {"gcp.gemini", "gcp.vertex_ai"} or prompt is None or completion is None or total is None:
        return None
    return total - prompt if total > prompt + completion else None


def _output(completion: int | None, *, prompt: int | None, total: int | None, reasoning: int | None, names: tuple[str, str]) -> int | None:
    """Return the output with reasoning. Most providers include it; the sum tells who does not.

    xAI: total = prompt + completion + reasoning.
    Vercel's gateway leaves Gemini's thinking out of both (its own cost fits only when it is added).
    """
    provider, model = names
    if completion is None or prompt is None:
        return completion
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
        cache_read_tokens=count(took.get("cached_tokens")),
        cache_write_tokens=count(took.get("cache_write_tokens")),
        reasoning_tokens=count(gave.get("reasoning_tokens")),
        audio_input_tokens=count(took.get("audio_tokens")),
        audio_output_tokens=count(gave.get("audio_tokens")),
        image_input_tokens=count(took.get("image_tokens")),
        image_output_tokens=count(gave.get("image_tokens")),
        web_searches=count(obj(usage.get("server_side_tool_usage_details")).get("web_search_calls")),
    )


def media_usage(usage: Json) -> Usage | None:
    """Return the usage of transcriptions, speech and pictures: tokens with details by what they stand for, or seconds of sound."""
    if usage.get("type") == "duration" or ("seconds" in usage and "input_tokens" not in usage):
        seconds = amount(usage.get("seconds"))
        return None if seconds is None else Usage(seconds=int(seconds.to_integral_value(ROUND_CEILING)))
    found = responses_usage(usage)
    took = obj(usage.get("input_token_details"))
    if found is None or not took:
        return found
    return replace(
        found,
        cache_read_tokens=count(took.get("cached_tokens")),
        audio_input_tokens=count(took.get("audio_tokens")),
        image_input_tokens=count(took.get("image_tokens")),
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
    return first_text("model", *events)
