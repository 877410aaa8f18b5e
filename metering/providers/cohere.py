"""Cohere's chat, v1 and v2, its embeddings and its rerank.

What Cohere counts (`tokens`, with a prompt of its own that nobody sees) and what it charges (`billed_units`) are two numbers: the first
stand as input and output, the second beside them as what is billed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.cohere_requests import read_chat, read_embed, read_rerank
from metering.providers.shapes import Json, count, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage

_DELTAS = ("content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta", "text-generation", "tool-calls-generation")


class Cohere:
    """One endpoint of Cohere; `read_request` makes facts of its requests, and all of them report usage alike."""

    def __init__(self, name: str, read_request: Callable[[Json], RequestFacts]) -> None:
        self.name = name
        self._read_request = read_request

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return self._read_request(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer: v2 streams events, v1 lines."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=_read_events, lines=True)


def _read_body(body: object) -> ReplyFacts:
    answer = obj(body)
    usage = _usage(_counts(answer))
    failed = not usage and set(answer) <= {"id", "message", "detail"} and isinstance(answer.get("message"), str)
    return ReplyFacts(
        usage=usage,
        model=text(answer.get("model")),
        complete=bool(answer),
        error="error" if failed else None,
        output_text="" if usage or failed else "".join(_said(answer)),
    )


def _read_events(events: Events) -> ReplyFacts:
    """Read a stream: `message-end` (v2) or `stream-end` (v1) has the usage."""
    last = next((event for event in reversed(parsed(events.closing)) if _ends(event)), obj(None))
    delta = obj(last.get("delta")) or obj(last.get("response"))
    usage = _usage(_counts(delta))
    facts = ReplyFacts(usage=usage, complete=bool(last))
    if usage is None:
        facts = replace(facts, output_text="".join(_deltas(obj(load(event)) for event in events.kept)))
    if text(delta.get("error")) or text(last.get("finish_reason")) in {"ERROR", "ERROR_TOXIC"}:
        return replace(facts, error=(text(delta.get("error_type")) or "error")[:100])
    return facts


def _ends(event: Json) -> bool:
    return event.get("type") == "message-end" or event.get("event_type") == "stream-end"


def _counts(answer: Json) -> Json:
    """Return `usage` (v2 chat) or `meta` (all else)."""
    return obj(answer.get("usage")) or obj(answer.get("meta"))


def _usage(counts: Json) -> Usage | None:
    billed, tokens = obj(counts.get("billed_units")), obj(counts.get("tokens"))
    billed_in, billed_out = count(billed.get("input_tokens")), count(billed.get("output_tokens"))
    read, written, units = count(tokens.get("input_tokens")), count(tokens.get("output_tokens")), count(billed.get("search_units"))
    images = count(billed.get("images"))
    if all(each is None for each in (billed_in, billed_out, read, written, units, images)):
        return None
    read = billed_in if read is None else read
    return Usage(
        input_tokens=read,
        output_tokens=billed_out if written is None else written,
        cache_read_tokens=count(counts.get("cached_tokens")),
        reasoning_tokens=count(tokens.get("reasoning_tokens")),
        image_input_tokens=count(billed.get("image_tokens")) or count(tokens.get("image_tokens")),
        billed_input_tokens=billed_in,
        billed_output_tokens=billed_out,
        search_units=units,
        images=images,
    )


def _said(answer: Json) -> Iterator[str]:
    message = obj(answer.get("message"))
    for part in objects(message.get("content")):
        yield text(part.get("text")) or text(part.get("thinking")) or ""
    yield text(message.get("tool_plan")) or ""
    yield from _functions(objects(message.get("tool_calls")))
    yield text(answer.get("text")) or ""
    for generation in objects(answer.get("generations")):
        yield text(generation.get("text")) or ""


def _deltas(events: Iterable[Json]) -> Iterator[str]:
    for event in events:
        if (text(event.get("type")) or text(event.get("event_type"))) not in _DELTAS:
            continue
        message = obj(obj(event.get("delta")).get("message"))
        content = obj(message.get("content"))
        yield text(content.get("text")) or text(content.get("thinking")) or ""
        yield text(message.get("tool_plan")) or ""
        yield from _functions([obj(message.get("tool_calls"))])
        yield text(event.get("text")) or ""


def _functions(calls: Iterable[Json]) -> Iterator[str]:
    for call in calls:
        function = obj(call.get("function"))
        yield from (said for name in ("name", "arguments") if (said := text(function.get(name))))


COHERE_CHAT = Cohere("cohere.chat", read_chat)
COHERE_EMBED = Cohere("cohere.embed", read_embed)
COHERE_RERANK = Cohere("cohere.rerank", read_rerank)
