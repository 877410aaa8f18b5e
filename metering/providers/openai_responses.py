"""OpenAI's Responses API."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.openai_requests import read_responses
from metering.providers.openai_usage import model_of, reported_cost, responses_usage
from metering.providers.shapes import Json, count, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
_RUNNING = frozenset({"queued", "in_progress"})


class OpenAiResponses:
    """`POST …/responses`."""

    name = "openai.responses"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return read_responses(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer."""
        return AnswerReader(
            content_type=content_type,
            read_body=partial(self.read_body, provider),
            read_events=partial(self.read_events, provider),
        )

    def read_body(self, provider: str, body: object) -> ReplyFacts:
        """Read a whole answer. One that is still running in the background is not complete: its usage comes later."""
        response = obj(body)
        complete = bool(response) and text(response.get("status")) not in _RUNNING
        return _facts(provider, response, _said(response), complete=complete, named=(response,))

    def read_events(self, provider: str, events: Events) -> ReplyFacts:
        """Read a stream: the last event holds the whole response with its usage."""
        opening, closing = parsed(events.opening), parsed(events.closing)
        last = next((event for event in reversed(closing) if text(event.get("type")) in _LAST), obj(None))
        reporting = next(
            (found for event in reversed(parsed(events.usages)) if obj((found := obj(event.get("response"))).get("usage"))), None
        )
        response = reporting or obj(last.get("response"))
        named = (response, *(obj(event.get("response")) for event in opening))
        facts = _facts(provider, response, _deltas(obj(load(event)) for event in events.kept), complete=bool(last), named=named)
        return facts if facts.error or events.error is None else _failed(facts, obj(load(events.error)))


def _failed(facts: ReplyFacts, event: Json) -> ReplyFacts:
    """Return the facts with the error of an `error` or `response.failed` event."""
    error = error_type(event.get("error")) or error_type(obj(event.get("response")).get("error"))
    return replace(facts, error=error)


def _facts(provider: str, response: Json, said: Iterable[str], *, complete: bool, named: tuple[Json, ...]) -> ReplyFacts:
    counted = obj(response.get("usage"))
    usage = responses_usage(counted)
    background = any(each.get("background") is True for each in (response, *named))
    searches = count(obj(obj(response.get("tool_usage")).get("web_search")).get("num_requests"))
    if usage and usage.web_searches is None and searches is not None:
        usage = replace(usage, web_searches=searches)
    return ReplyFacts(
        usage=usage,
        model=model_of(*named),
        complete=complete,
        error=error_type(response.get("error")),
        output_text="" if usage else "".join(said),
        reported_cost_nano=reported_cost(counted, provider=provider),
        service_tier=text(response.get("service_tier")),
        job=next((name for each in (response, *named) if (name := text(each.get("id")))), None) if background else None,
        deferred=background and usage is None and not complete,
    )


def _deltas(events: Iterable[Json]) -> Iterator[str]:
    """Yield the text of `response.output_text.delta`, `response.function_call_arguments.delta` and their like."""
    for event in events:
        if (text(event.get("type")) or "").endswith(".delta") and (delta := text(event.get("delta"))):
            yield delta


def _said(response: Json) -> Iterator[str]:
    for item in objects(response.get("output")):
        yield from (said for name in ("name", "arguments", "input") if (said := text(item.get(name))))
        for part in (*objects(item.get("content")), *objects(item.get("summary"))):
            yield from (said for name in ("text", "refusal") if (said := text(part.get(name))))


OPENAI_RESPONSES = OpenAiResponses()
