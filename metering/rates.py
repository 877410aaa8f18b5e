"""What usage costs by one row of a price table; the rows are those of genai-prices, US dollars per million tokens.

A class of tokens without a rate of its own costs what the wider class does: cache reads and writes, audio and images, the input's rate;
an hour's cache write the cache write's; reasoning, audio and images the output's. genai-prices decides the same, in thirty times as long.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from genai_prices.types import Tier, TieredPrices

from metering.units import NANO
from metering.usage import Usage

type Row = Mapping[str, object]

_MILLION = 1_000_000
_THOUSAND = 1_000
_ZERO = Decimal(0)
_INPUTS = ("input_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok")
_OUTPUTS = ("output_mtok", "output_reasoning_mtok")
_MEDIA_INPUTS = ("input_audio_mtok", "input_image_mtok", "input_video_mtok")
_MEDIA_OUTPUTS = ("output_audio_mtok", "output_image_mtok", "output_video_mtok")


@dataclass(frozen=True, slots=True)
class Rates:
    """The most that tokens cost, in US dollars per million, and what each request costs beside them, per thousand."""

    input: Decimal
    output: Decimal
    requests: Decimal = _ZERO

    def cost(self, usage: Usage) -> int:
        """Return nano-dollars."""
        tokens = self.input * (usage.input_tokens or 0) + self.output * (usage.output_tokens or 0)
        return nano(tokens / _MILLION + self.requests / _THOUSAND)


def nano(dollars: Decimal) -> int:
    """Return dollars as nano-dollars, rounded half to even."""
    return int((dollars * NANO).quantize(Decimal(1), ROUND_HALF_EVEN))


def prices_tokens(row: Row) -> bool:
    """Whether the row prices tokens at all; where it prices pictures or seconds alone, a sum of zero would be a lie."""
    return row.get("input_mtok") is not None or row.get("output_mtok") is not None


def total(row: Row, usage: Usage) -> Decimal:
    """Return US dollars."""
    whole, read, written, hour = shares(usage)
    output = usage.output_tokens or 0
    audio = min(usage.audio_input_tokens or 0, whole - read - written)
    image = min(usage.image_input_tokens or 0, whole - read - written - audio)
    audio_out = min(usage.audio_output_tokens or 0, output)
    image_out = min(usage.image_output_tokens or 0, output - audio_out)
    reasoning = min(usage.reasoning_tokens or 0, output - audio_out - image_out)
    counts = (
        (whole - read - written - audio - image, ("input_mtok",)),
        (read, ("cache_read_mtok", "input_mtok")),
        (written - hour, ("cache_write_mtok", "input_mtok")),
        (hour, ("cache_write_1h_mtok", "cache_write_mtok", "input_mtok")),
        (audio, ("input_audio_mtok", "input_mtok")),
        (image, ("input_image_mtok", "input_mtok")),
        (output - audio_out - image_out - reasoning, ("output_mtok",)),
        (audio_out, ("output_audio_mtok", "output_mtok")),
        (image_out, ("output_image_mtok", "output_mtok")),
        (reasoning, ("output_reasoning_mtok", "output_mtok")),
    )
    tokens = sum((count * _rate(row, names, whole) for count, names in counts if count), _ZERO)
    searches = (usage.web_searches or 0) * _rate(row, ("web_searches_kcount",), whole)
    return tokens / _MILLION + (searches + _rate(row, ("requests_kcount",), whole)) / _THOUSAND


def shares(usage: Usage) -> tuple[int, int, int, int]:
    """Return input, cache reads, cache writes and those for an hour, clamped so that the shares fit into the whole."""
    whole = usage.input_tokens or 0
    read = min(usage.cache_read_tokens or 0, whole)
    written = min(usage.cache_write_tokens or 0, whole - read)
    return whole, read, written, min(usage.cache_write_1h_tokens or 0, written)


def highest(row: Row, input_tokens: int | None, *, media: bool = False) -> Rates:
    """Return the highest rates of a row; of tiered ones the tiers that `input_tokens` reaches, or all of them for None.

    With `media`, sounds and pictures may be among the tokens.
    """
    return Rates(
        _highest(row, _INPUTS + _MEDIA_INPUTS if media else _INPUTS, input_tokens),
        _highest(row, _OUTPUTS + _MEDIA_OUTPUTS if media else _OUTPUTS, input_tokens),
        _highest(row, ("requests_kcount",), input_tokens),
    )


def scaled(row: Row, factor: Decimal) -> Row:
    """Return the row with every rate times `factor`."""
    if factor == 1:
        return row
    return {name: _scaled(rate, factor) for name, rate in row.items()}


def _scaled(rate: object, factor: Decimal) -> object:
    if isinstance(rate, TieredPrices):
        return TieredPrices(base=rate.base * factor, tiers=[Tier(start=tier.start, price=tier.price * factor) for tier in rate.tiers])
    return rate * factor if isinstance(rate, Decimal) else rate


def highest_of(rows: Iterable[Row]) -> Rates:
    """Return the highest rates of many rows."""
    rates = [highest(row, None) for row in rows]
    return Rates(
        max((each.input for each in rates), default=_ZERO),
        max((each.output for each in rates), default=_ZERO),
        max((each.requests for each in rates), default=_ZERO),
    )


def _rate(row: Row, names: tuple[str, ...], input_tokens: int) -> Decimal:
    """Return the first rate that the row has; zero for a class that it does not price."""
    rate = next((found for name in names if (found := row.get(name)) is not None), None)
    if isinstance(rate, TieredPrices):
        return next((tier.price for tier in reversed(rate.tiers) if input_tokens > tier.start), rate.base)
    return rate if isinstance(rate, Decimal) else _ZERO


def _highest(row: Row, names: Iterable[str], input_tokens: int | None) -> Decimal:
    top = _ZERO
    for name in names:
        rate = row.get(name)
        if isinstance(rate, Decimal):
            top = max(top, rate)
        elif isinstance(rate, TieredPrices):
            reached = (tier.price for tier in rate.tiers if input_tokens is None or input_tokens > tier.start)
            top = max(top, rate.base, *reached)
    return top
