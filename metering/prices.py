"""What usage costs: the price tables of genai-prices, with overrides from the config."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fnmatch import translate

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices
from genai_prices.types import Usage as PricedUsage

from metering.settings import PriceOverride, PricingSettings
from metering.units import NANO
from metering.usage import Usage

_MILLION = 1_000_000

_TABLES: Mapping[str, str] = {
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "moonshot_ai": "moonshotai",
    "github.copilot": "github-copilot",
}
"""OpenTelemetry id → id of genai-prices, where they differ."""

_RESELLERS: Mapping[str, str] = {"google": "google", "xai": "x-ai", "moonshotai": "moonshotai", "mistral": "mistral"}
"""Who made a model, as Vercel's gateway writes it before the slash → id of genai-prices, where they differ or could be mistaken."""

_INPUT_RATES = ("input_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok")
_OUTPUT_RATES = ("output_mtok", "output_reasoning_mtok")


@dataclass(frozen=True, slots=True)
class Price:
    """What a usage costs, and which table says so."""

    cost_nano: int
    source: str
    version: str


@dataclass(frozen=True, slots=True)
class _Listed:
    """A model in the tables."""

    provider: Provider
    model: ModelInfo


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal

    def cost(self, usage: Usage) -> int:
        """Return nano-dollars."""
        return nano((self.input * (usage.input_tokens or 0) + self.output * (usage.output_tokens or 0)) / _MILLION)


class PriceBook:
    """Knows what a usage costs, or says that it does not. It reads neither the clock nor the network."""

    def __init__(self, settings: PricingSettings, *, now: datetime) -> None:
        self._now = now
        self._tables = get_snapshot()
        self._overrides = tuple((_glob(override.provider), _glob(override.model), override) for override in settings.overrides)
        self._known: dict[tuple[str, str], PriceOverride | _Listed | None] = {}
        self._dearest: dict[str, Rates] = {}
        self.version = genai_prices.__version__

    def price(self, *, provider: str, model: str | None, usage: Usage, at: datetime, service_tier: str | None = None) -> Price | None:
        """Return the price of `usage` on `model` (and of what it used on other models), or None when a part of it is unknown."""
        own = self._own_price(provider=provider, model=model, usage=usage, at=at, service_tier=service_tier)
        if own is None:
            return None
        cost = own.cost_nano
        for other, part in usage.other_models:
            priced = self._own_price(provider=provider, model=other, usage=part, at=at, service_tier=service_tier)
            if priced is None:
                return None
            cost += priced.cost_nano
        return Price(cost, own.source, own.version)

    def dearest_rates(self, *, provider: str, model: str | None, input_tokens: int, at: datetime, service_tier: str | None) -> Rates | None:
        """Return the most that a token of `model` can cost, whatever cache class it falls in; None for an unknown model."""
        known = self._find(provider, model)
        if known is None:
            return None
        if isinstance(known, PriceOverride):
            return Rates(max(known.input, known.cache_write or known.input), known.output)
        prices = vars(known.model.get_prices(at, _context(service_tier)))
        rates = Rates(_highest(prices, _INPUT_RATES, input_tokens), _highest(prices, _OUTPUT_RATES, input_tokens))
        return rates if _has_token_price(prices) else None

    def dearest(self, *, provider: str, usage: Usage) -> int:
        """Return nano-dollars at the dearest price known of the provider, or of all providers when it has none."""
        rates = self._dearest.get(provider)
        if rates is None:
            table = next((each for each in self._tables.providers if each.id == _TABLES.get(provider, provider)), None)
            models = table.models if table and table.models else [model for each in self._tables.providers for model in each.models]
            rates = self._dearest[provider] = _dearest_of(models, self._now)
        return rates.cost(usage)

    def _own_price(self, *, provider: str, model: str | None, usage: Usage, at: datetime, service_tier: str | None) -> Price | None:
        known = self._find(provider, model)
        if known is None or (usage.input_tokens is None and usage.output_tokens is None):
            return None
        if isinstance(known, PriceOverride):
            return Price(_override_cost(known, usage), "override", "config")
        total = _total(known, usage, at=at, context=_context(service_tier))
        return None if total is None else Price(nano(total), "genai-prices", self.version)

    def _find(self, provider: str, model: str | None) -> PriceOverride | _Listed | None:
        if not model:
            return None
        key = provider, model
        if key not in self._known:
            if len(self._known) >= 4096:
                self._known.clear()
            self._known[key] = self._override(provider, model) or self._listed(provider, model)
        return self._known[key]

    def _override(self, provider: str, model: str) -> PriceOverride | None:
        """Return the first override that matches."""
        return next((found for on, of, found in self._overrides if on.match(provider) and of.match(model.lower())), None)

    def _listed(self, provider: str, model: str) -> _Listed | None:
        table = _TABLES.get(provider, provider)
        if provider == "vercel":
            maker, _, model = model.partition("/")
            table = _RESELLERS.get(maker, maker)
        elif provider == "huggingface":
            model, _, host = model.partition(":")
            table = f"huggingface_{host}"
        try:
            found = self._tables.find_provider_model(model, None, table, None)
        except LookupError:
            return None
        return _Listed(*found)


def nano(dollars: Decimal) -> int:
    """Return dollars as nano-dollars, rounded half to even."""
    return int((dollars * NANO).quantize(Decimal(1), ROUND_HALF_EVEN))


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.lower()))


def _context(service_tier: str | None) -> dict[str, str] | None:
    if service_tier is None:
        return None
    return {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier}


def _has_token_price(prices: Mapping[str, object]) -> bool:
    return prices.get("input_mtok") is not None or prices.get("output_mtok") is not None


def _highest(prices: Mapping[str, object], names: Iterable[str], input_tokens: int | None) -> Decimal:
    """Return the highest of the rates; of a tiered one the tiers up to `input_tokens`, or all of them for None."""
    highest = Decimal(0)
    for name in names:
        rate = prices.get(name)
        if isinstance(rate, Decimal):
            highest = max(highest, rate)
        elif isinstance(rate, TieredPrices):
            reached = (tier.price for tier in rate.tiers if input_tokens is None or input_tokens > tier.start)
            highest = max(highest, rate.base, *reached)
    return highest


def _dearest_of(models: Iterable[ModelInfo], at: datetime) -> Rates:
    tables = [vars(model.get_prices(at)) for model in models]
    return Rates(
        max((_highest(prices, _INPUT_RATES, None) for prices in tables), default=Decimal(0)),
        max((_highest(prices, _OUTPUT_RATES, None) for prices in tables), default=Decimal(0)),
    )


def _override_cost(rates: PriceOverride, usage: Usage) -> int:
    whole, read, written, _ = _shares(usage)
    read_rate = rates.input if rates.cache_read is None else rates.cache_read
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    total = (whole - read - written) * rates.input + read * read_rate + written * write_rate + (usage.output_tokens or 0) * rates.output
    return nano(total / _MILLION)


def _shares(usage: Usage) -> tuple[int, int, int, int]:
    """Return input, cache reads, cache writes and those for an hour, clamped so that the shares fit into the whole."""
    whole = usage.input_tokens or 0
    read = min(usage.cache_read_tokens or 0, whole)
    written = min(usage.cache_write_tokens or 0, whole - read)
    return whole, read, written, min(usage.cache_write_1h_tokens or 0, written)


def _total(listed: _Listed, usage: Usage, *, at: datetime, context: dict[str, str] | None) -> Decimal | None:
    """Return dollars; None where the table prices something else than tokens, for then a zero would be a lie."""
    prices: ModelPrice = listed.model.get_prices(at, context)
    if not _has_token_price(vars(prices)):
        return None
    priced = _priced_usage(usage)
    found = listed.model.calc_price(priced, listed.provider, genai_request_timestamp=at, price_context=context)
    return found.total_price


def _priced_usage(usage: Usage) -> PricedUsage:
    whole, read, written, hour = _shares(usage)
    output = usage.output_tokens or 0
    audio = min(usage.audio_input_tokens or 0, whole - read - written)
    audio_out = min(usage.audio_output_tokens or 0, output)
    return PricedUsage(
        input_tokens=whole,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        input_audio_tokens=audio,
        cache_audio_read_tokens=0,
        output_audio_tokens=audio_out,
        output_reasoning_tokens=min(usage.reasoning_tokens or 0, output - audio_out),
        web_searches=usage.web_searches or 0,
    )
