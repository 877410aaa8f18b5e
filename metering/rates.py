"""What usage costs by one row of a price table; the rows are those of genai-prices, US dollars per million tokens.

A class of tokens without a rate of its own costs what the wider class does: cache reads and writes, audio and images, the input's rate;
an hour's cache write the cache write's; reasoning, audio and images the output's. genai-prices decides the same, in thirty times as long.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

from genai_prices.types import Tier, TieredPrices

from metering.quote import Rates
from metering.usage import Usage

type Row = Mapping[str, object]

_MILLION = 1_000_000
_THOUSAND = 1_000
_ZERO = Decimal(0)
_INPUTS = ("input_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok")
_OUTPUTS = ("output_mtok", "output_reasoning_mtok")
_MEDIA_INPUTS = ("input_audio_mtok", "input_image_mtok", "input_video_mtok")
_ATTO = 10**18
_CLASSES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("input_mtok",), _MILLION),
    (("cache_read_mtok", "input_mtok"), _MILLION),
    (("cache_write_mtok", "input_mtok"), _MILLION),
    (("cache_write_1h_mtok", "cache_write_mtok", "input_mtok"), _MILLION),
    (("input_audio_mtok", "input_mtok"), _MILLION),
    (("input_image_mtok", "input_mtok"), _MILLION),
    (("output_mtok",), _MILLION),
    (("output_audio_mtok", "output_mtok"), _MILLION),
    (("output_image_mtok", "output_mtok"), _MILLION),
    (("output_reasoning_mtok", "output_mtok"), _MILLION),
    (("web_searches_kcount",), _THOUSAND),
    (("requests_kcount",), _THOUSAND),
)
"""Where the rate of each class of tokens stands in a row, and for how many it is."""
_MEDIA_OUTPUTS = ("output_audio_mtok", "output_image_mtok", "output_video_mtok")


def prices_tokens(row: Row) -> bool:
    """Whether the row prices tokens at all; where it prices pictures or seconds alone, a sum of zero would be a lie."""
    return row.get("input_mtok") is not None or row.get("output_mtok") is not None


class Tariff:
    """A row, its rates as whole atto-dollars a token (10⁻¹⁸), looked up once for each tier of prompt lengths."""

    __slots__ = ("_by_tier", "_highest", "_row", "_starts")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._starts = sorted({tier.start for rate in row.values() if isinstance(rate, TieredPrices) for tier in rate.tiers})
        self._by_tier: dict[int, tuple[int, ...]] = {}
        self._highest: dict[tuple[int, bool], Rates] = {}

    def atto(self, usage: Usage) -> int:
        """Return what a usage costs."""
        whole, read, written, hour = shares(usage)
        output = usage.output_tokens or 0
        rates = self._by_tier.get(bisect_left(self._starts, whole)) or self._look_up(whole)
        cost = (whole - read - written) * rates[0] + output * rates[6] + rates[11]
        if read or written:
            cost += read * rates[1] + (written - hour) * rates[2] + hour * rates[3]
        if usage.web_searches:
            cost += usage.web_searches * rates[10]
        if (
            usage.reasoning_tokens
            or usage.audio_input_tokens
            or usage.audio_output_tokens
            or usage.image_input_tokens
            or usage.image_output_tokens
        ):
            cost += self._apart(usage, rates, text=whole - read - written, output=output)
        return cost

    def highest(self, input_tokens: int, *, media: bool) -> Rates:
        """Return the most that a token costs in a prompt of this length. With `media`, sounds and pictures may be among the tokens."""
        key = bisect_left(self._starts, input_tokens), media
        found = self._highest.get(key)
        if found is None:
            found = self._highest[key] = replace(highest(self._row, input_tokens, media=media), flat=not self._starts)
        return found

    def _look_up(self, whole: int) -> tuple[int, ...]:
        found = tuple(_atto(_rate(self._row, names, whole), per) for names, per in _CLASSES)
        self._by_tier[bisect_left(self._starts, whole)] = found
        return found

    @staticmethod
    def _apart(usage: Usage, rates: tuple[int, ...], *, text: int, output: int) -> int:
        """Return what sounds, pictures and reasoning cost more, or less, than the text they were taken for."""
        audio = min(usage.audio_input_tokens or 0, text)
        image = min(usage.image_input_tokens or 0, text - audio)
        audio_out = min(usage.audio_output_tokens or 0, output)
        image_out = min(usage.image_output_tokens or 0, output - audio_out)
        reasoning = min(usage.reasoning_tokens or 0, output - audio_out - image_out)
        return (
            audio * (rates[4] - rates[0])
            + image * (rates[5] - rates[0])
            + audio_out * (rates[7] - rates[6])
            + image_out * (rates[8] - rates[6])
            + reasoning * (rates[9] - rates[6])
        )


def _atto(rate: Decimal, per: int) -> int:
    return int((rate * _ATTO / per).to_integral_value(ROUND_HALF_EVEN))


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
        _atto(_highest(row, _INPUTS + _MEDIA_INPUTS if media else _INPUTS, input_tokens), _MILLION),
        _atto(_highest(row, _OUTPUTS + _MEDIA_OUTPUTS if media else _OUTPUTS, input_tokens), _MILLION),
        _atto(_highest(row, ("requests_kcount",), input_tokens), _THOUSAND),
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
        max((each.input for each in rates), default=0),
        max((each.output for each in rates), default=0),
        max((each.requests for each in rates), default=0),
        flat=True,
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
