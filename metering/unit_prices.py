"""What pages, seconds, characters, searches, pictures and films cost, where the tables of genai-prices say nothing of it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fnmatch import translate
from functools import cache
from pathlib import Path

from metering.rates import Row

_FILE = Path(__file__).with_name("unit_prices.toml")

RATES: Mapping[str, str] = {
    "thousand_pages": "input_document_kpages",
    "thousand_annotated_pages": "input_annotated_document_kpages",
    "audio_hour": "audio_hours",
    "million_characters": "input_mchars",
    "thousand_searches": "rerank_searches_kcount",
    "image": "image",
    "video_second": "video_second",
    "compute_second": "compute_second",
}
"""Field of a price, in the list and in the config → rate of a row; where genai-prices has a name for it, that one."""


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """One entry of the list. `variant` is a glob over what else the price goes by; None is any."""

    provider: str
    model: re.Pattern[str]
    variant: re.Pattern[str] | None
    rates: Row
    source: str
    as_of: date

    def is_for(self, provider: str, model: str, variant: str) -> bool:
        """Whether the entry is about such a call."""
        if provider != self.provider or not self.model.match(model):
            return False
        return self.variant is None or self.variant.match(variant) is not None


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """The list, and its version: the day on which it was last looked through."""

    version: str
    entries: tuple[UnitPrice, ...]

    def of(self, provider: str, model: str, variant: str | None) -> Row:
        """Return the rates of a model; empty when the list does not have it. Of the entries that match the last counts."""
        found: dict[str, object] = {}
        for entry in self.entries:
            if entry.is_for(provider, model.lower(), variant or ""):
                found |= entry.rates
        return found


@cache
def unit_prices() -> UnitPrices:
    """Return the list that ships with the gateway."""
    listed = tomllib.loads(_FILE.read_text(encoding="utf-8"), parse_float=Decimal)
    return UnitPrices(listed["version"], tuple(map(_entry, listed["price"])))


def _entry(given: Mapping[str, object]) -> UnitPrice:
    variant = given.get("variant")
    return UnitPrice(
        provider=str(given["provider"]),
        model=re.compile(translate(str(given["model"]))),
        variant=None if variant is None else re.compile(translate(str(variant))),
        rates={rate: given[name] for name, rate in RATES.items() if name in given},
        source=str(given["source"]),
        as_of=date.fromisoformat(str(given["as_of"])),
    )
