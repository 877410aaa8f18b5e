"""Films, Deepgram, Replicate and xAI's pages of results: each as the provider's reference and recordings show it."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from metering.call import Call, Consumption
from metering.meter import Meter
from metering.prices import PriceBook
from metering.providers import FORMATS, FORMS, HEADERED
from metering.reading import Reading, ReplyFacts, Source
from metering.settings import MeteringSettings, PriceOverride, PricingSettings
from metering.tokens import TokenCounter
from metering.usage import Usage

type Ask = Callable[..., Reading]

_VIDEO = {
    "id": "video_1",
    "object": "video",
    "created_at": 1758941485,
    "status": "queued",
    "model": "sora-2-pro",
    "progress": 0,
    "seconds": "8",
    "size": "1792x1024",
}
_PREDICTION = {
    "id": "gm3qorzdhgbfurvjtvhg6dckhu",
    "model": "replicate/hello-world",
    "version": "5c7d5dc6",
    "input": {"text": "Alice"},
    "output": "hello Alice",
    "error": None,
    "status": "succeeded",
    "metrics": {"predict_time": 0.012683, "total_time": 0.025366},
}


def _answer(wire_format: str, body: object, *, provider: str = "openai") -> ReplyFacts:
    reader = FORMATS[wire_format].reader(provider=provider, content_type="application/json")
    reader.feed(json.dumps(body).encode())
    return reader.finish()


def _page(*answers: dict[str, Any]) -> dict[str, Any]:
    results = [
        {"batch_request_id": f"r{number}", "batch_result": {"response": {"chat_get_completion": answer}}}
        for number, answer in enumerate(answers)
    ]
    return {"results": results, "pagination_token": None}


def _completion(known: str, model: str = "grok-4.3", **usage: int) -> dict[str, Any]:
    counted = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 41, **usage}
    return {"id": known, "object": "chat.completion", "model": model, "choices": [], "usage": counted}


@pytest.fixture
def meter(now: datetime) -> Meter:
    machine = PriceOverride(provider="replicate", model="*", compute_second=Decimal("0.001"))
    return Meter(PriceBook(PricingSettings(overrides=(machine,)), now=now), TokenCounter(), MeteringSettings())


@pytest.fixture
def ask(meter: Meter, make_call: Any, make_reply: Any) -> Ask:
    def read(wire_format: str, answer: object, body: dict[str, object] | None = None, **changes: Any) -> Reading:
        if body is None:
            changes["consumption"] = Consumption.RESULT
        else:
            facts = FORMATS[wire_format].read_request(body)
            changes = {"model": facts.model, "asked": facts.asked, "variant": facts.variant, "prompt": facts.prompt, **changes}
        call: Call = make_call(wire_format=wire_format, **changes)
        reader = meter.reader(call, content_type="application/json")
        assert reader is not None
        reader.feed(json.dumps(answer).encode())
        return meter.read(call, make_reply(), reader.finish())

    return read


def test_a_film_is_charged_when_it_is_done_and_once(ask: Ask) -> None:
    order = ask("openai.videos", _VIDEO, {"model": "sora-2-pro", "prompt": "sea", "seconds": "8", "size": "1792x1024"})
    running = ask("openai.videos", {**_VIDEO, "status": "in_progress", "progress": 50}, model=None)
    done, again = (ask("openai.videos", {**_VIDEO, "status": "completed"}, model=None) for _ in range(2))

    assert (order.source, order.cost_nano, running.source) == (Source.DEFERRED, 0, Source.NONE)
    assert (done.source, done.usage, done.cost_nano) == (Source.PROVIDER_REPORTED, Usage(video_seconds=8), 4_000_000_000)
    assert (again.source, done.job) == (Source.NONE, "video_1")


@pytest.mark.parametrize(
    ("body", "asked", "variant", "cost"),
    [
        ({"model": "sora-2", "prompt": "sea"}, 4, "720x1280", 400_000_000),
        ({"model": "sora-2", "prompt": "sea", "seconds": 12, "size": "1280x720"}, 12, "1280x720", 1_200_000_000),
        ({"model": "sora-2", "prompt": "sea", "seconds": "many"}, 4, "720x1280", 400_000_000),
    ],
)
def test_an_order_of_a_film_holds_what_it_will_cost(
    meter: Meter, make_call: Any, body: dict[str, object], asked: int, variant: str, cost: int
) -> None:
    facts = FORMATS["openai.videos"].read_request(body)
    call = make_call(wire_format="openai.videos", model=facts.model, asked=facts.asked, variant=facts.variant)

    assert (facts.asked, facts.variant, facts.prompt.texts) == (Usage(video_seconds=asked), variant, ("sea",))
    assert meter.quote(call, input_tokens=5).cost_nano == cost


def test_a_film_that_failed_costs_nothing(ask: Ask) -> None:
    reading = ask("openai.videos", {**_VIDEO, "status": "failed", "error": {"code": "moderation_blocked", "message": "no"}}, model=None)

    assert (reading.source, reading.interval) == (Source.NONE, (0, 0))


def test_an_uploaded_picture_is_what_a_film_begins_with() -> None:
    facts = FORMS["openai.videos"].read_form({"model": "sora-2", "prompt": "go on", "seconds": "8"}, files=1)

    assert (facts.prompt.media, facts.prompt.texts, facts.asked) == (1, ("go on",), Usage(video_seconds=8))
    assert FORMATS["openai.videos"].read_request({"prompt": "x", "input_reference": {"file_id": "f"}}).prompt.media == 1


@pytest.mark.parametrize(
    ("parameters", "seconds", "cost"),
    [
        ({}, 8, 3_200_000_000),
        ({"durationSeconds": 4, "resolution": "4k", "sampleCount": 2}, 8, 4_800_000_000),
        ({"durationSeconds": 6, "resolution": "1080p"}, 6, 2_400_000_000),
    ],
)
def test_a_film_of_google_is_charged_by_its_order_and_may_cost_nothing(
    ask: Ask, parameters: dict[str, object], seconds: int, cost: int
) -> None:
    body: dict[str, object] = {"instances": [{"prompt": "sea"}], "parameters": parameters}

    reading = ask("google.films", {"name": "models/veo/operations/1"}, body, provider="gcp.gemini", model="veo-3.1-generate-preview")

    assert (reading.usage, reading.cost_nano, reading.interval) == (Usage(video_seconds=seconds), cost, (0, cost))


def test_a_film_of_google_without_a_price_is_unseen_and_a_refused_one_is_none(ask: Ask) -> None:
    body: dict[str, object] = {"instances": [{"prompt": "sea"}]}

    unknown = ask("google.films", {"name": "op"}, body, provider="gcp.gemini", model="veo-9")
    refused = ask("google.films", {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}, body, provider="gcp.gemini", model="veo-9")

    assert (unknown.source, refused.source) == (Source.BILLED_UNSEEN, Source.NONE)


def test_pictures_of_google_are_counted_off_and_priced(ask: Ask) -> None:
    answer = {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "aGk="}] * 2}

    reading = ask("vertex.predict", answer, {"instances": [{"prompt": "x"}]}, provider="gcp.gemini", model="imagen-4.0-fast-generate-001")

    assert (reading.usage, reading.cost_nano) == (Usage(images=2), 40_000_000)


def test_a_sound_is_counted_by_its_length_and_its_channels() -> None:
    info = {"2187e11a": {"name": "general-nova-3", "version": "2025-07-31.0", "arch": "nova-3"}}
    metadata = {"request_id": "1", "duration": 25.933313, "channels": 1, "models": ["2187e11a"], "model_info": info}

    one = _answer("deepgram.listen", {"metadata": metadata, "results": {"channels": [{"alternatives": []}]}})
    two = _answer("deepgram.listen", {"metadata": metadata, "results": {"channels": [{}, {}]}})

    assert (one.usage, one.model, one.complete, one.unseen) == (Usage(seconds=26), "nova-3", True, False)
    assert two.usage == Usage(seconds=52)


@pytest.mark.parametrize(
    ("answer", "unseen", "error", "model"),
    [
        ({"request_id": "later"}, True, None, None),
        ({"err_code": "INVALID_AUTH", "err_msg": "no", "request_id": "1"}, False, "INVALID_AUTH", None),
        ({"metadata": {"model_info": {"a": {"arch": "nova-3"}, "b": {"arch": "nova-2"}}}}, True, None, None),
    ],
)
def test_a_sound_whose_length_is_not_told_is_unseen(answer: dict[str, Any], unseen: bool, error: str | None, model: str | None) -> None:  # noqa: FBT001  # a table
    facts = _answer("deepgram.listen", answer)

    assert (facts.usage, facts.unseen, facts.error, facts.model) == (None, unseen, error, model)


@pytest.mark.parametrize(
    ("headers", "characters", "model"),
    [
        ({"dg-char-count": "64", "dg-model-name": "aura-2-thalia-en"}, 64, "aura-2-thalia-en"),
        ({"dg-char-count": "many"}, None, None),
        ({}, None, None),
    ],
)
def test_headers_count_what_was_spoken(headers: dict[str, str], characters: int | None, model: str | None) -> None:
    reader = HEADERED["deepgram.speak"].reader_with(provider="deepgram", content_type="audio/mpeg", headers=headers)
    reader.feed(b"\xff\xf3d\xc4")

    facts = reader.finish()

    assert facts.usage == (None if characters is None else Usage(characters=characters))
    assert (facts.model, facts.unseen, facts.complete) == (model, characters is None, True)


def test_what_deepgram_is_asked() -> None:
    spoken = FORMATS["deepgram.speak"].read_request({"text": "hello"})

    assert (spoken.asked, spoken.prompt.texts, spoken.max_output_tokens) == (Usage(characters=5), ("hello",), 0)
    assert FORMATS["deepgram.speak"].read_request({}).asked == Usage()
    assert FORMATS["deepgram.listen"].read_request({"url": "https://dpgr.am/spacewalk.wav"}).max_output_tokens == 0
    assert FORMATS["deepgram.speak"].reader(provider="deepgram", content_type=None).finish().unseen


def test_a_prediction_is_charged_by_the_time_of_the_machine_and_once(ask: Ask) -> None:
    at_once = ask("replicate.predictions", _PREDICTION, {"version": "5c7d5dc6", "input": {"text": "Alice"}}, provider="replicate")
    again = ask("replicate.predictions", _PREDICTION, provider="replicate")

    assert (at_once.usage, at_once.cost_nano, at_once.model) == (Usage(compute_ms=13), 13_000, "replicate/hello-world")
    assert again.source is Source.NONE


@pytest.mark.parametrize("status", ["starting", "processing"])
def test_a_prediction_that_runs_is_an_order(ask: Ask, status: str) -> None:
    started = {**_PREDICTION, "status": status, "metrics": {}, "output": None}

    assert ask("replicate.predictions", started, {"version": "v", "input": {}}, provider="replicate").source is Source.DEFERRED
    assert ask("replicate.predictions", started, provider="replicate").source is Source.NONE


def test_a_prediction_counts_its_tokens_too_and_a_failed_one_its_time() -> None:
    metrics = {"predict_time": 1.5, "input_token_count": 14, "output_token_count": 30}

    failed = _answer("replicate.predictions", {**_PREDICTION, "status": "failed", "error": "out of memory", "metrics": metrics})
    vanished = _answer("replicate.predictions", {**_PREDICTION, "status": "failed", "error": "no", "metrics": {}})

    assert failed.usage == Usage(compute_ms=1500, input_tokens=14, output_tokens=30)
    assert (vanished.usage, vanished.error, vanished.unseen) == (None, "no", True)


def test_what_replicate_is_asked() -> None:
    body: dict[str, object] = {"input": {"prompt": "a cat", "system_prompt": "be kind", "n": 3}, "version": "owner/name:1"}

    facts = FORMATS["replicate.predictions"].read_request(body)

    assert (facts.model, facts.prompt.system, facts.prompt.texts) == ("owner/name:1", ("be kind",), ("a cat",))


def test_each_answer_of_a_batch_counts_once_whatever_page_it_is_on(ask: Ask) -> None:
    first = ask("xai.batch_results", _page(_completion("a"), _completion("b")), provider="x_ai", model=None)
    grown = ask("xai.batch_results", _page(_completion("a"), _completion("b"), _completion("c")), provider="x_ai", model=None)
    again = ask("xai.batch_results", _page(_completion("c"), _completion("b")), provider="x_ai", model=None)

    assert (first.usage.input_tokens, first.usage.output_tokens, first.job) == (64, 18, "a,b")
    assert (grown.usage.input_tokens, grown.job) == (32, "c")
    assert again.source is Source.NONE


def test_what_was_counted_before_a_restart_is_not_counted_again(meter: Meter, ask: Ask) -> None:
    meter.remember([("x_ai", "a,b")])

    assert ask("xai.batch_results", _page(_completion("b"), _completion("c")), provider="x_ai", model=None).usage.input_tokens == 32


def test_the_providers_own_price_of_each_answer_is_the_price_of_the_page(ask: Ask) -> None:
    priced = _page(_completion("a", cost_in_usd_ticks=200_000), _completion("b", "grok-4-fast", cost_in_usd_ticks=30_000))
    partly = _page(_completion("c", cost_in_usd_ticks=200_000), _completion("d"))

    whole = ask("xai.batch_results", priced, provider="x_ai", model=None)
    ours = ask("xai.batch_results", partly, provider="x_ai", model=None)

    assert (whole.source, whole.cost_nano) == (Source.PROVIDER_PRICED, 23_000)
    assert whole.usage.other_models == (("grok-4-fast", Usage(input_tokens=32, output_tokens=9)),)
    assert whole.our_cost_nano is not None
    assert ours.source is Source.PROVIDER_REPORTED


def test_answers_of_other_kinds_and_errors_stand_on_a_page_too() -> None:
    page = _page(_completion("a"))
    page["results"] += [
        {"batch_request_id": "x", "batch_result": {"error": {"message": "no"}}},
        {"batch_request_id": "y", "batch_result": {"response": {"image": {"usage": {"cost_in_usd_ticks": 200_000_000}}}}},
        {
            "batch_request_id": "z",
            "batch_result": {"response": {"responses": {"id": "r", "usage": {"input_tokens": 3, "output_tokens": 4}}}},
        },
    ]

    results = _answer("xai.batch_results", page, provider="x_ai").results

    assert [result.id for result in results] == ["a", "y", "r"]
    assert [result.cost_nano for result in results] == [None, 20_000_000, None]
    with pytest.raises(ValueError, match="fetched without a body"):
        FORMATS["xai.batch_results"].read_request({"a": 1})


def test_a_page_without_results_costs_nothing(ask: Ask) -> None:
    assert ask("xai.batch_results", {"results": [], "pagination_token": None}, provider="x_ai", model=None).source is Source.NONE


def test_a_batch_of_openrouter_brings_its_answers_once_it_has_ended(ask: Ask) -> None:
    body = {"id": "gen-1", "model": "google/gemini-3.8-flash", "usage": {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.002}}
    running = {"id": "batch_1", "object": "batch", "status": "in_progress", "results": None, "usage": None}
    results = [{"custom_id": "1", "id": "r", "error": None, "response": {"status_code": 200, "body": body}}]
    ended = {**running, "status": "completed", "results": results}

    before, after, again = (
        ask("openrouter.batch", answer, provider="openrouter", model=None, path="/api/beta/batches/batch_1")
        for answer in (running, ended, ended)
    )

    assert (before.source, again.source) == (Source.NONE, Source.NONE)
    assert (after.source, after.cost_nano, after.usage) == (Source.PROVIDER_PRICED, 2_000_000, Usage(input_tokens=10, output_tokens=5))


@pytest.mark.parametrize(("places", "variant"), [(("us", "us"), "us"), (("global", "us"), None), ((None, None), None)])
def test_a_batch_of_claude_has_the_mark_of_its_place(places: tuple[str | None, ...], variant: str | None) -> None:
    reader = FORMATS["anthropic.batch_results"].reader(provider="anthropic", content_type=None)
    for place in places:
        usage = {"input_tokens": 1, "output_tokens": 2, "inference_geo": place}
        reader.feed(json.dumps({"result": {"message": {"model": "claude-opus-4-6", "usage": usage}}}).encode() + b"\n")

    assert reader.finish().variant == variant


def test_a_file_of_results_of_xai_has_its_own_price() -> None:
    line = {"custom_id": "1", "response": {"status_code": 200, "body": _completion("a", cost_in_usd_ticks=150_000)}}

    facts = _answer("openai.batch_results", line, provider="x_ai")

    assert (facts.reported_cost_nano, facts.service_tier) == (15_000, "batch")
