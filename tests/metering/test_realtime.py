"""Realtime conversations and their usage, without a socket."""

from typing import Any

import orjson
import pytest

from metering.providers import FORMATS
from metering.providers.conversations import Conversation, conversation, model_of_query
from metering.reading import ReplyFacts
from metering.usage import Usage

DONE = {
    "type": "response.done",
    "response": {
        "id": "resp_1",
        "status": "completed",
        "usage": {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 13,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 56, "audio_tokens": 8},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
    },
}


def realtime(model: str | None = "gpt-realtime") -> Conversation:
    return conversation("/v1/realtime?model=gpt-realtime", model)


def responses() -> Conversation:
    return conversation("/v1/responses", None)


def read(*events: dict[str, Any]) -> ReplyFacts:
    reader = FORMATS["openai.realtime"].reader(provider="openai", content_type="text/event-stream")
    for event in events:
        reader.feed(b"data: " + orjson.dumps(event) + b"\n\n")
    return reader.finish()


def test_a_response_reports_text_and_sound_and_what_was_cached() -> None:
    facts = read({"type": "response.created", "response": {"id": "resp_1", "usage": None}}, DONE)

    assert facts.complete
    assert facts.usage == Usage(input_tokens=132, output_tokens=121, cache_read_tokens=64, audio_input_tokens=5, audio_output_tokens=91)


def test_a_response_without_usage_leaves_its_text() -> None:
    deltas = [{"type": "response.output_text.delta", "delta": part} for part in ("two ", "pence")]

    facts = read(*deltas)

    assert (facts.usage, facts.complete, facts.output_text) == (None, False, "two pence")


def test_a_failed_response_names_its_error() -> None:
    error = {"type": "server_error", "code": "oops"}

    facts = read({"type": "response.done", "response": {"status": "failed", "status_details": {"type": "failed", "error": error}}})

    assert (facts.complete, facts.error) == (True, "server_error")


def test_a_transcription_by_tokens_has_usage_and_one_by_seconds_none() -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    details = {"text_tokens": 0, "audio_tokens": 17}

    tokens = read({"type": kind, "usage": {"type": "tokens", "input_tokens": 17, "output_tokens": 4, "input_token_details": details}})
    seconds = read({"type": kind, "usage": {"type": "duration", "seconds": 2.5}})

    assert tokens.usage == Usage(input_tokens=17, output_tokens=4, audio_input_tokens=17)
    assert (seconds.usage, seconds.complete) == (None, True)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/realtime?model=gpt-realtime", "gpt-realtime"),
        ("/openai/realtime?api-version=2024-10-01-preview&deployment=mine", "mine"),
        ("/v1/realtime", None),
        ("/v1/realtime?model=a&model=a", "a"),
    ],
)
def test_the_model_stands_in_the_query(path: str, model: str | None) -> None:
    assert model_of_query(path) == model


def test_a_response_asks_with_the_settings_of_its_session_and_all_that_was_said() -> None:
    talk = realtime(None)
    talk.heard(
        {"type": "session.created", "session": {"model": "gpt-realtime", "instructions": "Theirs.", "max_response_output_tokens": 9}}
    )
    first = talk.ask({"type": "response.create"})
    talk.sent({"type": "session.update", "session": {"instructions": "Be kind.", "tools": [{"type": "function", "name": "toll"}]}})
    talk.sent({"type": "conversation.item.create", "item": {"type": "message", "content": [{"type": "input_text", "text": "Hello"}]}})
    second = talk.ask({"type": "response.create", "response": {"max_output_tokens": 5}})

    assert first is not None
    assert (first.facts.model, first.facts.max_output_tokens, first.facts.prompt.system) == ("gpt-realtime", 9, ())
    assert first.facts.prompt.sealed == len("Theirs.")
    assert second is not None
    assert (second.facts.prompt.system, second.facts.prompt.texts, second.facts.tools) == (("Be kind.",), ("Hello",), ("toll",))
    assert (second.costs, second.facts.streamed, second.facts.max_output_tokens) == (True, True, 5)


def test_what_a_response_reported_carries_over_to_the_next() -> None:
    talk = realtime()
    talk.sent({"type": "conversation.item.create", "item": {"type": "message", "content": [{"type": "input_text", "text": "Hello"}]}})
    talk.sent({"type": "input_audio_buffer.append", "audio": "A" * 6400})
    before = talk.unasked({"type": "response.created"}).prompt
    talk.heard(DONE)
    after = talk.unasked({"type": "response.created"}).prompt

    assert (before.texts, before.sealed) == (("Hello",), 6)
    assert (after.texts, after.sealed) == ((), 253)


def test_a_long_conversation_is_bounded_by_its_length() -> None:
    talk = realtime()
    part = {"type": "input_text", "text": "a" * (3 << 20)}
    for _ in range(2):
        talk.sent({"type": "conversation.item.create", "item": {"type": "message", "content": [part]}})

    prompt = talk.unasked({"type": "response.created"}).prompt

    assert len(prompt.texts) == 1
    assert prompt.sealed > 3 << 20


def test_an_event_that_nobody_knows_is_judged_with_all_its_text() -> None:
    ask = realtime().ask({"type": "conversation.remember", "note": "the toll"})

    assert ask is not None
    assert not ask.costs
    assert "the toll" in ask.facts.prompt.texts[0]


def test_a_transcription_is_of_the_model_that_the_session_names() -> None:
    kind = {"type": "conversation.item.input_audio_transcription.completed"}
    talk = realtime()
    talk.heard({"type": "session.created", "session": {"input_audio_transcription": {"model": "whisper-1"}}})
    theirs = talk.unasked(kind).model
    talk.sent({"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}})

    assert (theirs, talk.unasked(kind).model) == ("whisper-1", "gpt-4o-transcribe")


def test_responses_are_asked_for_at_the_top_or_inside() -> None:
    talk = responses()
    body = {"model": "gpt-4o", "input": "Hello", "max_output_tokens": 5}

    asks = [talk.ask({"type": "response.create"} | body), talk.ask({"type": "response.create", "event_id": "e", "response": body})]

    assert asks[0] == asks[1]
    assert asks[0] is not None
    assert (asks[0].facts.model, asks[0].facts.streamed, asks[0].costs) == ("gpt-4o", True, True)


def test_a_later_event_goes_on_with_the_model_of_the_first() -> None:
    talk = responses()
    talk.sent({"type": "response.create", "model": "gpt-4o"})
    ask = talk.ask({"type": "response.append", "input": "more"})
    talk.heard({"type": "response.created", "response": {"model": "gpt-4o-2024-08-06"}})

    assert ask is not None
    assert ask.facts.model == "gpt-4o"
    assert talk.unasked({}).model == "gpt-4o-2024-08-06"
    assert talk.ask({"type": "response.cancel"}) is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 1},
        {"type": "session.update"},
        {"type": "conversation.item.create", "item": []},
        {"type": "x", "session": {"Model": "a"}},
    ],
)
def test_an_event_that_can_be_read_in_two_ways_or_none_is_an_error(event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"event|member|must"):
        realtime().ask(event)
