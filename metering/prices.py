"""What usage costs: the price tables of genai-prices, the list of prices by the piece, and overrides from the config."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import translate

import genai_prices
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, StartDateConstraint

from metering import bedrock_names
from metering.fees import at_least, in_batch, with_fees
from metering.pieces import Pieces
from metering.quote import Rates, rounded
from metering.rates import Row, Tariff, highest_of, prices_tokens, scaled
from metering.settings import PriceOverride, PricingSettings
from metering.unit_prices import RATES, unit_prices
from metering.usage import Usage

_ONE = Decimal(1)
_LISTED = "genai-prices"
_BY_PIECE = "unit-prices"
_AS_OF: Mapping[str, date] = {"0.2.3": date(2026, 11, 9)}
"""The last day that a version's tables know of, beside changes that were announced ahead."""

_RATES: Mapping[str, str] = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
    "image_input": "input_image_mtok",
    "image_output": "output_image_mtok",
    **RATES,
}
"""Field of an override → rate of a table."""
_TIERS: Mapping[str, Mapping[str, str]] = {
    "batch": {"processing": "batch"},
    "on_demand_flex": {"service_tier": "flex"},
    "on_demand_priority": {"service_tier": "priority"},
}
"""What providers say of how a call was served → what the tables call it (Vertex: `trafficType`)."""

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

_MAKERS: Mapping[str, str] = {"xai": "x-ai", "z-ai": "zai", "mistralai": "mistral"}
"""Who made a model, as gateways write it before the slash → id of genai-prices, where they differ."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a usage costs, and which table says so."""

    cost_nano: int
    source: str
    version: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What there is about one model."""

    overrides: tuple[PriceOverride, ...] = ()
    listed: ModelInfo | None = None


@dataclass(frozen=True, slots=True)
class _Rated:
    """The rates of a model in one minute: prices change at whole minutes (a date, an hour of the day)."""

    minute: int
    row: Row
    tariff: Tariff
    source: str
    """`genai-prices`, `unit-prices`, `override`, or nothing when the rates are unknown."""
    pieces: Pieces | None
    tokens: bool
    """Whether tokens have a price."""


_NOTHING = _Known()
_MOST_REMEMBERED = 4096
_FREE: Row = {"input_mtok": Decimal(0), "output_mtok": Decimal(0)}
"""OpenRouter's `:free` variants."""


class PriceBook:
    """Knows what a usage costs, or says that it does not. It reads neither the clock nor the network."""

    def __init__(self, settings: PricingSettings, *, now: datetime) -> None:
        self._now = now
        self._tables = get_snapshot()
        self._table_ids = frozenset(table.id for table in self._tables.providers)
        self._overrides = tuple((_glob(override.provider), _glob(override.model), override) for override in settings.overrides)
        self._known: dict[tuple[str, str], _Known] = {}
        self._rated: dict[tuple[str, str | None, str | None, str | None], _Rated] = {}
        self._dearest: dict[str, Rates] = {}
        self.version = genai_prices.__version__
        self._versions = {_LISTED: self.version, _BY_PIECE: unit_prices().version, "override": "config"}

    @property
    def as_of(self) -> date:
        """The day up to which the tables are known to be right."""
        return _AS_OF.get(self.version) or max(_starts(self._tables, until=self._now.date()), default=date.min)

    @property
    def overrides(self) -> tuple[PriceOverride, ...]:
        """The prices of the config, the first that matches counts."""
        return tuple(override for _, _, override in self._overrides)

    @property
    def tables(self) -> Iterator[tuple[str, ModelInfo]]:
        """Every listed model, with the id of its table."""
        return ((table.id, model) for table in self._tables.providers for model in table.models)

    def price(  # noqa: PLR0913  # what a price depends on
        self,
        *,
        provider: str,
        model: str | None,
        usage: Usage,
        at: datetime,
        service_tier: str | None = None,
        variant: str | None = None,
        mark: Decimal = _ONE,
    ) -> Price | None:
        """Return the price of `usage` on `model` (and of what it used on other models), or None when a part of it is unknown.

        `variant` is what else a price by the piece goes by (size and quality of a picture), `mark` what the place of the call adds to
        the listed price.
        """
        own = self._rates(provider, model, at, service_tier, variant)
        atto = _atto(own, usage, provider)
        if atto is None:
            return None
        for other, part in usage.other_models:
            more = _atto(self._rates(provider, other, at, service_tier), part, provider)
            if more is None:
                return None
            atto += more
        if mark != 1 and own.source == _LISTED:
            above, below = mark.as_integer_ratio()
            fees = own.tariff.atto(Usage(web_searches=usage.web_searches)) if usage.web_searches else 0
            atto = (atto - fees) * above // below + fees
        return Price(rounded(atto), own.source, self._versions[own.source])

    def rates(self, *, provider: str, model: str | None, at: datetime, service_tier: str | None = None) -> tuple[Row, str] | None:
        """Return the rates of a model at a time, and where they are from (`genai-prices`, `unit-prices` or `override`), or None."""
        rated = self._rates(provider, model, at, service_tier)
        return (rated.row, rated.source) if rated.source else None

    def _rates(self, provider: str, model: str | None, at: datetime, service_tier: str | None, variant: str | None = None) -> _Rated:
        key, minute = (provider, model, service_tier, variant), int(at.timestamp()) // 60
        rated = self._rated.get(key)
        if rated is None or rated.minute != minute:
            if len(self._rated) >= _MOST_REMEMBERED:
                self._rated.clear()
            row, source = self._look_up(provider, model, at, service_tier, variant) or ({}, "")
            rated = self._rated[key] = _Rated(minute, row, Tariff(row), source, Pieces.of(row), prices_tokens(row))
        return rated

    def _look_up(
        self, provider: str, model: str | None, at: datetime, service_tier: str | None, variant: str | None
    ) -> tuple[Row, str] | None:
        known = self._find(provider, model)
        override = next((each for each in known.overrides if each.since is None or each.since <= at.astimezone(UTC).date()), None)
        if override is not None and override.input is not None:
            return _given(override), "override"
        if provider == "openrouter" and (model or "").endswith(":free"):
            return _FREE, _LISTED
        listed: Row = _listed_rates(known.listed, provider, at, service_tier) if known.listed else {}
        pieces = unit_prices().of(provider, model or "", variant)
        row = {**with_fees(listed, provider=provider, model=model or "", service_tier=service_tier), **pieces} if listed else pieces
        if override is not None:
            row = {**scaled(row, override.factor), **_given(override)}
        if not prices_tokens(row) and Pieces.of(row) is None:
            return None
        if override is not None:
            return row, "override"
        return row, _BY_PIECE if pieces else _LISTED

    def dearest_rates(  # noqa: PLR0913  # what a price depends on
        self,
        *,
        provider: str,
        model: str | None,
        input_tokens: int,
        at: datetime,
        service_tier: str | None,
        media: bool = False,
        mark: Decimal = _ONE,
    ) -> Rates | None:
        """Return the most that a token of `model` can cost, whatever cache class it falls in; None for an unknown model."""
        rated = self._rates(provider, model, at, service_tier)
        if not rated.tokens:
            return None
        rates = rated.tariff.highest(input_tokens, media=media)
        return rates if mark == 1 or rated.source != _LISTED else rates.marked(mark)

    def dearest_of(self, provider: str) -> Rates:
        """Return the dearest rates known of the provider, or of all providers when it has none."""
        rates = self._dearest.get(provider)
        if rates is None:
            table = next((each for each in self._tables.providers if each.id == _TABLES.get(provider, provider)), None)
            models = table.models if table and table.models else [model for each in self._tables.providers for model in each.models]
            rates = self._dearest[provider] = highest_of(vars(model.get_prices(self._now)) for model in models)
        return rates

    def _find(self, provider: str, model: str | None) -> _Known:
        if not model:
            return _NOTHING
        key = provider, model
        if key not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = _Known(tuple(self._matching(provider, model.lower())), self._listed(provider, model))
        return self._known[key]

    def _matching(self, provider: str, model: str) -> Iterator[PriceOverride]:
        """Yield the overrides of a model, as the config orders them."""
        return (found for on, of, found in self._overrides if on.match(provider) and of.match(model))

    def _listed(self, provider: str, model: str) -> ModelInfo | None:
        table = _TABLES.get(provider, provider)
        if provider == "vercel":
            table, model = _made_by(model)
        elif provider == "huggingface":
            model, _, host = model.partition(":")
            table = f"huggingface_{host}"
        if table not in self._table_ids:  # genai-prices would take a name that merely resembles one
            return None
        for name in _names(table, model):
            with suppress(LookupError):
                return self._tables.find_provider_model(name, None, table, None)[1]
        # OpenRouter charges what the maker does; its own table lags behind.
        return self._listed("vercel", model) if provider == "openrouter" and "/" in model else None


def _listed_rates(listed: ModelInfo, provider: str, at: datetime, service_tier: str | None) -> Row:
    row: Row = vars(listed.get_prices(at, _context(provider, service_tier)))
    return in_batch(row, vars(listed.get_prices(at)), provider=provider) if service_tier == "batch" else row


def _atto(rated: _Rated, usage: Usage, provider: str) -> int | None:
    """Return what a usage costs by the rates of a model; None where a part of it is unknown."""
    if rated.pieces is not None:
        return rated.pieces.atto(at_least(usage, provider=provider), rated.tariff)
    if not rated.source or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    return rated.tariff.atto(usage)


def _names(table: str, model: str) -> Iterator[str]:
    """Yield the names that a model may have in a table."""
    if table == "aws":
        yield from bedrock_names.table_names(model)
        return
    yield model
    if table == "x-ai":
        yield model.replace(".", "-")  # gateways write grok-4.1-fast


def _made_by(model: str) -> tuple[str, str]:
    """Return the table of who made a model, and its name there."""
    maker, _, name = model.partition("/")
    return _MAKERS.get(maker, maker), name


def provider_of_table(table: str) -> str:
    """Return the provider, by its OpenTelemetry id, that a table of genai-prices is about."""
    return next((provider for provider, name in _TABLES.items() if name == table), table)


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.lower()))


def _context(provider: str, service_tier: str | None) -> Mapping[str, str] | None:
    if not service_tier:
        return None
    tier = service_tier.lower()
    if tier == "fast" and provider == "anthropic":
        return {"speed": "fast"}
    return _TIERS.get(tier) or {"service_tier": tier}


def _given(override: PriceOverride) -> dict[str, Decimal]:
    """Return the rates that an override itself gives."""
    return {rate: given for name, rate in _RATES.items() if (given := getattr(override, name)) is not None}


def _starts(tables: DataSnapshot, *, until: date) -> Iterator[date]:
    """Yield the days on which prices began that are not to come."""
    for table in tables.providers:
        for model in table.models:
            for price in model.prices if isinstance(model.prices, list) else ():
                start = price.constraint.start_date if isinstance(price.constraint, StartDateConstraint) else None
                if start is not None and start <= until:
                    yield start
