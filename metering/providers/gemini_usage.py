"""The usage objects of Google's APIs."""

from collections.abc import Iterable, Mapping

from metering.providers.shapes import Json, count, items, obj, objects, text
from metering.usage import Usage

_MODALITIES = {1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}
"""Modalities by their number in the protocol: what comes through gRPC may write that instead of the name."""
_TRAFFIC = {"ON_DEMAND": "standard", "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}


def generate_usage(usage: Json, chunks: Iterable[Json] = ()) -> Usage:
    """Return the usage of generateContent. Each count may be missing, all of them when Model Armor blocks.

    The prompt includes what was cached and leaves out what Google's tools brought in; the candidates leave out the thoughts.
    """
    took = _modalities(usage, "promptTokensDetails", "promptTokenDetails", "toolUsePromptTokensDetails")
    gave = _modalities(usage, "candidatesTokensDetails", "responseTokensDetails")
    thoughts = count(usage.get("thoughtsTokenCount"))
    candidates = count(usage.get("candidatesTokenCount"))
    if candidates is None:
        candidates = count(usage.get("responseTokenCount"))
    return Usage(
        input_tokens=added(count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount"))),
        output_tokens=added(candidates, thoughts),
        cache_read_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        audio_input_tokens=took.get("AUDIO"),
        audio_output_tokens=gave.get("AUDIO"),
        image_input_tokens=took.get("IMAGE"),
        image_output_tokens=gave.get("IMAGE"),
        web_searches=_searches(chunks),
    )


def interaction_usage(usage: Json) -> Usage | None:
    """Return the usage of the Interactions API. Its total tells whether thoughts and tools stand inside the other counts."""
    read, written = count(usage.get("total_input_tokens")), count(usage.get("total_output_tokens"))
    if read is None and written is None:
        return None
    thoughts, tools = count(usage.get("total_thought_tokens")), count(usage.get("total_tool_use_tokens"))
    total, base = count(usage.get("total_tokens")), (read or 0) + (written or 0)
    outside_tools = total not in {base, base + (thoughts or 0)} or not tools
    outside_thoughts = total not in {base, base + (tools or 0)} or not thoughts
    return Usage(
        input_tokens=added(read, tools if outside_tools else None),
        output_tokens=added(written, thoughts if outside_thoughts else None),
        cache_read_tokens=count(usage.get("total_cached_tokens")),
        reasoning_tokens=thoughts,
    )


def embed_usage(answer: Json) -> Usage | None:
    """Return the usage of an embedding; older models report none."""
    usage = obj(answer.get("usageMetadata"))
    read = count(usage.get("promptTokenCount"))
    if read is None:
        read = count(usage.get("totalTokenCount"))
    return None if read is None else Usage(input_tokens=read)


def predict_usage(answer: Json) -> Usage | None:
    """Return the usage of :predict: embeddings count each prediction apart, text models once for all; pictures are counted off."""
    counts = [_token_count(prediction) for prediction in objects(answer.get("predictions"))]
    known = [tokens for tokens in counts if tokens is not None]
    if known:
        return Usage(input_tokens=sum(known))
    metadata = obj(obj(answer.get("metadata")).get("tokenMetadata"))
    read = count(obj(metadata.get("inputTokenCount")).get("totalTokens"))
    written = count(obj(metadata.get("outputTokenCount")).get("totalTokens"))
    if read is None and written is None:
        drawn = sum("bytesBase64Encoded" in prediction or "gcsUri" in prediction for prediction in objects(answer.get("predictions")))
        return Usage(images=drawn) if drawn else None
    return Usage(input_tokens=read, output_tokens=written)


def service_tier(usage: Json) -> str | None:
    """Return the tier that served a call, in the words that requests use."""
    if tier := text(usage.get("serviceTier")):
        return tier.lower().removeprefix("service_tier_")
    traffic = text(usage.get("trafficType"))
    return _TRAFFIC.get(traffic, traffic.lower()) if traffic else None


def added(first: int | None, second: int | None) -> int | None:
    """Return a sum of counts; None when both are unknown."""
    return None if first is None and second is None else (first or 0) + (second or 0)


def _token_count(prediction: Json) -> int | None:
    return count(obj(obj(prediction.get("embeddings")).get("statistics")).get("token_count"))


def _modalities(usage: Json, *names: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name in names:
        for detail in objects(usage.get(name)):
            modality, tokens = detail.get("modality"), count(detail.get("tokenCount"))
            named = _MODALITIES.get(modality) if isinstance(modality, int) else text(modality)
            if named and tokens is not None:
                found[named] = found.get(named, 0) + tokens
    return found


def _searches(chunks: Iterable[Json]) -> int | None:
    """Return how many searches the answer is grounded on."""
    queries = {
        query
        for chunk in chunks
        for candidate in objects(chunk.get("candidates"))
        for query in items(obj(candidate.get("groundingMetadata")).get("webSearchQueries"))
        if isinstance(query, str) and query
    }
    return len(queries) or None
