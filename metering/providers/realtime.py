"""OpenAI's Realtime API: what its events ask for, and what they report."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.openai_requests import read_responses
from metering.providers.openai_usage import model_of
from metering.providers.shapes import Json, count, error_type, load, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage

TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
"""The input was written down by a model of its own, which is charged apart."""
_LAST = frozenset({"response.done", TRANSCRIBED})


class OpenAiRealtime:
    """The events of one response on a `…/realtime` WebSocket, framed as server-sent events."""

    name = "openai.realtime"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what a response is asked for, its session's settings put in: the members are those of a Responses request."""
        cap = body.get("max_output_tokens")
        plain = {name: value for name, value in body.items() if name != "max_output_tokens"}
        facts = read_responses(plain | ({"max_output_tokens": cap} if isinstance(cap, int) else {}))
        return replace(facts, streamed=True)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for the events of one response."""
        return AnswerReader(
            content_type=content_type,
            read_body=lambda _: ReplyFacts(),
            read_events=partial(_read_events, provider),
        )


def realtime_usage(usage: Json) -> Usage | None:
    """Return the usage of a response or of a transcription; None when it counts no tokens (a transcription by its seconds)."""
    took, gave = obj(usage.get("input_token_details")), obj(usage.get("output_token_details"))
    read, written = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if read is None and written is None:
        return None
    cached = count(took.get("cached_tokens"))
    sound, cached_sound = count(took.get("audio_tokens")), count(obj(took.get("cached_tokens_details")).get("audio_tokens"))
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cache_read_tokens=cached if cached is None or read is None else min(cached, read),
        # Sound from the cache is counted with what is cached: the shares must not overlap.
        audio_input_tokens=sound if sound is None else max(0, sound - (cached_sound or 0)),
        audio_output_tokens=count(gave.get("audio_tokens")),
    )


def _read_events(_provider: str, events: Events) -> ReplyFacts:
    closing = parsed(events.closing)
    last = next((event for event in reversed(closing) if text(event.get("type")) in _LAST), obj(None))
    response = obj(last.get("response")) or last
    usage = realtime_usage(obj(response.get("usage")))
    failed = obj(obj(response.get("status_details")).get("error")) or obj(load(events.error or b"")).get("error")
    return ReplyFacts(
        usage=usage,
        model=model_of(response),
        complete=bool(last),
        error=error_type(failed),
        output_text="" if usage else "".join(_said(obj(load(event)) for event in events.kept)),
    )


def _said(events: Iterable[Json]) -> Iterator[str]:
    for event in events:
        if (text(event.get("type")) or "").endswith(".delta") and (delta := text(event.get("delta"))):
            yield delta


OPENAI_REALTIME = OpenAiRealtime()
