"""Fees beside tokens, and prices behind gateways."""

from datetime import datetime
from decimal import Decimal

import pytest

from metering.fees import in_batch
from metering.prices import PriceBook
from metering.settings import PricingSettings
from metering.units import NANO
from metering.usage import Usage

_SEARCHED = Usage(input_tokens=0, output_tokens=0, web_searches=1000)
_ASKED = Usage(input_tokens=0, output_tokens=0)


def cost(now: datetime, provider: str, model: str, usage: Usage, tier: str | None = None) -> Decimal:
    price = PriceBook(PricingSettings(), now=now).price(provider=provider, model=model, usage=usage, at=now, service_tier=tier)
    assert price is not None
    return Decimal(price.cost_nano) / NANO


@pytest.mark.parametrize(
    ("provider", "model", "dollars"),
    [("x_ai", "grok-4.3", 5), ("openrouter", "openai/gpt-4.1-mini", 10), ("openrouter", "deepseek/deepseek-chat", 0)],
)
def test_a_thousand_searches_cost(now: datetime, provider: str, model: str, dollars: int) -> None:
    assert cost(now, provider, model, _SEARCHED) == dollars


@pytest.mark.parametrize(
    ("tier", "dollars"), [(None, "0.012"), ("low", "0.005"), ("medium", "0.008"), ("high", "0.012"), ("other", "0.012")]
)
def test_a_request_to_perplexity_costs_by_what_it_searched(now: datetime, tier: str | None, dollars: str) -> None:
    assert cost(now, "perplexity", "sonar", _ASKED, tier) == Decimal(dollars)


def test_openrouter_costs_what_the_maker_takes(now: datetime) -> None:
    usage = Usage(input_tokens=1000, output_tokens=10)

    assert cost(now, "openrouter", "openai/text-embedding-3-small", usage) == cost(now, "openai", "text-embedding-3-small", usage)
    assert cost(now, "openrouter", "anybody/anything:free", usage) == 0


def test_searches_cost_the_same_in_a_batch() -> None:
    row = {"input_mtok": Decimal(4), "web_searches_kcount": Decimal(10)}

    assert in_batch(row, row, provider="groq") == {"input_mtok": Decimal(2), "web_searches_kcount": Decimal(10)}
    assert in_batch(row, {**row, "input_mtok": Decimal(8)}, provider="groq") == row


@pytest.mark.parametrize(
    ("provider", "model", "share"),
    [
        ("openai", "gpt-4o", "0.5"),
        ("openai", "text-embedding-3-small", "0.5"),
        ("groq", "llama-3.3-70b-versatile", "0.5"),
        ("mistral_ai", "mistral-large-latest", "0.5"),
        ("gcp.gemini", "gemini-embedding-001", "0.5"),
        ("x_ai", "grok-4-fast", "1"),
        ("cohere", "command-r", "1"),
    ],
)
def test_a_batch_costs_half_where_the_provider_says_so(now: datetime, provider: str, model: str, share: str) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0)

    assert cost(now, provider, model, usage, "batch") == cost(now, provider, model, usage) * Decimal(share)
