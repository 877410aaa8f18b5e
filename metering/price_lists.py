"""Price tables as lists that people read, files keep, and two of which can be compared."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import cast

from genai_prices.types import TieredPrices

from metering.prices import PriceBook, provider_of_table
from metering.rates import Row

FOLDER = "prices"
"""Where, in the data directory, the list of each version of the tables is kept that the gateway ran with."""

type Key = tuple[str, str]
type Listed = Mapping[str, str]
"""Rate → dollars as people read them (`0.5`, tiered ones `0.5; over 200000: 1`)."""


@dataclass(frozen=True, slots=True)
class Change:
    """What another list says differently of one rate of a model; None where it has none."""

    provider: str
    model: str
    rate: str
    before: str | None
    after: str | None

    def as_json(self) -> dict[str, str | None]:
        """Return the shape of `prices diff --json`."""
        return {"provider": self.provider, "model": self.model, "rate": self.rate, "before": self.before, "after": self.after}


def readable(row: Row) -> dict[str, str]:
    """Return the rates of a row that are priced."""
    return {name: text for name, rate in row.items() if not name.startswith("_") and (text := _text(rate)) is not None}


def _text(rate: object) -> str | None:
    if isinstance(rate, TieredPrices):
        tiers = (f"over {tier.start}: {tier.price.normalize():f}" for tier in rate.tiers)
        return "; ".join([f"{rate.base.normalize():f}", *tiers])
    return f"{rate.normalize():f}" if isinstance(rate, Decimal) else None


def in_force(book: PriceBook, at: datetime) -> dict[Key, Listed]:
    """Return the rates of every known model at a time, overrides included, by provider and model."""
    found: dict[Key, Listed] = {}
    for table, model in book.tables:
        provider = provider_of_table(table)
        if rates := book.rates(provider=provider, model=model.id, at=at):
            found[provider, model.id] = readable(rates[0])
    for override in book.overrides:
        rates = book.rates(provider=override.provider, model=override.model, at=at)
        if rates is not None and override.input is not None:
            found.setdefault((override.provider, override.model), readable(rates[0]))
    return found


def price_list(book: PriceBook, at: datetime) -> dict[Key, Listed]:
    """Return the rates of every listed model at a time, by table and model, without overrides."""
    return {(table, model.id): readable(vars(model.get_prices(at))) for table, model in book.tables}


def changes(before: Mapping[Key, Listed], after: Mapping[Key, Listed]) -> Iterator[Change]:
    """Yield what differs, by table, model and rate."""
    for key in sorted({*before, *after}):
        old, new = before.get(key, {}), after.get(key, {})
        for rate in sorted({*old, *new}):
            if old.get(rate) != new.get(rate):
                yield Change(*key, rate, old.get(rate), new.get(rate))


def keep(book: PriceBook, folder: Path, at: datetime) -> Path:
    """Write the list of these tables into `folder`, unless this version is there; so that a later version can be held against it."""
    path = folder / f"{book.version}.json"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [[*key, rates] for key, rates in price_list(book, at).items()]
        waiting = path.with_suffix(".tmp")
        waiting.write_text(json.dumps({"version": book.version, "as_of": book.as_of.isoformat(), "prices": lines}), encoding="utf-8")
        waiting.replace(path)
    return path


def kept(path: Path) -> dict[Key, Listed]:
    """Return the list in a file that `keep` wrote. Raises OSError, or ValueError when it is no such file."""
    try:
        lines = cast("Iterable[tuple[str, str, Listed]]", json.loads(path.read_text(encoding="utf-8"))["prices"])
        return {(table, model): dict(rates) for table, model, rates in lines}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a price list that tollwatch wrote") from error
