"""Lists of prices: what is in them, what is kept of them, what differs between two."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from metering.price_lists import Change, changes, in_force, keep, kept, price_list
from metering.prices import PriceBook
from metering.settings import PriceOverride, PricingSettings


def book(now: datetime, *overrides: PriceOverride) -> PriceBook:
    return PriceBook(PricingSettings(overrides=overrides), now=now)


def test_a_list_that_was_kept_is_the_list_that_was(tmp_path: Path, now: datetime) -> None:
    ours = book(now)

    path = keep(ours, tmp_path / "prices", now)
    again = keep(ours, tmp_path / "prices", now)

    assert path == again
    assert kept(path) == price_list(ours, now)
    assert not list(changes(kept(path), price_list(ours, now)))
    assert price_list(ours, now)["openai", "gpt-4o"]["input_mtok"] == "2.5"


def test_tiers_are_told(now: datetime) -> None:
    rates = in_force(book(now), now)["gcp.gemini", "gemini-2.5-pro"]

    assert rates["input_mtok"] == "1.25; over 200000: 2.5"


@pytest.mark.parametrize("text", ["[]", "{}", '{"prices": [1]}', "no json"])
def test_other_files_are_no_lists(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError):  # noqa: PT011  # json's own error for what is no JSON
        kept(path)


def test_what_differs_is_told_by_model_and_rate(now: datetime) -> None:
    half = PriceOverride(provider="openai", model="gpt-4o", factor=Decimal("0.5"))
    own = PriceOverride(provider="openai_compatible", model="llama-*", input=Decimal(1), output=Decimal("2.50"))

    found = list(changes(in_force(book(now), now), in_force(book(now, half, own), now)))

    assert Change("openai", "gpt-4o", "input_mtok", "2.5", "1.25") in found
    assert Change("openai_compatible", "llama-*", "output_mtok", None, "2.5") in found
    assert {(change.provider, change.model) for change in found} == {("openai", "gpt-4o"), ("openai_compatible", "llama-*")}
    assert json.loads(json.dumps(found[0].as_json()))["before"] == found[0].before
