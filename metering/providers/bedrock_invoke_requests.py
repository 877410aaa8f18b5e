"""What the bodies of InvokeModel ask for: the path names the model, the body is in the shape of whoever made it."""

from collections.abc import Iterator
from typing import cast

from metering.call import MediumKind
from metering.providers.anthropic_messages import ANTHROPIC_MESSAGES
from metering.providers.bedrock_converse_requests import read_converse
from metering.providers.media import medium
from metering.providers.openai_requests import read_chat
from metering.providers.requests import PromptBuilder, compact, integer, output_cap, sequence
from metering.providers.shapes import Json, obj, objects, text
from metering.providers.wire import RequestFacts

_CAPS = ("max_tokens", "max_completion_tokens", "max_tokens_to_sample", "max_gen_len", "max_new_tokens", "maxTokens")
_TITAN_DEFAULT = 512
"""What Titan Text writes at most when it is not told."""
_EMBEDDING = ("texts", "inputs", "input_type", "embedding_types", "embeddingTypes", "embeddingConfig", "dimensions", "normalize")
"""Fields of requests that have no output."""
_MEDIA: tuple[tuple[str, MediumKind], ...] = (
    ("image", "image"),
    ("images", "image"),
    ("image_url", "image"),
    ("inputImage", "image"),
    ("init_image", "image"),
    ("audio", "audio"),
    ("video", "video"),
    ("mediaSource", "video"),
)
_ENCODED_IN = ("bytes", "base64String", "data", "url")
_PROSE = frozenset(
    {
        "prompt",
        "negative_prompt",
        "negativeText",
        "text",
        "inputText",
        "inputPrompt",
        "message",
        "preamble",
        "query",
        "value",
        "content",
        "snippet",
        "title",
    }
)
_HOLDERS = frozenset(
    {
        "chat_history",
        "documents",
        "texts",
        "inputs",
        "text_prompts",
        "textToImageParams",
        "imageVariationParams",
        "inPaintingParams",
        "outPaintingParams",
        "singleEmbeddingParams",
        "segmentedEmbeddingParams",
        "queries",
        "sources",
    }
)
_DEEPEST = 12


def read_invoke(body: Json) -> RequestFacts:
    """Read a request. Claude, Nova and the OpenAI-like have shapes that are read elsewhere; the rest is prose in fields of known names."""
    if "messages" in body:
        if "anthropic_version" in body or "anthropic_beta" in body:
            return ANTHROPIC_MESSAGES.read_request(body)
        if "schemaVersion" in body or "inferenceConfig" in body or "toolConfig" in body:
            return read_converse(body, streamed=False)
        return read_chat({name: value for name, value in body.items() if name != "stream"})
    return _read_prose(body)


def _read_prose(body: Json) -> RequestFacts:
    builder = PromptBuilder()
    builder.texts.extend(_prose(body, 0))
    builder.messages = 1 + len(sequence(body, "chat_history")) if "message" in body else 0
    for each in _media(body, 0):
        builder.attach(medium(each[1], kind=each[0]))
    tools = [tool for tool in objects(body.get("tools")) if tool]
    builder.tools = compact(tools, body.get("response_format"))
    return RequestFacts(
        model=None,
        streamed=False,
        max_output_tokens=_cap(body),
        choices=integer(body, "num_generations", "numResults", "n", least=1) or 1,
        prompt=builder.build(),
        tools=tuple(name for tool in tools if (name := text(tool.get("name")) or text(obj(tool.get("function")).get("name")))),
        service_tier=None,
    )


def _cap(body: Json) -> int | None:
    """Return the most tokens that the answer may have; none for embeddings, pictures and rankings."""
    if "taskType" in body or any(name in body for name in _EMBEDDING) or {"query", "documents"} <= body.keys():
        return 0
    cap = output_cap(body, *_CAPS)
    if cap is None and "inputText" in body:
        cap = output_cap(obj(body.get("textGenerationConfig")), "maxTokenCount")
        return _TITAN_DEFAULT if cap is None else cap
    return cap


def _prose(value: object, depth: int, *, prose: bool = False) -> Iterator[str]:
    """Yield the text in fields of known names, wherever they stand."""
    if depth > _DEEPEST:
        raise ValueError(f"the body is nested more than {_DEEPEST} levels deep")
    if isinstance(value, str):
        if prose and value:
            yield value
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _prose(each, depth + 1, prose=prose)
    elif isinstance(value, dict):
        for name, held in cast("Json", value).items():
            if name in _PROSE or name in _HOLDERS:
                yield from _prose(held, depth + 1, prose=True)


def _media(value: object, depth: int) -> Iterator[tuple[MediumKind, str | None]]:
    """Yield the pictures, sounds and films in fields of known names, with their base64 text where it is there."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _media(each, depth + 1)
    elif isinstance(value, dict):
        held = cast("Json", value)
        for name, kind in _MEDIA:
            each = held.get(name)
            for one in cast("list[object]", each) if isinstance(each, list) else (each,):
                if one is not None:
                    yield kind, _encoded(one)
        for name in ("content", *sorted(_HOLDERS)):
            yield from _media(held.get(name), depth + 1)


def _encoded(value: object) -> str | None:
    if isinstance(value, str):
        return value
    held = obj(value)
    held = obj(held.get("source")) or held
    return next((found for name in _ENCODED_IN if (found := text(held.get(name)))), None)
