"""What is charged by the piece, by one row of a price table: pages, seconds, characters, searches, pictures, films, a machine's time."""

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

from metering.rates import Row, Tariff, prices_tokens
from metering.usage import Usage

_ATTO = 10**18
_TIMED = ("audio_hours", "input_audio_hours")
_UNITS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("seconds", 3600, _TIMED),
    ("pages", 1_000, ("input_document_kpages",)),
    ("annotated_pages", 1_000, ("input_annotated_document_kpages", "input_document_kpages")),
    ("characters", 1_000_000, ("input_mchars",)),
    ("search_units", 1_000, ("rerank_searches_kcount",)),
    ("images", 1, ("image",)),
    ("video_seconds", 1, ("video_second",)),
    ("compute_ms", 1_000, ("compute_second",)),
)
"""Unit of a usage, how many of it a rate is for, and the names that the rate may have in a row."""


class Pieces:
    """The rates of a row that are for no tokens, in atto-dollars (10⁻¹⁸) each, times the number that `_UNITS` says."""

    __slots__ = ("_rates", "_tokens")

    def __init__(self, row: Row) -> None:
        self._tokens = prices_tokens(row)
        self._rates = tuple((unit, each, rate) for unit, each, names in _UNITS if (rate := _rate(row, names)) is not None)

    @classmethod
    def of(cls, row: Row) -> "Pieces | None":
        """Return the rates of a row, None for one that prices tokens alone (nearly every one)."""
        return cls(row) if any(row.get(name) is not None for _, _, names in _UNITS for name in names) else None

    def atto(self, usage: Usage, tariff: Tariff) -> int | None:
        """Return what a usage costs, its tokens included; None where a part of it has no rate.

        Beside tokens that are priced, a unit without a rate has no charge of its own (the pictures that an answer of tokens drew).
        """
        counted = {unit for unit, _, _ in _UNITS if getattr(usage, unit) is not None}
        priced = {unit for unit, _, _ in self._rates}
        tokens = self._tokens and (usage.input_tokens is not None or usage.output_tokens is not None)
        if not tokens and (not counted or counted - priced):
            return None
        cost = sum(_amount(usage, unit) * rate // each for unit, each, rate in self._rates if unit in counted)
        return cost + tariff.atto(_unsounded(usage) if "seconds" in counted & priced else usage) if tokens else cost


def _amount(usage: Usage, unit: str) -> int:
    amount: int = getattr(usage, unit)
    return amount - min(usage.annotated_pages or 0, amount) if unit == "pages" else amount


def _unsounded(usage: Usage) -> Usage:
    """Return the usage without the tokens of the sound that is charged by its length."""
    sound = min(usage.audio_input_tokens or 0, usage.input_tokens or 0)
    return replace(usage, input_tokens=(usage.input_tokens or 0) - sound, audio_input_tokens=None)


def _rate(row: Row, names: tuple[str, ...]) -> int | None:
    found = next((rate for name in names if isinstance(rate := row.get(name), Decimal)), None)
    return None if found is None else int((found * _ATTO).to_integral_value(ROUND_HALF_EVEN))
