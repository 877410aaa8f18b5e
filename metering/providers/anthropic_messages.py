"""Anthropic's Messages API."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.requests import PromptBuilder, compact, flag, mapping, output_cap, sequence, server_tools, string, tool_names
from metering.providers.shapes import Json, count, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage


class AnthropicMessages:
    """`POST …/v1/messages`."""

    name = "anthropic.messages"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        if "messages" not in body:
            raise ValueError("a messages request needs `messages`")
        builder = PromptBuilder()
        builder.add(body.get("system"), system=True)
        for each in sequence(body, "messages"):
            message = mapping(each, "each of `messages`")
            role = string(message, "role")
            builder.messages += 1
            builder.answers += role == "assistant"
            builder.add(message.get("content"), system=role == "system")
        tools = sequence(body, "tools")
        builder.tools = compact(tools, body.get("mcp_servers"), body.get("output_format"), body.get("output_config"))
        builder.server_tools = (*server_tools(tools), *("mcp" for _ in sequence(body, "mcp_servers")))
        builder.thinking = obj(body.get("thinking")).get("type") == "enabled"
        builder.stored = body.get("container") is not None
        return RequestFacts(
            model=string(body, "model"),
            streamed=flag(body, "stream"),
            max_output_tokens=output_cap(body, "max_tokens"),
            choices=1,
            prompt=builder.build(),
            tools=tool_names(tools),
            service_tier=string(body, "service_tier"),
            variant=string(body, "inference_geo"),
        )

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # all who serve Messages count alike
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=_read_events)


def _read_body(body: object) -> ReplyFacts:
    message = obj(body)
    return _facts(message, obj(message.get("usage")), _said(message), complete=bool(message))


def _read_events(events: Events) -> ReplyFacts:
    """Overlay what each `message_delta` says on what `message_start` said: server tools raise the input while the answer runs."""
    start = next((event for event in parsed(events.opening) if event.get("type") == "message_start"), obj(None))
    message = obj(start.get("message"))
    usage: dict[str, object] = dict(obj(message.get("usage")))
    final = False
    for event in parsed(events.usages):
        if event.get("type") == "message_delta":
            final = True
            usage |= {name: value for name, value in obj(event.get("usage")).items() if value is not None}
    complete = any(event.get("type") == "message_stop" for event in parsed(events.closing))
    facts = _facts(message, usage, (), complete=complete)
    if not final:
        facts = _broken_off(facts, _deltas(obj(load(event)) for event in events.kept))
    if events.error is None:
        return facts
    return replace(facts, error=error_type(obj(load(events.error)).get("error")))


def _broken_off(facts: ReplyFacts, said: Iterable[str]) -> ReplyFacts:
    """Return the facts of a stream without its `message_delta`: the input is known, the output count is a placeholder."""
    usage = replace(facts.usage, output_tokens=None, reasoning_tokens=None) if facts.usage else None
    return replace(facts, usage=usage, output_text="".join(said))


def _facts(message: Json, usage: Json, said: Iterable[str], *, complete: bool) -> ReplyFacts:
    counted = messages_usage(usage) if usage else None
    return ReplyFacts(
        usage=counted,
        model=text(message.get("model")),
        complete=complete,
        error=error_type(message.get("error")),
        output_text="" if counted else "".join(said),
        service_tier="fast" if usage.get("speed") == "fast" else text(usage.get("service_tier")),
        variant=text(usage.get("inference_geo")),
    )


def messages_usage(usage: Json) -> Usage | None:
    """Return the usage of a message; what ran on other models stands apart."""
    fresh, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if fresh is None and written is None:
        return None
    read, stored = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    by_age = obj(usage.get("cache_creation"))
    hour = count(by_age.get("ephemeral_1h_input_tokens"))
    if stored is None and by_age:
        stored = (hour or 0) + (count(by_age.get("ephemeral_5m_input_tokens")) or 0)
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (stored or 0),
        output_tokens=written,
        cache_read_tokens=read,
        cache_write_tokens=stored,
        cache_write_1h_tokens=hour if hour is None or stored is None else min(hour, stored),
        reasoning_tokens=count(obj(usage.get("output_tokens_details")).get("thinking_tokens")),
        web_searches=count(obj(usage.get("server_tool_use")).get("web_search_requests")),
        other_models=tuple(_other_models(usage)),
    )


def _other_models(usage: Json) -> Iterator[tuple[str, Usage]]:
    """Yield what ran on other models: `advisor_message` iterations stand outside the counts of the message."""
    for iteration in objects(usage.get("iterations")):
        model = text(iteration.get("model"))
        if iteration.get("type") != "message" and model and (counted := messages_usage({**iteration, "iterations": None})):
            yield model, counted


def _deltas(events: Iterable[Json]) -> Iterator[str]:
    for event in events:
        block, delta = obj(event.get("content_block")), obj(event.get("delta"))
        yield from (said for name in ("name", "text") if (said := text(block.get(name))))
        yield from (said for name in ("text", "partial_json", "thinking") if (said := text(delta.get(name))))


def _said(message: Json) -> Iterator[str]:
    for block in objects(message.get("content")):
        yield from (said for name in ("name", "text", "thinking") if (said := text(block.get(name))))


ANTHROPIC_MESSAGES = AnthropicMessages()
