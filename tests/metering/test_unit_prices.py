"""What is charged by the piece: pages, seconds, characters, searches, pictures, film."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from metering.meter import Meter
from metering.prices import PriceBook
from metering.providers import FORMATS
from metering.reading import Reading, ReplyFacts, Source
from metering.settings import MeteringSettings, PriceOverride, PricingSettings
from metering.tokens import TokenCounter
from metering.unit_prices import unit_prices
from metering.units import NANO
from metering.usage import Usage

type Read = Callable[..., Reading]


def _dollars(usage: Usage, provider: str, model: str, *overrides: PriceOverride, variant: str | None = None) -> Decimal | None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    book = PriceBook(PricingSettings(overrides=overrides), now=at)
    price = book.price(provider=provider, model=model, usage=usage, at=at, variant=variant)
    return None if price is None else Decimal(price.cost_nano) / NANO


@pytest.mark.parametrize(
    ("provider", "model", "usage", "dollars"),
    [
        ("mistral_ai", "mistral-ocr-2512", Usage(pages=1000), "2"),
        ("mistral_ai", "mistral-ocr-2512", Usage(pages=1000, annotated_pages=1000), "3"),
        ("mistral_ai", "mistral-ocr-2512", Usage(pages=10, annotated_pages=4), "0.024"),
        ("mistral_ai", "mistral-ocr-2503", Usage(pages=5, annotated_pages=5), "0.005"),
        ("openai", "whisper-1", Usage(seconds=60), "0.006"),
        ("groq", "whisper-large-v3-turbo", Usage(seconds=3600), "0.04"),
        ("groq", "whisper-large-v3-turbo", Usage(seconds=1), "0.000111111"),
        ("mistral_ai", "voxtral-mini-2602", Usage(seconds=20, input_tokens=9, output_tokens=5), "0.001"),
        ("openai", "tts-1", Usage(characters=1000), "0.015"),
        ("openai", "tts-1-hd", Usage(characters=1000), "0.03"),
        ("cohere", "rerank-v3.5", Usage(search_units=2), "0.004"),
        ("cohere", "rerank-v4.0-pro", Usage(search_units=2), "0.005"),
        ("openai", "whisper-1", Usage(seconds=0), "0"),
    ],
)
def test_it_costs(provider: str, model: str, usage: Usage, dollars: str) -> None:
    assert _dollars(usage, provider, model) == Decimal(dollars)


@pytest.mark.parametrize(
    ("model", "variant", "dollars"),
    [
        ("dall-e-2", None, "0.02"),
        ("dall-e-2", "256x256 standard", "0.016"),
        ("dall-e-2", "512x512 standard", "0.018"),
        ("dall-e-3", None, "0.04"),
        ("dall-e-3", "1024x1024 standard", "0.04"),
        ("dall-e-3", "auto hd", "0.08"),
        ("dall-e-3", "1792x1024 standard", "0.08"),
        ("dall-e-3", "1024x1792 hd", "0.12"),
    ],
)
def test_a_picture_costs_by_size_and_quality(model: str, variant: str | None, dollars: str) -> None:
    assert _dollars(Usage(images=1), "openai", model, variant=variant) == Decimal(dollars)


@pytest.mark.parametrize(
    ("variant", "dollars"), [("1280x720", "0.3"), ("720x1280", "0.3"), ("1792x1024", "0.5"), ("1920x1080", None), (None, None)]
)
def test_a_second_of_film_costs_by_its_size_and_an_unknown_size_is_unknown(variant: str | None, dollars: str | None) -> None:
    assert _dollars(Usage(video_seconds=1), "openai", "sora-2-pro", variant=variant) == (dollars and Decimal(dollars))


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "whisper-1", Usage(input_tokens=5, output_tokens=5)),
        ("openai", "gpt-4o", Usage(seconds=5)),
        ("openai", "whisper-1", Usage(seconds=5, pages=1)),
        ("mistral_ai", "mistral-ocr-latest", Usage()),
        ("groq", "whisper-9", Usage(seconds=5)),
    ],
)
def test_what_has_no_rate_has_no_price(provider: str, model: str, usage: Usage) -> None:
    assert _dollars(usage, provider, model) is None


def test_sound_that_is_charged_by_its_length_is_not_charged_by_its_tokens_too() -> None:
    usage = Usage(input_tokens=384, audio_input_tokens=375, output_tokens=0, seconds=30)

    assert _dollars(usage, "mistral_ai", "voxtral-small-24b-2507") == Decimal("0.0000009") + Decimal("0.002")


def test_the_config_prices_what_no_table_has() -> None:
    override = PriceOverride(provider="together", model="flux*", image=Decimal("0.003"), thousand_pages=Decimal(1))

    assert _dollars(Usage(images=2), "together", "FLUX.1-schnell", override) == Decimal("0.006")
    assert _dollars(Usage(compute_ms=2500), "replicate", "x", PriceOverride(model="*", compute_second=Decimal("0.001"))) == Decimal(
        "0.0025"
    )


def test_the_config_goes_before_the_list_and_scales_it() -> None:
    usage = Usage(search_units=1000)

    assert _dollars(usage, "cohere", "rerank-v3.5", PriceOverride(model="rerank*", thousand_searches=Decimal(1))) == 1
    assert _dollars(usage, "cohere", "rerank-v3.5", PriceOverride(model="rerank*", factor=Decimal("0.5"))) == 1


def test_each_entry_of_the_list_names_its_source_and_day() -> None:
    listed = unit_prices()

    assert listed.entries
    for entry in listed.entries:
        assert entry.source.startswith("https://")
        assert entry.as_of <= date.fromisoformat(listed.version)
        assert all(isinstance(rate, Decimal) and rate > 0 for rate in entry.rates.values())
        assert len(entry.rates) == 1


@pytest.fixture
def read(make_call: Any, make_reply: Any, now: datetime) -> Read:
    meter = Meter(PriceBook(PricingSettings(), now=now), TokenCounter(), MeteringSettings())

    def read_call(wire_format: str, body: dict[str, object], answer: bytes, content_type: str = "application/json") -> Reading:
        facts = FORMATS[wire_format].read_request(body)
        call = make_call(
            wire_format=wire_format, model=facts.model, prompt=facts.prompt, asked=facts.asked, variant=facts.variant, choices=facts.choices
        )
        reader = meter.reader(call, content_type=content_type)
        assert reader is not None
        reader.feed(answer)
        return meter.read(call, make_reply(), reader.finish())

    return read_call


def test_speech_costs_by_the_characters_that_were_sent(read: Read) -> None:
    reading = read("openai.speech", {"model": "tts-1", "input": "h" * 200, "voice": "alloy"}, b"\xff\xf3", "audio/mpeg")

    assert (reading.source, reading.usage, reading.cost_nano) == (Source.PROVIDER_REPORTED, Usage(characters=200), 3_000_000)
    assert (reading.price_source, reading.interval) == ("genai-prices", (3_000_000, 3_000_000))


def test_speech_that_is_charged_by_tokens_stays_unseen(read: Read) -> None:
    reading = read("openai.speech", {"model": "gpt-4o-mini-tts", "input": "hello", "voice": "alloy"}, b"\xff\xf3", "audio/mpeg")

    assert (reading.source, reading.cost_nano) == (Source.BILLED_UNSEEN, None)


def test_pictures_cost_by_those_that_came(read: Read) -> None:
    answer = json.dumps({"created": 1, "data": [{"url": "https://x"}, {"b64_json": "aGk="}]}).encode()

    reading = read("openai.images", {"model": "dall-e-3", "prompt": "a cat", "n": 3, "quality": "hd", "size": "1024x1792"}, answer)

    assert (reading.source, reading.usage, reading.cost_nano) == (Source.PROVIDER_REPORTED, Usage(images=2), 240_000_000)
    assert (reading.price_source, reading.price_version) == ("unit-prices", unit_prices().version)


def test_pictures_of_an_unknown_model_are_counted_without_a_price(read: Read) -> None:
    reading = read("openai.images", {"model": "flux", "prompt": "a cat"}, b'{"data": [{"url": "https://x"}]}')

    assert (reading.source, reading.usage, reading.cost_nano) == (Source.UNPRICED, Usage(images=1), None)


def test_a_verbose_transcription_costs_by_its_length(read: Read) -> None:
    answer = json.dumps({"task": "transcribe", "language": "english", "duration": 8.47, "text": "The sun", "segments": []}).encode()

    reading = read("openai.transcriptions", {"model": "whisper-1"}, answer)

    assert (reading.usage, reading.cost_nano) == (Usage(seconds=9), 900_000)


@pytest.mark.parametrize(
    ("more", "cost"),
    [
        ({}, 8_000_000),
        ({"document_annotation": '{"title": "x"}'}, 10_000_000),
        ({"pages": [{"images": [{"image_annotation": "a chart"}]}]}, 10_000_000),
        ({"pages": [{"images": [{"image_annotation": None}]}], "document_annotation": None}, 8_000_000),
    ],
)
def test_pages_that_were_described_cost_more(make_call: Any, make_reply: Any, now: datetime, more: dict[str, object], cost: int) -> None:
    meter = Meter(PriceBook(PricingSettings(), now=now), TokenCounter(), MeteringSettings())
    call = make_call(wire_format="mistral.ocr", provider="mistral_ai", model="mistral-ocr-latest")
    reader = FORMATS["mistral.ocr"].reader(provider="mistral_ai", content_type="application/json")
    reader.feed(json.dumps({"model": "mistral-ocr-4-0", "usage_info": {"pages_processed": 2}, **more}).encode())

    assert meter.read(call, make_reply(), reader.finish()).cost_nano == cost


def test_a_hold_is_what_the_request_fixes(make_call: Any, now: datetime) -> None:
    meter = Meter(PriceBook(PricingSettings(), now=now), TokenCounter(), MeteringSettings())
    call = make_call(wire_format="openai.images", model="dall-e-3", asked=Usage(images=2), variant="1024x1024 standard")

    quote = meter.quote(call, input_tokens=12)

    assert (quote.cost_nano, quote.priced) == (80_000_000, True)


def test_a_sound_of_unknown_length_is_held_at_the_dearest_price_of_its_provider(make_call: Any, now: datetime) -> None:
    meter = Meter(PriceBook(PricingSettings(), now=now), TokenCounter(), MeteringSettings())

    quote = meter.quote(make_call(wire_format="openai.transcriptions", model="whisper-1"), input_tokens=1000)

    assert quote.cost_nano > 0
    assert not quote.priced


def test_an_answer_that_counts_is_read_as_it_is(make_call: Any, now: datetime) -> None:
    meter = Meter(PriceBook(PricingSettings(), now=now), TokenCounter(), MeteringSettings())
    call = make_call(wire_format="openai.speech", model="tts-1", asked=Usage(characters=5))
    reader = meter.reader(call, content_type="application/json")
    assert reader is not None
    reader.feed(b'{"error": {"type": "invalid_request_error"}}')

    assert reader.finish() == ReplyFacts(complete=True, error="invalid_request_error")
