"""The cost that providers reported themselves, against ours for the usage of the same calls.

Where the two differ, theirs is kept as the cost. What remains apart is theirs to know: hosts that OpenRouter chose (Kimi, Qwen, GLM),
models that ran inside a call (its advisor), searches by Exa and files that were read (each with a fee of its own), and Vercel's gateway,
which charged the reasoning of GPT-5 twice.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import pytest

from metering.prices import PriceBook
from metering.providers import FORMATS
from metering.providers.catalog import provider_of_host, route
from metering.reading import ReplyFacts
from metering.settings import PricingSettings
from tests.support.corpus import CORPUS, MISSING, Exchange, exchanges

pytestmark = [pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING), pytest.mark.untraced]

_FLOORS = {"x_ai": 1.0, "perplexity": 1.0, "openrouter": 0.8, "vercel": 0.8}
_CREATED = re.compile(rb'"created(?:_at)?":\s*(\d{10})')
_SOME_TIME = datetime(2026, 8, 1, tzinfo=UTC)


def _reported() -> Iterator[tuple[Exchange, str, ReplyFacts, str | None]]:
    for exchange in exchanges():
        provider = provider_of_host(exchange.host, ("localhost", "*.local"))
        if provider is None or provider.id not in _FLOORS:
            continue
        found = route(provider, exchange.method, exchange.target)
        wire = FORMATS.get(found.wire_format or "")
        if wire is None:
            continue
        reader = wire.reader(provider=provider.id, content_type=exchange.response_headers.get("content-type"))
        reader.feed(exchange.response_body)
        facts = reader.finish()
        counts_tokens = facts.usage is not None and facts.usage.input_tokens is not None  # pictures are priced by size and quality
        if counts_tokens and facts.reported_cost_nano is not None:
            yield exchange, provider.id, facts, _asked_for(exchange)


def _asked_for(exchange: Exchange) -> str | None:
    try:
        body = orjson.loads(exchange.request_body)
    except orjson.JSONDecodeError:
        return None
    return body.get("model") if isinstance(body, dict) else None


def test_our_cost_is_near_the_one_that_providers_report() -> None:
    book = PriceBook(PricingSettings(), now=_SOME_TIME)
    near, compared = Counter[str](), Counter[str]()

    for exchange, provider, facts, asked in _reported():
        assert facts.usage is not None
        assert facts.reported_cost_nano is not None
        created = _CREATED.search(exchange.response_body)
        at = datetime.fromtimestamp(int(created[1]), UTC) if created else _SOME_TIME
        prices = (
            book.price(provider=provider, model=name, usage=facts.usage, at=at, service_tier=facts.service_tier)
            for name in (facts.model, asked)
        )
        price = next((each for each in prices if each), None)
        compared[provider] += 1
        near[provider] += price is not None and abs(price.cost_nano - facts.reported_cost_nano) <= facts.reported_cost_nano * 0.01 + 1

    shares = {provider: near[provider] / compared[provider] for provider in _FLOORS}
    print({provider: f"{near[provider]} of {compared[provider]} within 1 %: {share:.3f}" for provider, share in shares.items()})  # noqa: T201  # the figures
    assert all(shares[provider] >= floor for provider, floor in _FLOORS.items())
