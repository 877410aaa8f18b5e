"""OpenAI chat completions, as OpenAI and all who copied it write them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import cast

import orjson

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.openai_requests import read_chat
from metering.providers.openai_responses import OPENAI_RESPONSES
from metering.providers.openai_usage import chat_usage, model_of, reported_cost, usage_of
from metering.providers.shapes import Json, error_type, first_text, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts

_TEXTS = ("reasoning_content", "reasoning", "refusal", "text")


class OpenAiChat:
    """`POST …/chat/completions`."""

    name = "openai.chat"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return read_chat(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer."""
        return AnswerReader(
            content_type=content_type,
            read_body=partial(_read_body, provider),
            read_events=partial(_read_events, provider),
        )


def _read_body(provider: str, body: object) -> ReplyFacts:
    answer = obj(body) or next(objects(body), obj(None))  # Gemini's errors come as a list of one.
    if answer.get("object") == "response":
        return OPENAI_RESPONSES.read_body(provider, answer)
    return _facts(provider, answer, (answer,), complete=bool(answer), models=(answer,))


def _read_events(provider: str, events: Events) -> ReplyFacts:
    opening, closing = parsed(events.opening), parsed(events.closing)
    if any((text(event.get("type")) or "").startswith("response.") for event in (*opening, *closing)):
        return OPENAI_RESPONSES.read_events(provider, events)
    reporting = next((event for event in reversed(parsed(events.usages)) if usage_of(event)), obj(None))
    facts = _facts(
        provider,
        reporting,
        () if usage_of(reporting) else (obj(load(event)) for event in events.kept),
        complete=events.done or any(_finished(event) for event in closing),
        models=(reporting, *closing, *opening),
    )
    if facts.error or events.error is None:
        return facts
    return replace(facts, error=error_type(obj(load(events.error)).get("error")))


def _facts(provider: str, reporting: Json, texts: Iterable[Json], *, complete: bool, models: tuple[Json, ...]) -> ReplyFacts:
    model = model_of(*models)
    counted = usage_of(reporting)
    usage = chat_usage(counted, provider=provider, model=model) if counted else None
    return ReplyFacts(
        usage=usage,
        model=model,
        complete=complete,
        error=error_type(reporting.get("error")),
        output_text="" if usage else "".join(_output(texts)),
        reported_cost_nano=reported_cost(counted, provider=provider),
        service_tier=first_text("service_tier", *models) or _tier(counted),
    )


def _tier(counted: Json) -> str | None:
    """Return what the usage says of how the call was served; Perplexity's fee goes by how much it searched."""
    return text(counted.get("service_tier")) or text(counted.get("search_context_size"))


def _finished(event: Json) -> bool:
    return any(text(choice.get("finish_reason")) for choice in objects(event.get("choices")))


def _output(events: Iterable[Json]) -> Iterator[str]:
    for event in events:
        for choice in objects(event.get("choices")):
            message = obj(choice.get("delta")) or obj(choice.get("message"))
            yield from _content(message.get("content"))
            yield from (said for name in _TEXTS if (said := text(message.get(name)) or text(choice.get(name))))
            for call in objects(message.get("tool_calls")):
                function = obj(call.get("function"))
                yield from (said for name in ("name", "arguments") if (said := text(function.get(name))))


def _content(content: object) -> Iterator[str]:
    """Yield the text of a string, of Mistral's list of chunks, or of the object that Cloudflare answers to a schema."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        yield orjson.dumps(cast("object", content)).decode()
    else:
        for chunk in objects(content):
            yield from _content(chunk.get("text") or chunk.get("thinking"))


OPENAI_CHAT = OpenAiChat()
