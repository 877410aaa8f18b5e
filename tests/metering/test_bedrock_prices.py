"""A call to Bedrock costs what its own model costs in its own region, however the path names it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from metering.meter import Meter
from metering.prices import PriceBook
from metering.reading import ReplyFacts, Source
from metering.settings import MeteringSettings, PricingSettings
from metering.tokens import TokenCounter
from metering.usage import Usage

AT = datetime(2026, 11, 1, tzinfo=UTC)
MILLION = Usage(input_tokens=1_000_000, output_tokens=0)
HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/"


@pytest.fixture(scope="module")
def prices() -> PriceBook:
    return PriceBook(PricingSettings(), now=AT)


def cost(prices: PriceBook, model: str) -> int | None:
    found = prices.price(provider="aws.bedrock", model=model, usage=MILLION, at=AT)
    return found and found.cost_nano


@pytest.mark.parametrize(
    "model",
    [
        HAIKU,
        f"us.{HAIKU}",
        f"eu.{HAIKU}",
        f"apac.{HAIKU}",
        f"jp.{HAIKU}",
        f"ca.{HAIKU}",
        f"us-gov.{HAIKU}",
        f"{PROFILE}us.{HAIKU}",
        f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}",
        f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{HAIKU}",
    ],
)
def test_a_model_that_stays_in_its_part_of_the_world_has_the_regional_price(prices: PriceBook, model: str) -> None:
    assert cost(prices, model) == 1_100_000_000


@pytest.mark.parametrize("model", [f"global.{HAIKU}", f"{PROFILE}global.{HAIKU}"])
def test_a_global_profile_has_the_global_price(prices: PriceBook, model: str) -> None:
    assert cost(prices, model) == 1_000_000_000


@pytest.mark.parametrize(
    "model",
    [
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f",
        "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0.abc/xyz",
        "zai.glm-0-unheard-of",
        "",
    ],
)
def test_a_name_that_tells_no_price_has_none(prices: PriceBook, model: str) -> None:
    assert cost(prices, model) is None


def test_mantle_names_a_model_without_its_version(prices: PriceBook) -> None:
    assert cost(prices, "openai.gpt-oss-20b") == cost(prices, "openai.gpt-oss-20b-1:0") is not None


def test_the_path_says_the_region_and_the_answer_names_the_model_where_the_path_does_not(
    prices: PriceBook, make_call: Any, make_reply: Any
) -> None:
    meter = Meter(prices, TokenCounter(), MeteringSettings())
    facts = ReplyFacts(usage=MILLION, model="claude-haiku-4-5-20251001", complete=True)

    def spent(model: str) -> int | None:
        call = make_call(provider="aws.bedrock", wire_format="bedrock.invoke", model=model)
        reading = meter.read(call, make_reply(), facts)
        assert reading.source is Source.PROVIDER_REPORTED
        return reading.cost_nano

    assert spent(f"global.{HAIKU}") == 1_000_000_000
    assert spent("arn:aws:bedrock:us-east-1:1:application-inference-profile/x") == 1_100_000_000


def test_where_two_places_of_an_answer_differ_the_cost_lies_between_them(prices: PriceBook, make_call: Any, make_reply: Any) -> None:
    meter = Meter(prices, TokenCounter(), MeteringSettings())
    facts = ReplyFacts(usage=MILLION, also=Usage(input_tokens=1_000_000, output_tokens=1_000_000), complete=True)

    reading = meter.read(make_call(provider="aws.bedrock", wire_format="bedrock.invoke_stream", model=HAIKU), make_reply(), facts)

    assert (reading.source, reading.cost_nano, reading.interval) == (
        Source.PROVIDER_REPORTED,
        1_100_000_000,
        (1_100_000_000, 6_600_000_000),
    )


def test_an_hour_of_cache_costs_more_than_five_minutes(prices: PriceBook) -> None:
    five = Usage(input_tokens=1000, output_tokens=0, cache_write_tokens=1000)
    hour = Usage(input_tokens=1000, output_tokens=0, cache_write_tokens=1000, cache_write_1h_tokens=1000)

    found = [prices.price(provider="aws.bedrock", model=f"us.{HAIKU}", usage=usage, at=AT) for usage in (five, hour)]

    assert [price.cost_nano for price in found if price] == [1_375_000, 2_200_000]
