"""Work in the background and in batches counts once, when its result shows usage."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from metering import jobs
from metering.call import Call, Consumption, Ending
from metering.meter import Meter
from metering.prices import PriceBook
from metering.reading import ReplyFacts, Source
from metering.settings import MeteringSettings, PriceOverride, PricingSettings
from metering.tokens import TokenCounter
from metering.usage import NO_USAGE, Usage

_USAGE = Usage(input_tokens=100, output_tokens=10)


@pytest.fixture
def meter(now: datetime) -> Meter:
    priced = PriceOverride(provider="*", model="*", input=Decimal(1), output=Decimal(2))
    return Meter(PriceBook(PricingSettings(overrides=(priced,)), now=now), TokenCounter(), MeteringSettings())


@pytest.fixture
def get(make_call: Any) -> Call:
    call: Call = make_call(consumption=Consumption.RESULT, method="GET", path="/v1/responses/resp_1", wire_format="openai.responses")
    return call


def test_an_order_costs_nothing_and_its_result_counts_once(meter: Meter, get: Call, make_call: Any, make_reply: Any) -> None:
    order = meter.read(make_call(), make_reply(), ReplyFacts(deferred=True, job="resp_1"))
    pending = meter.read(get, make_reply(), ReplyFacts(deferred=True, job="resp_1"))
    done = ReplyFacts(usage=_USAGE, complete=True, job="resp_1", model="gpt-4o")
    readings = [meter.read(get, make_reply(), done) for _ in range(3)]

    assert (order.source, order.cost_nano, order.interval) == (Source.DEFERRED, 0, (0, 0))
    assert pending.source is Source.NONE
    assert [reading.source for reading in readings] == [Source.PROVIDER_REPORTED, Source.NONE, Source.NONE]
    assert [reading.usage for reading in readings] == [_USAGE, NO_USAGE, NO_USAGE]


def test_what_the_order_itself_reported_is_not_counted_again(meter: Meter, get: Call, make_call: Any, make_reply: Any) -> None:
    done = ReplyFacts(usage=_USAGE, complete=True, job="resp_1", model="gpt-4o")

    assert meter.read(make_call(), make_reply(), done).source is Source.PROVIDER_REPORTED
    assert meter.read(get, make_reply(), done).source is Source.NONE


def test_a_result_without_an_id_goes_by_its_path(meter: Meter, get: Call, make_reply: Any) -> None:
    done = ReplyFacts(usage=_USAGE, complete=True, model="m")

    assert [meter.read(get, make_reply(), done).source for _ in range(2)] == [Source.PROVIDER_REPORTED, Source.NONE]


def test_a_background_stream_that_breaks_off_costs_up_to_its_bound(meter: Meter, make_call: Any, make_reply: Any) -> None:
    call = make_call(streamed=True, max_output_tokens=50)

    reading = meter.read(call, make_reply(ending=Ending.CLIENT_ABORT), ReplyFacts(deferred=True, job="r", model="m"))

    assert reading.source is Source.DEFERRED
    assert reading.floor_nano == 0
    assert (reading.ceiling_nano or 0) >= 100_000


def test_a_result_reserves_nothing(meter: Meter, get: Call) -> None:
    assert meter.quote(get, input_tokens=9).cost_nano == 0


def test_the_oldest_results_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 2)
    known = jobs.Jobs()
    known.remember([("openai", "a"), ("openai", "b"), ("openai", "c")])

    assert [known.count("openai", job) for job in ("c", "b", "a")] == [False, False, True]


def test_a_blocked_prompt_costs_nothing(meter: Meter, make_call: Any, make_reply: Any) -> None:
    assert meter.read(make_call(), make_reply(), ReplyFacts(usage=NO_USAGE, complete=True, error="MODEL_ARMOR")).source is Source.NONE


def test_sound_that_reports_nothing_is_billed_unseen(meter: Meter, make_call: Any, make_reply: Any) -> None:
    assert meter.read(make_call(), make_reply(), ReplyFacts(complete=True, unseen=True)).source is Source.BILLED_UNSEEN


def test_what_is_billed_is_priced_and_what_is_counted_stands(meter: Meter, make_call: Any, make_reply: Any) -> None:
    cohere = Usage(input_tokens=505, output_tokens=3, cache_read_tokens=448, billed_input_tokens=5, billed_output_tokens=1)
    grok = Usage(input_tokens=7, output_tokens=1, cache_read_tokens=163)

    priced = meter.read(make_call(), make_reply(), ReplyFacts(usage=cohere, complete=True, model="m"))

    assert (priced.usage, priced.cost_nano) == (cohere, 7000)
    assert cohere.charged.cache_read_tokens is None
    assert grok.charged.cache_read_tokens == 7
    assert cohere.units == {"billed_input_tokens": 5, "billed_output_tokens": 1}


def test_what_is_billed_adds_up() -> None:
    counted, billed = Usage(input_tokens=10, output_tokens=1), Usage(input_tokens=500, billed_input_tokens=5)

    assert (counted + billed).billed_input_tokens == 15
    assert (billed + counted).billed_input_tokens == 15
    assert (counted + counted).billed_input_tokens is None
    assert (counted + billed).billed_output_tokens is None
