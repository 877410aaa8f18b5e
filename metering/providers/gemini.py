"""Gemini's generateContent and streamGenerateContent, at Google AI Studio and at Vertex AI."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.gemini_requests import read_generate
from metering.providers.gemini_usage import generate_usage, service_tier
from metering.providers.requests import compact
from metering.providers.shapes import Json, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts


class GeminiGenerate:
    """`POST …/models/M:generateContent`, and `:streamGenerateContent` where it is `streamed`."""

    def __init__(self, name: str, *, streamed: bool) -> None:
        self.name = name
        self._streamed = streamed

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return replace(read_generate(body), streamed=self._streamed)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # both who serve Gemini count alike
        """Return a reader for one answer: a document, events (`alt=sse`) or, without that, one JSON array that grows."""
        return AnswerReader(
            content_type=content_type,
            read_body=partial(_read_body, streamed=self._streamed),
            read_events=_read_events,
            counted_in="usageMetadata",
        )


def _read_body(body: object, *, streamed: bool) -> ReplyFacts:
    if isinstance(body, list):
        chunks = list(objects(cast("object", body)))
        return _facts(chunks, chunks, complete=any(map(_is_last, chunks)))
    answer = obj(body)
    return _facts([answer], [answer], complete=_is_last(answer) or (bool(answer) and not streamed))


def _read_events(events: Events) -> ReplyFacts:
    """Read the last chunk whole: each has the counts so far, and they fall too when Google's own tools run."""
    chunks = [*parsed(events.opening), *parsed(events.usages), *parsed(events.closing)]
    complete = any(map(_is_last, chunks))
    facts = _facts(chunks, (obj(load(event)) for event in events.kept), complete=complete)
    if facts.error or events.error is None:
        return facts
    return replace(facts, error=_error(obj(load(events.error))))


def _facts(chunks: Sequence[Json], kept: Iterable[Json], *, complete: bool) -> ReplyFacts:
    """Make facts of chunks in order; `kept` are those with the text, looked at only when the counts are not the last ones."""
    reporting = next((found for chunk in reversed(chunks) if (found := obj(chunk.get("usageMetadata")))), obj(None))
    usage = generate_usage(reporting, chunks) if reporting else None
    if usage and usage.is_empty and not complete:
        usage = None  # Vertex begins with the type of the traffic alone
    return ReplyFacts(
        usage=usage,
        model=next((name for chunk in chunks if (name := text(chunk.get("modelVersion")))), None),
        complete=complete,
        error=next((error for chunk in chunks if (error := _error(chunk))), None),
        output_text="" if usage and complete else "".join(_said(kept)),
        service_tier=service_tier(reporting),
        running=bool(usage) and not complete,
    )


def _is_last(chunk: Json) -> bool:
    blocked = text(obj(chunk.get("promptFeedback")).get("blockReason"))
    return bool(blocked) or any(text(candidate.get("finishReason")) for candidate in objects(chunk.get("candidates")))


def _error(chunk: Json) -> str | None:
    """Return the type of an error, or why the prompt was blocked."""
    error = obj(chunk.get("error"))
    if error:
        return text(error.get("status")) or error_type(error)
    return text(obj(chunk.get("promptFeedback")).get("blockReason"))


def _said(chunks: Iterable[Json]) -> Iterator[str]:
    for chunk in chunks:
        for candidate in objects(chunk.get("candidates")):
            for part in objects(obj(candidate.get("content")).get("parts")):
                yield text(part.get("text")) or ""
                yield text(obj(part.get("executableCode")).get("code")) or ""
                if call := obj(part.get("functionCall")):
                    yield text(call.get("name")) or ""
                    yield compact(call.get("args")).decode()


GEMINI_GENERATE = GeminiGenerate("gemini.generate_content", streamed=False)
GEMINI_STREAM = GeminiGenerate("gemini.stream_generate_content", streamed=True)
