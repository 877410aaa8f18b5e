"""Ollama's own API: chat, generate and embeddings."""

from collections.abc import Callable, Iterable, Iterator
from typing import cast

from metering.call import Medium
from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.cohere_requests import without_output
from metering.providers.requests import PromptBuilder, compact, mapping, output_cap, sequence, string, tool_names
from metering.providers.shapes import Json, count, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage


class Ollama:
    """One endpoint of Ollama; `read_request` makes facts of its requests."""

    def __init__(self, name: str, read_request: Callable[[Json], RequestFacts]) -> None:
        self.name = name
        self._read_request = read_request

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return self._read_request(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer: lines of JSON, or one document."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=_read_events, lines=True)


def read_chat(body: Json) -> RequestFacts:
    """Read a request to /api/chat. Without messages it only loads or unloads a model."""
    builder = PromptBuilder()
    for each in sequence(body, "messages"):
        message = mapping(each, "each of `messages`")
        builder.messages += 1
        builder.answers += string(message, "role") == "assistant"
        builder.add(string(message, "content"), system=string(message, "role") == "system")
        builder.add(string(message, "thinking"))
        for call in sequence(message, "tool_calls"):
            function = obj(mapping(call, "each of `tool_calls`").get("function"))
            builder.calls += 1
            builder.add([string(function, "name") or "", compact(function.get("arguments")).decode()])
        _add_images(builder, message)
    return _generating(body, builder)


def read_generate(body: Json) -> RequestFacts:
    """Read a request to /api/generate."""
    builder = PromptBuilder()
    builder.add(string(body, "system"), system=True)
    for name in ("prompt", "suffix", "template"):
        builder.add(string(body, name))
    builder.messages = 1 if "prompt" in body and body.get("raw") is not True else 0
    builder.stored = body.get("context") is not None
    _add_images(builder, body)
    return _generating(body, builder)


def read_embed(body: Json) -> RequestFacts:
    """Read a request to /api/embed or /api/embeddings."""
    builder = PromptBuilder()
    builder.add(body.get("input"))
    builder.add(string(body, "prompt"))
    return without_output(body, builder)


def _add_images(builder: PromptBuilder, message: Json) -> None:
    for _ in sequence(message, "images"):
        builder.attach(Medium(kind="image"))


def _generating(body: Json, builder: PromptBuilder) -> RequestFacts:
    tools = sequence(body, "tools")
    builder.tools = compact(tools, obj(body.get("format")))
    options = body.get("options")
    settings = cast("Json", {}) if options is None else mapping(options, "`options`")
    return RequestFacts(
        model=string(body, "model"),
        streamed=body.get("stream") is not False,
        max_output_tokens=output_cap(settings, "num_predict"),
        choices=1,
        prompt=builder.build(),
        tools=tool_names(tools),
        service_tier=None,
    )


def _read_body(body: object) -> ReplyFacts:
    answer = obj(body)
    return _facts((answer,), (answer,), complete=bool(answer) and answer.get("done") is not False)


def _read_events(events: Events) -> ReplyFacts:
    """Read a stream: the last line has the counts. A prompt that was cached whole is not counted at all."""
    lines = parsed(events.closing)
    last = [line for line in lines if line.get("done") is True]
    return _facts(last or lines or (obj(None),), (obj(load(line)) for line in events.kept), complete=bool(last))


def _facts(ends: Iterable[Json], lines: Iterable[Json], *, complete: bool) -> ReplyFacts:
    last = list(ends)[-1]
    read, written = count(last.get("prompt_eval_count")), count(last.get("eval_count"))
    usage = None if read is None and written is None else Usage(input_tokens=read, output_tokens=written)
    return ReplyFacts(
        usage=usage,
        model=text(last.get("model")),
        complete=complete,
        error=error_type(last.get("error")),
        output_text="" if usage else "".join(_said(lines)),
    )


def _said(lines: Iterable[Json]) -> Iterator[str]:
    for line in lines:
        message = obj(line.get("message"))
        yield text(line.get("response")) or ""
        yield from (said for name in ("thinking", "content") if (said := text(message.get(name))))
        for call in objects(message.get("tool_calls")):
            function = obj(call.get("function"))
            yield (text(function.get("name")) or "") + compact(function.get("arguments")).decode()


OLLAMA_CHAT = Ollama("ollama.chat", read_chat)
OLLAMA_GENERATE = Ollama("ollama.generate", read_generate)
OLLAMA_EMBED = Ollama("ollama.embed", read_embed)
