"""Recorded streams, cut after their events as a client or a network cuts them: the recorded cost lies between the least and the most."""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from statistics import median
from typing import Any

import pytest

from metering.call import Call, Ending
from metering.meter import Meter
from metering.prices import PriceBook
from metering.providers import FORMATS
from metering.providers.catalog import provider_of_host, route
from metering.reading import Reading, Source
from metering.settings import MeteringSettings, PriceOverride, PricingSettings
from metering.tokens import TokenCounter
from tests.support.corpus import CORPUS, MISSING, Exchange, exchanges
from tests.support.recorded_requests import request_facts

pytestmark = [pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING), pytest.mark.untraced]

_LOCAL = ("localhost", "*.local")
_EVENT_END = re.compile(rb"\r?\n\r?\n|\n")


def _ends(exchange: Exchange) -> list[int]:
    """Where an event of the stream ends: frames of AWS by their own length, else empty or ended lines."""
    body = exchange.response_body
    if "eventstream" not in exchange.response_headers.get("content-type", ""):
        return [found.end() for found in _EVENT_END.finditer(body)]
    ends: list[int] = []
    while (at := ends[-1] if ends else 0) + 4 <= len(body):
        ends.append(at + int.from_bytes(body[at : at + 4]))
    return ends


def _call(exchange: Exchange, make_call: Any, now: datetime) -> Call | None:
    provider = provider_of_host(exchange.host, _LOCAL)
    assert provider is not None, exchange.host
    found = route(provider, exchange.method, exchange.target)
    if found.wire_format is None or not exchange.streamed or not exchange.expected:
        return None
    facts = request_facts(exchange, FORMATS[found.wire_format])
    assert facts is not None, exchange.source
    call: Call = make_call(
        started_at=now,
        provider=provider.id,
        operation=found.operation,
        endpoint=found.endpoint,
        wire_format=found.wire_format,
        consumption=found.consumption,
        host=exchange.host,
        path=exchange.target,
        model=facts.model or found.model,
        streamed=True,
        prompt=facts.prompt,
        max_output_tokens=facts.max_output_tokens,
        choices=facts.choices,
        tools=facts.tools,
        service_tier=facts.service_tier,
    )
    return call


class _Meters:
    """A meter with the price table, and one that has a price for what the table has not."""

    def __init__(self, now: datetime) -> None:
        dear = PriceOverride(model="*", input=Decimal(1), output=Decimal(4), cache_read=Decimal("0.1"), cache_write=Decimal("1.25"))
        self._prices = [PriceBook(PricingSettings(overrides=overrides), now=now) for overrides in ((), (dear,))]
        self._counter = TokenCounter()

    def of(self, exchange: Exchange, call: Call, reply: Any) -> tuple[PriceBook, Reading]:
        """Return the prices that the whole recording has, and what it came to."""
        table, own = ((prices, self.read(prices, exchange, call, reply, exchange.response_body)) for prices in self._prices)
        return table if table[1].cost_nano is not None else own

    def read(self, prices: PriceBook, exchange: Exchange, call: Call, reply: Any, body: bytes) -> Reading:
        """Read an answer as one never seen before: a meter counts each result once."""
        return _read(Meter(prices, self._counter, MeteringSettings()), exchange, call, reply, body)


def _read(meter: Meter, exchange: Exchange, call: Call, reply: Any, body: bytes) -> Reading:
    headers = {name.lower(): value for name, value in exchange.response_headers.items()}
    reader = meter.reader(call, content_type=headers.get("content-type"), headers=headers)
    assert reader is not None
    reader.feed(body)
    return meter.read(call, reply, reader.finish())


def _cuts(chosen: Sequence[Exchange], per_stream: int, chance: random.Random) -> Iterator[tuple[Exchange, int]]:
    for exchange in chosen:
        ends = [0, *_ends(exchange)]
        for at in ends if len(ends) <= per_stream else chance.sample(ends, per_stream):
            yield exchange, at


def _outside(per_stream: int, make_call: Any, make_reply: Any, now: datetime) -> tuple[int, list[str]]:
    """Cut the streams; print how wide the intervals are, by format; return how many there were, and those that miss the truth."""
    meters, wrong, widths = _Meters(now), [], defaultdict[str, list[float]](list)
    whole, broken = make_reply(), make_reply(ending=Ending.CLIENT_ABORT)
    known = {exchange.number: (exchange, call) for exchange in exchanges() if (call := _call(exchange, make_call, now))}
    judged = {number: meters.of(exchange, call, whole) for number, (exchange, call) in known.items()}
    for exchange, at in _cuts([exchange for exchange, _call in known.values()], per_stream, random.Random(20261122)):
        call, (prices, truth) = known[exchange.number][1], judged[exchange.number]
        assert truth.cost_nano is not None, exchange.source
        cut = meters.read(prices, exchange, call, broken, exchange.response_body[:at])
        floor, ceiling = cut.interval
        if ceiling is None or not (floor or 0) <= truth.cost_nano <= ceiling:
            wrong.append(f"{exchange.name} {exchange.source} at {at}: {floor} <= {truth.cost_nano} <= {ceiling} ({cut.source})")
        elif truth.cost_nano:
            widths[str(call.wire_format)].append((ceiling - (floor or 0)) / truth.cost_nano)
    for name, found in sorted(widths.items()):
        points = sum(width == 0 for width in found)
        print(f"{name}: {len(found)} cuts, {points} known to the point, median width {median(found):.1f} times the cost")  # noqa: T201  # the figures asked for
    return sum(map(len, widths.values())), wrong


def test_the_recorded_cost_lies_between_the_least_and_the_most(make_call: Any, make_reply: Any, now: datetime) -> None:
    cuts, wrong = _outside(3, make_call, make_reply, now)

    assert cuts > 1000
    assert wrong == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_wherever_a_stream_is_cut_the_recorded_cost_lies_inside(make_call: Any, make_reply: Any, now: datetime) -> None:
    cuts, wrong = _outside(1 << 30, make_call, make_reply, now)

    assert cuts > 10_000
    assert wrong == []


def test_a_whole_recording_is_a_point(make_call: Any, make_reply: Any, now: datetime) -> None:
    meters = _Meters(now)

    for exchange in exchanges():
        if exchange.number % 10 == 0 and (call := _call(exchange, make_call, now)):
            _meter, reading = meters.of(exchange, call, make_reply())
            disagree = "metrics_vs_messages_differ" in exchange.notes
            assert disagree or reading.interval == (reading.cost_nano, reading.cost_nano), exchange.source
            assert reading.source in {Source.PROVIDER_REPORTED, Source.PROVIDER_PRICED}
