"""Anthropic's legacy text completions, which report no usage: what they came to is estimated."""

from collections.abc import Iterator

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.requests import PromptBuilder, flag, output_cap, string
from metering.providers.shapes import Json, error_type, load, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts


class AnthropicComplete:
    """`POST /v1/complete`."""

    name = "anthropic.complete"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        if "prompt" not in body:
            raise ValueError("a completion request needs `prompt`")
        builder = PromptBuilder()
        builder.add(string(body, "prompt"))
        return RequestFacts(
            model=string(body, "model"),
            streamed=flag(body, "stream"),
            max_output_tokens=output_cap(body, "max_tokens_to_sample"),
            choices=1,
            prompt=builder.build(),
            tools=(),
            service_tier=None,
        )

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # all who serve it report nothing
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=_read_events)


def _read_body(body: object) -> ReplyFacts:
    answer = obj(body)
    return ReplyFacts(
        model=text(answer.get("model")),
        complete=bool(answer),
        error=error_type(answer.get("error")),
        output_text=text(answer.get("completion")) or "",
    )


def _read_events(events: Events) -> ReplyFacts:
    ends = parsed(events.closing)
    return ReplyFacts(
        model=next((name for event in ends if (name := text(event.get("model")))), None),
        complete=any(text(event.get("stop_reason")) for event in ends),
        error=error_type(obj(load(events.error)).get("error")) if events.error else None,
        output_text="".join(_said(events)),
    )


def _said(events: Events) -> Iterator[str]:
    return (said for kept in events.kept if (said := text(obj(load(kept)).get("completion"))))


ANTHROPIC_COMPLETE = AnthropicComplete()
