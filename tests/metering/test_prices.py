"""Prices: the tables, the overrides, and what is not known."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Usage as PricedUsage
from hypothesis import given
from hypothesis import strategies as st

from metering import prices as prices_module
from metering.prices import PriceBook
from metering.rates import Tariff
from metering.settings import PriceOverride, PricingSettings
from metering.units import NANO
from metering.usage import Usage

_USAGE = Usage(input_tokens=1_000_000, output_tokens=100_000)


@pytest.fixture
def book(now: datetime) -> PriceBook:
    return PriceBook(PricingSettings(), now=now)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("azure.ai.openai", "gpt-4o"),
        ("aws.bedrock", "us.anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("gcp.gemini", "gemini-2.5-pro"),
        ("gcp.vertex_ai", "claude-sonnet-4-5"),
        ("mistral_ai", "mistral-large-latest"),
        ("x_ai", "grok-3"),
        ("groq", "llama-3.3-70b-versatile"),
        ("deepseek", "deepseek-chat"),
        ("perplexity", "sonar"),
        ("vercel", "xai/grok-3"),
        ("vercel", "anthropic/claude-sonnet-4-5"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct:together"),
        ("openrouter", "openai/gpt-4o"),
    ],
)
def test_a_listed_model_has_a_price(book: PriceBook, now: datetime, provider: str, model: str) -> None:
    price = book.price(provider=provider, model=model, usage=_USAGE, at=now)

    assert price is not None
    assert price.cost_nano > 0
    assert (price.source, price.version) == ("genai-prices", book.version)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-99"),
        ("openai", None),
        ("openai_compatible", "gpt-4o"),
        ("tollwatch", "gpt-4o"),
        ("ollama", "llama3"),
        ("vercel", "nobody/x"),
    ],
)
def test_an_unknown_model_has_no_price(book: PriceBook, now: datetime, provider: str, model: str | None) -> None:
    assert book.price(provider=provider, model=model, usage=_USAGE, at=now) is None


def test_no_usage_has_no_price(book: PriceBook, now: datetime) -> None:
    assert book.price(provider="openai", model="gpt-4o", usage=Usage(), at=now) is None


def test_cache_classes_have_their_own_rates(book: PriceBook, now: datetime) -> None:
    usage = Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=200, cache_write_tokens=400, cache_write_1h_tokens=100)

    price = book.price(provider="anthropic", model="claude-sonnet-4-5", usage=usage, at=now)

    # Per million: 3 fresh, 0.30 read, 3.75 written for 5 minutes, 6 for an hour, 15 out.
    dollars = (400 * Decimal(3) + 200 * Decimal("0.3") + 300 * Decimal("3.75") + 100 * Decimal(6) + 100 * Decimal(15)) / 1_000_000
    assert price is not None
    assert price.cost_nano == dollars * NANO


def test_a_cache_count_above_the_input_is_clamped(book: PriceBook, now: datetime) -> None:
    price = book.price(
        provider="azure.ai.inference", model="gpt-4o", usage=Usage(input_tokens=7, output_tokens=0, cache_read_tokens=163), at=now
    )

    assert price is not None
    assert 0 < price.cost_nano < 7 * 2500


def test_usage_on_other_models_is_priced_as_theirs(book: PriceBook, now: datetime) -> None:
    own, other = Usage(input_tokens=100, output_tokens=10), Usage(input_tokens=200, output_tokens=20)
    together = Usage(input_tokens=100, output_tokens=10, other_models=(("claude-opus-4-1", other),))

    def cost(model: str, usage: Usage) -> int:
        price = book.price(provider="anthropic", model=model, usage=usage, at=now)
        assert price is not None
        return price.cost_nano

    assert cost("claude-sonnet-4-5", together) == cost("claude-sonnet-4-5", own) + cost("claude-opus-4-1", other)
    unknown = Usage(input_tokens=1, output_tokens=1, other_models=(("nothing", other),))
    assert book.price(provider="anthropic", model="claude-sonnet-4-5", usage=unknown, at=now) is None


def test_a_service_tier_changes_the_price(book: PriceBook, now: datetime) -> None:
    prices = {
        tier: book.price(provider="openai", model="gpt-5", usage=_USAGE, at=now, service_tier=tier)
        for tier in (None, "default", "priority", "flex", "batch")
    }
    costs = {tier: price.cost_nano for tier, price in prices.items() if price}

    assert costs[None] == costs["default"]
    assert costs["flex"] < costs["default"] < costs["priority"]
    assert costs["batch"] < costs["default"]


def test_overrides_come_first_and_the_first_that_matches_counts(now: datetime) -> None:
    book = PriceBook(
        PricingSettings(
            overrides=(
                PriceOverride(
                    provider="openai",
                    model="GPT-4o*",
                    input=Decimal(1),
                    output=Decimal(2),
                    cache_read=Decimal("0.5"),
                    cache_write=Decimal(3),
                ),
                PriceOverride(model="*", input=Decimal(0), output=Decimal(0)),
            )
        ),
        now=now,
    )
    usage = Usage(input_tokens=100, output_tokens=10, cache_read_tokens=20, cache_write_tokens=30)

    first = book.price(provider="openai", model="gpt-4o-mini", usage=usage, at=now)
    second = book.price(provider="openai_compatible", model="llama", usage=usage, at=now)

    assert first is not None
    assert second is not None
    assert (first.cost_nano, first.source, first.version) == (1000 * (50 * 1 + 10 + 90 + 20), "override", "config")
    assert second.cost_nano == 0
    rates = book.dearest_rates(provider="openai", model="gpt-4o", input_tokens=1, at=now, service_tier=None)
    assert rates is not None
    assert (rates.input, rates.output) == (3 * 10**12, 2 * 10**12)  # atto-dollars a token


def test_a_model_that_is_not_priced_by_tokens_has_no_price(book: PriceBook, now: datetime) -> None:
    assert book.price(provider="openai", model="whisper-1", usage=_USAGE, at=now) is None
    assert book.dearest_rates(provider="openai", model="whisper-1", input_tokens=1, at=now, service_tier=None) is None


def test_the_dearest_price_is_no_less_than_any_of_the_provider(book: PriceBook, now: datetime) -> None:
    dearest = book.dearest_of("openai").cost(input_tokens=1_000_000, output_tokens=100_000)

    for model in ("gpt-4o", "o1-pro", "gpt-5", "gpt-4"):
        price = book.price(provider="openai", model=model, usage=_USAGE, at=now)
        assert price is not None
        assert price.cost_nano <= dearest
    assert book.dearest_of("nobody").cost(input_tokens=1_000_000, output_tokens=100_000) >= dearest


def test_many_names_do_not_fill_the_memory(book: PriceBook, now: datetime) -> None:
    for number in range(5000):
        book.price(provider="openai_compatible", model=f"m{number}", usage=_USAGE, at=now)

    assert len(book._known) <= 4096  # noqa: SLF001  # the bound is what is tested


_counts = st.integers(0, 500_000)
_usages = st.builds(
    Usage,
    input_tokens=_counts,
    output_tokens=_counts,
    cache_read_tokens=st.none() | _counts,
    cache_write_tokens=st.none() | _counts,
    cache_write_1h_tokens=st.none() | _counts,
    reasoning_tokens=st.none() | _counts,
    audio_input_tokens=st.none() | _counts,
    audio_output_tokens=st.none() | _counts,
    web_searches=st.none() | st.integers(0, 9),
)
_MODELS = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.4"),
    ("openai", "gpt-4o-audio-preview"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
)


@given(usage=_usages, where=st.sampled_from(_MODELS))
def test_a_cost_is_what_genai_prices_says_and_never_negative(usage: Usage, where: tuple[str, str]) -> None:
    snapshot = get_snapshot()
    table, model = snapshot.find_provider_model(where[1], None, where[0], None)
    whole, output = usage.input_tokens or 0, usage.output_tokens or 0
    read = min(usage.cache_read_tokens or 0, whole)
    written = min(usage.cache_write_tokens or 0, whole - read)
    audio_out = min(usage.audio_output_tokens or 0, output)
    theirs = PricedUsage(
        input_tokens=whole,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(usage.cache_write_1h_tokens or 0, written),
        input_audio_tokens=min(usage.audio_input_tokens or 0, whole - read - written),
        cache_audio_read_tokens=0,
        output_audio_tokens=audio_out,
        output_reasoning_tokens=min(usage.reasoning_tokens or 0, output - audio_out),
        web_searches=usage.web_searches or 0,
    )

    ours = Decimal(Tariff(vars(model.get_prices(snapshot.timestamp))).atto(usage)) / 10**18

    assert ours == model.calc_price(theirs, table, genai_request_timestamp=snapshot.timestamp).total_price
    assert ours >= 0


@given(a=_usages, b=_usages, c=_usages)
def test_usage_adds_in_any_grouping(a: Usage, b: Usage, c: Usage) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + Usage() == a


def cost(book: PriceBook, at: datetime, *, provider: str = "openai", model: str = "gpt-4o", usage: Usage = _USAGE, **more: Any) -> Decimal:
    price = book.price(provider=provider, model=model, usage=usage, at=at, **more)
    assert price is not None
    return Decimal(price.cost_nano) / NANO


def test_an_override_without_rates_marks_the_listed_price_up(book: PriceBook, now: datetime) -> None:
    regional = PriceOverride(provider="azure.ai.openai", model="gpt-4o*", factor=Decimal("1.1"), cache_read=Decimal(0))
    marked = PriceBook(PricingSettings(overrides=(regional,)), now=now)
    read = Usage(input_tokens=100, output_tokens=0, cache_read_tokens=100)

    assert cost(marked, now, provider="azure.ai.openai") == cost(book, now, provider="azure.ai.openai") * Decimal("1.1")
    assert cost(marked, now, provider="azure.ai.openai", usage=read) == 0
    assert cost(marked, now) == cost(book, now)
    found = marked.rates(provider="azure.ai.openai", model="gpt-4o", at=now)
    assert found is not None
    assert found[1] == "override"


def test_a_mark_on_a_model_that_is_not_listed_gives_no_price(now: datetime) -> None:
    book = PriceBook(PricingSettings(overrides=(PriceOverride(model="*", factor=Decimal(2)),)), now=now)

    assert book.price(provider="openai", model="gpt-99", usage=_USAGE, at=now) is None


def test_tiers_scale_with_a_mark(book: PriceBook, now: datetime) -> None:
    marked = PriceBook(PricingSettings(overrides=(PriceOverride(model="gemini-2.5-pro", factor=Decimal(2)),)), now=now)
    long = Usage(input_tokens=300_000, output_tokens=10)

    assert cost(marked, now, provider="gcp.gemini", model="gemini-2.5-pro", usage=long) == 2 * cost(
        book, now, provider="gcp.gemini", model="gemini-2.5-pro", usage=long
    )


def test_an_override_counts_from_its_day_on(now: datetime) -> None:
    dear = PriceOverride(model="gpt-4o", since=now.date(), input=Decimal(1000), output=Decimal(1000))
    book = PriceBook(PricingSettings(overrides=(dear,)), now=now)

    assert cost(book, now) == Decimal(1100)
    assert cost(book, now - timedelta(days=1)) < 100


def test_half_an_override_is_an_error() -> None:
    with pytest.raises(ValueError, match="or neither"):
        PriceOverride(model="x", input=Decimal(1))


def test_audio_and_pictures_have_their_own_rates(now: datetime) -> None:
    override = PriceOverride(
        model="m",
        input=Decimal(1),
        output=Decimal(1),
        audio_input=Decimal(10),
        audio_output=Decimal(20),
        image_input=Decimal(30),
        image_output=Decimal(40),
        cache_write=Decimal(2),
        cache_write_1h=Decimal(3),
    )
    book = PriceBook(PricingSettings(overrides=(override,)), now=now)
    usage = Usage(
        input_tokens=100,
        output_tokens=100,
        audio_input_tokens=10,
        image_input_tokens=10,
        audio_output_tokens=10,
        image_output_tokens=10,
        cache_write_tokens=20,
        cache_write_1h_tokens=10,
    )

    micros = 60 * 1 + 10 * 10 + 10 * 30 + 10 * 2 + 10 * 3 + 80 * 1 + 10 * 20 + 10 * 40
    assert cost(book, now, model="m", usage=usage) == Decimal(micros) / 1_000_000


def test_a_hold_of_a_prompt_with_media_takes_their_rates(now: datetime) -> None:
    speaking = PriceOverride(model="m", input=Decimal(1), output=Decimal(1), audio_input=Decimal(10))
    book = PriceBook(PricingSettings(overrides=(speaking,)), now=now)

    def dearest(*, media: bool) -> int:
        rates = book.dearest_rates(provider="openai", model="m", input_tokens=1, at=now, service_tier=None, media=media)
        assert rates is not None
        return rates.input

    assert dearest(media=True) == 10 * dearest(media=False)


def test_how_a_call_was_served_is_known_by_many_names(book: PriceBook, now: datetime) -> None:
    gemini = {"provider": "gcp.vertex_ai", "model": "gemini-3.8-flash-tts"}

    assert cost(book, now, **gemini, service_tier="ON_DEMAND_FLEX") == cost(book, now, **gemini, service_tier="flex")
    assert cost(book, now, **gemini, service_tier="ON_DEMAND_FLEX") < cost(book, now, **gemini, service_tier="ON_DEMAND")
    claude = {"provider": "anthropic", "model": "claude-opus-5-5"}
    assert cost(book, now, **claude, service_tier="batch") < cost(book, now, **claude) < cost(book, now, **claude, service_tier="fast")


def test_a_regional_mark_is_on_listed_prices_alone(book: PriceBook, now: datetime) -> None:
    own = PriceBook(PricingSettings(overrides=(PriceOverride(model="gpt-4o", input=Decimal(1), output=Decimal(1)),)), now=now)

    assert cost(book, now, mark=Decimal("1.1")) == cost(book, now) * Decimal("1.1")
    assert cost(own, now, mark=Decimal("1.1")) == cost(own, now)


def test_prices_are_those_of_the_time_of_the_call(book: PriceBook) -> None:
    model = {"provider": "openai", "model": "o3"}

    assert cost(book, datetime(2025, 6, 1, tzinfo=UTC), **model) > cost(book, datetime(2025, 7, 1, tzinfo=UTC), **model)


def test_the_age_of_the_tables_is_known(book: PriceBook, now: datetime) -> None:
    assert book.version in prices_module._AS_OF  # noqa: SLF001  # a new version needs its day
    other = PriceBook(PricingSettings(), now=now)
    other.version = "0.0.0"

    assert other.as_of <= now.date()
    assert (book.as_of - other.as_of).days < 60
