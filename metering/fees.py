"""What providers charge beside tokens, where the price tables say nothing of it or only the most that it can be.

Sources: xAI's and OpenAI's pricing pages (web search a call), OpenRouter's (native search at the maker's price), Perplexity's request fees
by search context size; each agrees with the cost that the provider reported in recorded calls.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from metering.rates import Row, scaled
from metering.usage import Usage

_SEARCHES = "web_searches_kcount"
_REQUESTS = "requests_kcount"
_XAI_SEARCH = Decimal(5)
_NATIVE_SEARCH = Decimal(10)
_NATIVE = ("openai/", "anthropic/")
_BY_CONTEXT: Mapping[Decimal, Mapping[str, Decimal]] = {
    Decimal(12): {"low": Decimal(5), "medium": Decimal(8), "high": Decimal(12)},
    Decimal(14): {"low": Decimal(6), "medium": Decimal(10), "high": Decimal(14)},
}
"""Perplexity's fee a thousand requests, by the highest (which the table has) and the search context size that was used."""


_LEAST_SECONDS: Mapping[str, int] = {"groq": 10}
"""The shortest sound that is charged for, by provider (Groq's page on speech to text: "minimum billed length 10 seconds")."""


def at_least(usage: Usage, *, provider: str) -> Usage:
    """Return the usage with no less than the provider charges for at the least."""
    seconds = usage.seconds
    if seconds is None or (least := _LEAST_SECONDS.get(provider)) is None or seconds >= least:
        return usage
    return replace(usage, seconds=least)


_HALF_IN_BATCHES = frozenset({"openai", "azure.ai.openai", "anthropic", "gcp.gemini", "gcp.vertex_ai", "mistral_ai", "groq"})
"""Who takes half the price for every model in a batch, as their pages on batches say."""


def in_batch(row: Row, plain: Row, *, provider: str) -> Row:
    """Return the row for work in a batch; where the table has none of its own (`row` is as the `plain` one), half the price of tokens."""
    if provider not in _HALF_IN_BATCHES or any(plain.get(name) != rate for name, rate in row.items() if not name.startswith("_")):
        return row
    fees = {name: row[name] for name in (_SEARCHES, _REQUESTS) if name in row}
    return {**scaled(row, Decimal("0.5")), **fees}


def with_fees(row: Row, *, provider: str, model: str, service_tier: str | None) -> Row:
    """Return the row with what the table leaves out."""
    fees: dict[str, Decimal] = {}
    if row.get(_SEARCHES) is None:
        if provider == "x_ai":
            fees[_SEARCHES] = _XAI_SEARCH
        elif provider == "openrouter" and model.startswith(_NATIVE):
            fees[_SEARCHES] = _NATIVE_SEARCH
    highest = row.get(_REQUESTS)
    if provider == "perplexity" and isinstance(highest, Decimal):
        fees[_REQUESTS] = _BY_CONTEXT.get(highest, {}).get(service_tier or "", highest)
    return {**row, **fees} if fees else row
