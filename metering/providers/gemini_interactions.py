"""Gemini's Interactions API: one object for a turn of a model or an agent, which may run in the background."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.gemini_requests import add_content, listed, member, members
from metering.providers.gemini_usage import interaction_usage
from metering.providers.requests import PromptBuilder, compact, flag, mapping, output_cap, sequence, server_tools, string, tool_names
from metering.providers.shapes import Json, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts

_RUNNING = frozenset({"queued", "in_progress"})


class GeminiInteractions:
    """`POST …/interactions`."""

    name = "gemini.interactions"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        if body.get("input") is None:
            raise ValueError("an interaction needs `input`")
        builder = PromptBuilder()
        add_content(builder, member(body, "systemInstruction"), system=True)
        _add_input(builder, body)
        tools = sequence(body, "tools")
        builder.tools = compact(tools, member(body, "responseFormat"))
        builder.server_tools = server_tools(tools)
        builder.stored = member(body, "previousInteractionId") is not None
        config = members(body, "generationConfig")
        return RequestFacts(
            model=string(body, "model") or string(body, "agent"),
            streamed=flag(body, "stream"),
            max_output_tokens=output_cap({"cap": member(config, "maxOutputTokens")}, "cap"),
            choices=1,
            prompt=builder.build(),
            tools=tool_names(tools),
            service_tier=string(body, "service_tier"),
        )

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=_read_events)


def _add_input(builder: PromptBuilder, body: Json) -> None:
    for each in listed(body, "input"):
        builder.messages += 1
        if isinstance(each, str):
            builder.add(each)
            continue
        turn = mapping(each, "each of `input`")
        builder.answers += string(turn, "role") == "model"
        builder.add(turn.get("content") if "role" in turn else [turn])


def _read_body(body: object) -> ReplyFacts:
    interaction = obj(body) or next(objects(body), obj(None))
    running = text(interaction.get("status")) in _RUNNING
    return _facts(interaction, _said(interaction), complete=bool(interaction) and not running)


def _read_events(events: Events) -> ReplyFacts:
    """Read a stream: its last event has the whole interaction with its usage."""
    closing = parsed(events.closing)
    held = [found for event in (*parsed(events.opening), *parsed(events.usages), *closing) if (found := obj(event.get("interaction")))]
    whole = next((each for each in reversed(held) if each.get("usage")), held[-1] if held else obj(None))
    complete = any((text(event.get("event_type")) or "").startswith("interaction.complete") for event in closing)
    facts = _facts(whole, _deltas(obj(load(event)) for event in events.kept), complete=complete)
    if facts.model is None:
        facts = replace(facts, model=next((name for each in held if (name := text(each.get("model")))), None))
    if facts.error or events.error is None:
        return facts
    return replace(facts, error=error_type(obj(load(events.error)).get("error")))


def _facts(interaction: Json, said: Iterable[str], *, complete: bool) -> ReplyFacts:
    usage = interaction_usage(obj(interaction.get("usage")))
    background = interaction.get("background") is True or text(interaction.get("status")) in _RUNNING
    return ReplyFacts(
        usage=usage,
        model=text(interaction.get("model")) or text(interaction.get("agent")),
        complete=complete,
        error=error_type(interaction.get("error")),
        output_text="" if usage else "".join(said),
        job=text(interaction.get("id")) if background or complete else None,
        deferred=background and usage is None and not complete,
    )


def _said(interaction: Json) -> Iterator[str]:
    for output in objects(interaction.get("outputs")):
        yield from (said for name in ("text", "name", "summary") if (said := text(output.get(name))))


def _deltas(events: Iterable[Json]) -> Iterator[str]:
    for event in events:
        delta = obj(event.get("delta"))
        yield from (said for name in ("text", "arguments", "thought") if (said := text(delta.get(name))))


GEMINI_INTERACTIONS = GeminiInteractions()
