"""Amazon Bedrock's InvokeModel: each maker's own shape, with the tokens counted by Bedrock in headers or in the last chunk."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from metering.eventstream import Message
from metering.providers.anthropic_messages import ANTHROPIC_MESSAGES
from metering.providers.bedrock_answers import NO_HEADERS, BedrockReader, Messages, error_of, payload
from metering.providers.bedrock_converse import delta_texts, spoken
from metering.providers.bedrock_counts import Counts, converse_counts, corrected, filled, header_counts, metric_counts
from metering.providers.bedrock_invoke_requests import read_invoke
from metering.providers.openai_chat import OPENAI_CHAT
from metering.providers.openai_usage import chat_usage
from metering.providers.shapes import Json, count, items, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts, WireFormat
from metering.reading import ReplyFacts
from metering.usage import Usage

_METRICS = "amazon-bedrock-invocationMetrics"
_TEXTS = ("generation", "outputText", "completion", "text")
"""Llama, Titan, Claude 2 and Cohere."""
_LISTS = ("outputs", "results", "generations", "completions")
"""Mistral, Titan, Cohere and AI21."""


class BedrockInvoke:
    """`POST /model/…/invoke` and `/invoke-with-response-stream`: the path, not the body, asks for a stream."""

    def __init__(self, name: str, *, streamed: bool) -> None:
        self.name = name
        self._streamed = streamed

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return replace(read_invoke(body), streamed=self._streamed)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer."""
        return self.reader_with(provider=provider, content_type=content_type, headers=NO_HEADERS)

    def reader_with(self, *, provider: str, content_type: str | None, headers: Mapping[str, str]) -> ReplyReader:  # noqa: ARG002  # the bytes tell
        """Return a reader for one answer with these headers."""
        return BedrockReader(read_body=partial(_read_body, provider, headers), read_stream=partial(_read_stream, provider))


def _read_body(provider: str, headers: Mapping[str, str], body: bytes) -> ReplyFacts:
    """Read a maker's body; what it does not count, the headers do."""
    answer = obj(load(body))
    if wire := _wire_of(answer):
        facts = _read_as(wire, provider, (body,), content_type="application/json")
    else:
        usage = _own_counts(answer, provider).onto()
        facts = ReplyFacts(usage=usage, complete=bool(answer), output_text="" if usage else "".join(_own_texts(answer)))
    usage = filled(Counts.of(facts.usage), header_counts(headers)).onto(facts.usage) or _drawn(answer)
    return replace(
        facts,
        usage=usage,
        output_text="" if usage else facts.output_text,
        error=facts.error or error_of(answer, headers),
        service_tier=headers.get("x-amzn-bedrock-service-tier") or facts.service_tier,
    )


def _drawn(answer: Json) -> Usage | None:
    """Return how many pictures came (Nova Canvas, Titan, Stability): nothing else counts them."""
    drawn = len(items(answer.get("images")) or items(answer.get("artifacts")))
    return Usage(images=drawn) if drawn else None


def _read_stream(provider: str, messages: Messages) -> ReplyFacts:
    """Read a stream. Bedrock's own metrics in the last chunk have the last word on what they count."""
    ends = [chunk for message in messages.ends if (chunk := _chunk(message))]
    parsed = [obj(load(chunk)) for chunk in ends]
    metrics = next((event for event in reversed(parsed) if _METRICS in event), None)
    if metrics is None:
        facts = _read_chunks(provider, [chunk for message in messages.kept if (chunk := _chunk(message))])
        return replace(facts, error=facts.error or messages.error)
    facts = _read_chunks(provider, ends)
    usage = corrected(Counts.of(facts.usage), metric_counts(metrics)).onto(facts.usage)
    return replace(
        facts,
        usage=usage,
        also=_other(facts.usage, usage),
        complete=True,
        output_text="" if usage else facts.output_text,
        error=facts.error or messages.error,
    )


def _other(said: Usage | None, usage: Usage | None) -> Usage | None:
    """Return what the maker's events count where the metrics count otherwise (tool use, thinking): which of them is charged is not told."""
    if said is None or usage is None or said.input_tokens is None or said.output_tokens is None:
        return None
    return None if (said.input_tokens, said.output_tokens) == (usage.input_tokens, usage.output_tokens) else said


def _chunk(message: Message) -> bytes:
    """Return the maker's own JSON inside a `chunk` event; nothing where there is none."""
    encoded = text(payload(message).get("bytes"))
    if encoded is None:
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _read_chunks(provider: str, chunks: Sequence[bytes]) -> ReplyFacts:
    events = [obj(load(chunk)) for chunk in chunks]
    if wire := next((found for event in events if (found := _wire_of(event))), None):
        lines = (b"data: " + chunk.replace(b"\n", b" ") + b"\n\n" for chunk in chunks)
        return _read_as(wire, provider, lines, content_type="text/event-stream")
    counts = Counts()
    for event in events:
        counts = _own_counts(event, provider).over(counts)
    usage = counts.onto()
    said = () if usage and usage.output_tokens is not None else (said for event in events for said in _own_texts(event))
    return ReplyFacts(usage=usage, complete=any(map(_ended, events)), output_text="".join(said))


def _wire_of(answer: Json) -> WireFormat | None:
    """Return the format that a body or chunk is in, where its maker has one of its own that is read elsewhere."""
    if text(answer.get("type")) in {"message", "message_start", "message_delta"}:
        return ANTHROPIC_MESSAGES
    return OPENAI_CHAT if "choices" in answer else None


def _read_as(wire: WireFormat, provider: str, pieces: Iterable[bytes], *, content_type: str) -> ReplyFacts:
    reader = wire.reader(provider=provider, content_type=content_type)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def _own_counts(answer: Json, provider: str) -> Counts:
    """Return what the makers without a format of their own count: Llama, Titan, Nova, Cohere. Much may be missing."""
    usage = obj(answer.get("usage")) or obj(obj(answer.get("metadata")).get("usage"))
    if "prompt_tokens" in usage or "total_tokens" in usage:
        return Counts.of(chat_usage(usage, provider=provider, model=None))
    billed = obj(obj(answer.get("meta")).get("billed_units")) or obj(usage.get("billed_units"))
    named = Counts(fresh=count(billed.get("input_tokens")), output=count(billed.get("output_tokens")))
    llama = Counts(fresh=count(answer.get("prompt_token_count")), output=count(answer.get("generation_token_count")))
    titan = Counts(fresh=count(answer.get("inputTextTokenCount")), output=_titan_output(answer))
    return converse_counts(usage).over(llama).over(titan).over(named)


def _titan_output(answer: Json) -> int | None:
    results = [number for result in objects(answer.get("results")) if (number := count(result.get("tokenCount"))) is not None]
    return sum(results) if results else count(answer.get("totalOutputTextTokenCount"))


def _ended(event: Json) -> bool:
    """Whether a chunk says that it is the last with text: Llama, Titan, Cohere, Mistral, Nova."""
    reasons = (event.get("stop_reason"), event.get("completionReason"), obj(event.get("messageStop")).get("stopReason"))
    inside = (output.get("stop_reason") for output in objects(event.get("outputs")))
    return event.get("is_finished") is True or any(text(reason) for reason in (*reasons, *inside))


def _own_texts(answer: Json) -> Iterator[str]:
    yield from (said for name in _TEXTS if (said := text(answer.get(name))))
    for name in _LISTS:
        for each in objects(answer.get(name)):
            yield from (said for key in ("text", "outputText") if (said := text(each.get(key)) or text(obj(each.get("data")).get(key))))
    yield from delta_texts((obj(answer.get("contentBlockStart")), obj(answer.get("contentBlockDelta"))))
    yield from spoken(obj(obj(answer.get("output")).get("message")).get("content"))


BEDROCK_INVOKE = BedrockInvoke("bedrock.invoke", streamed=False)
BEDROCK_INVOKE_STREAM = BedrockInvoke("bedrock.invoke_stream", streamed=True)
