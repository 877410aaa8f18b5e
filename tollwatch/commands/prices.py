"""`prices show|diff`: what tokens cost, and what another list would change."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import yaml
from pydantic import ValidationError

from metering.price_lists import FOLDER, Change, Key, Listed, changes, in_force, kept, price_list, readable
from metering.prices import PriceBook
from metering.settings import PricingSettings
from tollwatch.config import Config, load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, line, table
from tollwatch.store import now

_SHOWN: Final = {
    "input_mtok": "INPUT",
    "output_mtok": "OUTPUT",
    "cache_read_mtok": "CACHE READ",
    "cache_write_mtok": "CACHE WRITE",
    "input_audio_mtok": "AUDIO IN",
    "output_audio_mtok": "AUDIO OUT",
}

_BY_PIECE: Final = {
    "input_document_kpages": "per 1,000 pages",
    "input_annotated_document_kpages": "per 1,000 annotated pages",
    "audio_hours": "per hour of sound",
    "input_mchars": "per million characters",
    "rerank_searches_kcount": "per 1,000 search units",
    "image": "per picture",
    "video_second": "per second of film",
    "compute_second": "per second of a machine",
}


def show(arguments: Namespace) -> int:
    """Print the prices in force."""
    book = _book(load_config(arguments.config))
    found = _found(book, arguments.model, arguments.provider)
    if not found:
        wanted = " ".join(filter(None, (arguments.provider, arguments.model)))
        raise CommandError(f"No price is known for {wanted!r}: calls are recorded without cost. Add one under pricing.overrides")
    if arguments.json:
        json_lines({"provider": provider, "model": model, "rates": dict(rates)} for (provider, model), rates in found.items())
        return Exit.OK
    heads = ("PROVIDER", "MODEL", *_SHOWN.values())
    rows = ((*key, *(rates.get(name, "") for name in _SHOWN)) for key, rates in sorted(found.items()))
    table(heads, rows, right=frozenset(_SHOWN.values()))
    for (provider, model), rates in sorted(found.items()):
        for name in (each for each in _BY_PIECE if each in rates):
            line(f"{provider} {model}: {rates[name]} USD {_BY_PIECE[name]}")
    line(f"USD per million tokens; tables of genai-prices {book.version}, as of {book.as_of}, and pricing.overrides of the config")
    return Exit.OK


def _found(book: PriceBook, model: str | None, provider: str | None) -> Mapping[Key, Listed]:
    """Return the prices of a model by its exact name (or an alias of it), else of all whose name contains it."""
    at = now()
    listed = {key: rates for key, rates in in_force(book, at).items() if provider is None or key[0] == provider}
    if model is None:
        return listed
    providers = {provider} if provider else {key[0] for key in listed}
    exact = {
        (each, model): readable(rates[0])
        for each in sorted(providers)
        if (rates := book.rates(provider=each, model=model, at=at)) is not None
    }
    return exact or {key: rates for key, rates in listed.items() if model.lower() in key[1].lower()}


def diff(arguments: Namespace) -> int:
    """Print what another list of prices changes."""
    config = load_config(arguments.config)
    found = _since(config, arguments.since) if arguments.since else _with_file(config, arguments.file)
    if arguments.json:
        json_lines(change.as_json() for change in found)
        return Exit.OK
    if not found:
        line("nothing changes")
        return Exit.OK
    table(
        ("PROVIDER", "MODEL", "RATE", "BEFORE", "AFTER"),
        ((change.provider, change.model, change.rate.removesuffix("_mtok"), change.before or "-", change.after or "-") for change in found),
    )
    return Exit.OK


def _since(config: Config, version: str) -> list[Change]:
    """Return what the tables of now say differently from those of a version that ran here."""
    folder = config.data_dir / FOLDER
    path = folder / f"{Path(version).name}.json"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.json"))) or "none yet"
        raise CommandError(f"No price list of version {version} is kept in {folder}; kept are: {known}")
    return list(changes(_kept(path), price_list(_book(config), now())))


def _with_file(config: Config, path: Path) -> list[Change]:
    """Return what a file would change: overrides in place of those of the config, or a kept price list in place of the tables."""
    book = _book(config)
    if path.suffix == ".json":
        return list(changes(price_list(book, now()), _kept(path)))
    other = PriceBook(_overrides(path), now=now())
    return list(changes(in_force(book, now()), in_force(other, now())))


def _kept(path: Path) -> Mapping[Key, Listed]:
    try:
        return kept(path)
    except (OSError, ValueError) as error:
        raise CommandError(f"Cannot read the price list {path}: {error}") from error


def _overrides(path: Path) -> PricingSettings:
    """Return the overrides in a file: a list, a `pricing` section, or a whole config."""
    try:
        read: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"Cannot read the overrides in {path}: {error}") from error
    for name in ("pricing", "overrides"):
        if isinstance(read, dict) and name in read:
            read = cast("dict[str, Any]", read)[name]
    try:
        return PricingSettings.model_validate({"overrides": read or []})
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise CommandError(f"{path} holds no overrides: {where}: {fault['msg']}. Write them as pricing.overrides has them") from error


def _book(config: Config) -> PriceBook:
    return PriceBook(config.pricing, now=now())
