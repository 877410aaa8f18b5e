"""What usage costs: the price tables of genai-prices, with overrides from the config."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import translate

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo

from metering import bedrock_names
from metering.rates import Rates, highest, highest_of, nano, prices_tokens, shares, total
from metering.settings import PriceOverride, PricingSettings
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

_MAKERS: Mapping[str, str] = {"xai": "x-ai"}
"""Who made a model, as Vercel's gateway writes it before the slash → id of genai-prices, where they differ."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a usage costs, and which table says so."""

    cost_nano: int
    source: str
    version: str


class PriceBook:
    """Knows what a usage costs, or says that it does not. It reads neither the clock nor the network."""

    def __init__(self, settings: PricingSettings, *, now: datetime) -> None:
        self._now = now
        self._tables = get_snapshot()
        self._table_ids = frozenset(table.id for table in self._tables.providers)
        self._overrides = tuple((_glob(override.provider), _glob(override.model), override) for override in settings.overrides)
        self._known: dict[tuple[str, str], PriceOverride | ModelInfo | None] = {}
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
        row = vars(known.get_prices(at, _context(service_tier)))
        return highest(row, input_tokens) if prices_tokens(row) else None

    def dearest(self, *, provider: str, usage: Usage) -> int:
        """Return nano-dollars at the dearest price known of the provider, or of all providers when it has none."""
        rates = self._dearest.get(provider)
        if rates is None:
            table = next((each for each in self._tables.providers if each.id == _TABLES.get(provider, provider)), None)
            models = table.models if table and table.models else [model for each in self._tables.providers for model in each.models]
            rates = self._dearest[provider] = highest_of(vars(model.get_prices(self._now)) for model in models)
        return rates.cost(usage)

    def _own_price(self, *, provider: str, model: str | None, usage: Usage, at: datetime, service_tier: str | None) -> Price | None:
        known = self._find(provider, model)
        if known is None or (usage.input_tokens is None and usage.output_tokens is None):
            return None
        if isinstance(known, PriceOverride):
            return Price(_override_cost(known, usage), "override", "config")
        row = vars(known.get_prices(at, _context(service_tier)))
        return Price(nano(total(row, usage)), "genai-prices", self.version) if prices_tokens(row) else None

    def _find(self, provider: str, model: str | None) -> PriceOverride | ModelInfo | None:
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

    def _listed(self, provider: str, model: str) -> ModelInfo | None:
        table = _TABLES.get(provider, provider)
        if provider == "vercel":
            maker, _, model = model.partition("/")
            table = _MAKERS.get(maker, maker)
        elif provider == "huggingface":
            model, _, host = model.partition(":")
            table = f"huggingface_{host}"
        if table not in self._table_ids:  # genai-prices would take a name that merely resembles one
            return None
        for name in bedrock_names.table_names(model) if provider == "aws.bedrock" else (model,):
            with suppress(LookupError):
                return self._tables.find_provider_model(name, None, table, None)[1]
        return None


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.lower()))


def _context(service_tier: str | None) -> dict[str, str] | None:
    if service_tier is None:
        return None
    return {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier}


def _override_cost(rates: PriceOverride, usage: Usage) -> int:
    whole, read, written, _ = shares(usage)
    read_rate = rates.input if rates.cache_read is None else rates.cache_read
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    dollars = (whole - read - written) * rates.input + read * read_rate + written * write_rate + (usage.output_tokens or 0) * rates.output
    return nano(dollars / _MILLION)
