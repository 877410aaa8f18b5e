"""Amazon Bedrock's Converse and ConverseStream: one shape over the models of all makers."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import orjson

from metering.providers.bedrock_answers import NO_HEADERS, BedrockReader, Messages, error_of, payload
from metering.providers.bedrock_converse_requests import read_converse
from metering.providers.bedrock_counts import converse_counts
from metering.providers.shapes import Json, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts


class BedrockConverse:
    """`POST /model/…/converse` and `/converse-stream`: the path, not the body, asks for a stream."""

    def __init__(self, name: str, *, streamed: bool) -> None:
        self.name = name
        self._streamed = streamed

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return read_converse(body, streamed=self._streamed)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer."""
        return self.reader_with(provider=provider, content_type=content_type, headers=NO_HEADERS)

    def reader_with(self, *, provider: str, content_type: str | None, headers: Mapping[str, str]) -> ReplyReader:  # noqa: ARG002  # the bytes tell
        """Return a reader for one answer with these headers."""
        return BedrockReader(read_body=partial(_read_body, headers), read_stream=_read_stream)


def _read_body(headers: Mapping[str, str], body: bytes) -> ReplyFacts:
    answer = obj(load(body))
    usage = converse_counts(obj(answer.get("usage"))).onto()
    content = obj(obj(answer.get("output")).get("message")).get("content")
    return ReplyFacts(
        usage=usage,
        model=_routed_model(answer),
        complete=bool(answer),
        error=error_of(answer, headers),
        output_text="" if usage else "".join(spoken(content)),
        service_tier=text(obj(answer.get("serviceTier")).get("type")),
    )


def _read_stream(messages: Messages) -> ReplyFacts:
    last = [payload(message) for message in messages.closing]
    metadata = next((event for event in reversed(last) if obj(event.get("usage"))), obj(None))
    usage = converse_counts(obj(metadata.get("usage"))).onto()
    return ReplyFacts(
        usage=usage,
        model=_routed_model(metadata),
        complete=bool(metadata) or any("stopReason" in event for event in last),
        error=messages.error,
        output_text="" if usage else "".join(delta_texts(payload(message) for message in messages.kept)),
        service_tier=text(obj(metadata.get("serviceTier")).get("type")),
    )


def _routed_model(answer: Json) -> str | None:
    """Return the model that a prompt router chose; no other answer names one."""
    return text(obj(obj(answer.get("trace")).get("promptRouter")).get("invokedModelId"))


def delta_texts(events: Iterable[Json]) -> Iterator[str]:
    """Yield what the events of a stream say: text, reasoning, names and input of tools."""
    for event in events:
        tool = obj(obj(event.get("start")).get("toolUse"))
        delta = obj(event.get("delta"))
        asked = obj(delta.get("toolUse"))
        reasoning = obj(delta.get("reasoningContent"))
        said = (tool.get("name"), delta.get("text"), asked.get("input"), reasoning.get("text"))
        yield from (found for each in said if (found := text(each)))


def spoken(content: object) -> Iterator[str]:
    """Yield what the content blocks of an answer say."""
    for block in objects(content):
        tool = obj(block.get("toolUse"))
        reasoning = obj(obj(block.get("reasoningContent")).get("reasoningText"))
        yield from (found for each in (block.get("text"), reasoning.get("text"), tool.get("name")) if (found := text(each)))
        if tool:
            yield orjson.dumps(tool.get("input")).decode()
        for part in objects(obj(block.get("citationsContent")).get("content")):
            yield from (found for each in (part.get("text"),) if (found := text(each)))


BEDROCK_CONVERSE = BedrockConverse("bedrock.converse", streamed=False)
BEDROCK_CONVERSE_STREAM = BedrockConverse("bedrock.converse_stream", streamed=True)
