"""What a call came to, and from where that is known."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from metering.call import Consumption, Ending, Endpoint, Prompt
from metering.meter import Meter
from metering.prices import PriceBook
from metering.providers import FORMATS
from metering.reading import Reading, ReplyFacts, Source
from metering.settings import MeteringSettings, PriceOverride, PricingSettings
from metering.tokens import TokenCounter
from metering.usage import Usage

_USAGE = Usage(input_tokens=100, output_tokens=10)
_PROMPT = Prompt(texts=("hello world",), messages=1)


@pytest.fixture
def meter(now: datetime) -> Meter:
    priced = PriceOverride(provider="*", model="priced-*", input=Decimal(1), output=Decimal(2), cache_write=Decimal(5))
    return Meter(PriceBook(PricingSettings(overrides=(priced,)), now=now), TokenCounter(), MeteringSettings(assume_output_tokens=1000))


def test_reported_usage_is_priced(meter: Meter, make_call: Any, make_reply: Any) -> None:
    facts = ReplyFacts(usage=_USAGE, model="priced-2026", complete=True)

    assert meter.read(make_call(model="priced-x"), make_reply(), facts) == Reading(
        source=Source.PROVIDER_REPORTED,
        usage=_USAGE,
        model="priced-2026",
        cost_nano=120_000,
        price_source="override",
        price_version="config",
    )


def test_a_response_model_without_a_price_takes_that_of_the_request(meter: Meter, make_call: Any, make_reply: Any) -> None:
    reading = meter.read(make_call(model="priced-x"), make_reply(), ReplyFacts(usage=_USAGE, model="my-deployment", complete=True))

    assert (reading.source, reading.model, reading.cost_nano) == (Source.PROVIDER_REPORTED, "my-deployment", 120_000)


def test_the_providers_own_price_counts_before_ours(meter: Meter, make_call: Any, make_reply: Any) -> None:
    facts = ReplyFacts(usage=_USAGE, model="priced-x", complete=True, reported_cost_nano=7)

    reading = meter.read(make_call(), make_reply(), facts)

    assert (reading.source, reading.cost_nano, reading.price_source, reading.usage) == (Source.PROVIDER_PRICED, 7, "provider", _USAGE)


def test_usage_without_a_price_is_unpriced_never_free(meter: Meter, make_call: Any, make_reply: Any) -> None:
    reading = meter.read(make_call(model="gpt-99"), make_reply(), ReplyFacts(usage=_USAGE, model="gpt-99", complete=True))

    assert (reading.source, reading.cost_nano, reading.usage) == (Source.UNPRICED, None, _USAGE)


def test_an_answer_without_usage_is_estimated_from_what_passed(meter: Meter, make_call: Any, make_reply: Any) -> None:
    facts = ReplyFacts(model="priced-x", complete=True, output_text="hello world")

    counted = meter.read(make_call(prompt=_PROMPT), make_reply(), facts, input_tokens=50)
    uncounted = meter.read(make_call(prompt=_PROMPT), make_reply(), facts)

    assert (counted.source, counted.usage, counted.cost_nano) == (Source.ESTIMATED, Usage(input_tokens=50, output_tokens=2), 54_000)
    assert uncounted.usage == Usage(input_tokens=9, output_tokens=2)


def test_a_stream_that_breaks_off_after_its_start_keeps_the_reported_input(meter: Meter, make_call: Any, make_reply: Any) -> None:
    partial = Usage(input_tokens=700, output_tokens=None, cache_read_tokens=20)
    facts = ReplyFacts(usage=partial, model="priced-x", output_text="hello world")

    reading = meter.read(make_call(), make_reply(ending=Ending.CLIENT_ABORT), facts)

    assert (reading.source, reading.usage) == (Source.ESTIMATED, Usage(input_tokens=700, output_tokens=2, cache_read_tokens=20))


def test_a_complete_answer_without_output_is_reported(meter: Meter, make_call: Any, make_reply: Any) -> None:
    reading = meter.read(make_call(), make_reply(), ReplyFacts(usage=Usage(input_tokens=8), model="priced-x", complete=True))

    assert (reading.source, reading.cost_nano) == (Source.PROVIDER_REPORTED, 8000)


@pytest.mark.parametrize(
    ("reply", "facts"),
    [
        ({"ending": Ending.CLIENT_ABORT, "status": None}, None),
        ({"ending": Ending.UPSTREAM_RESET, "status": None}, None),
        ({"ending": Ending.CLIENT_ABORT}, ReplyFacts()),
        ({"ending": Ending.UPSTREAM_RESET}, ReplyFacts(model="priced-x")),
        ({}, ReplyFacts(model="priced-x")),
        ({}, None),
    ],
)
def test_what_was_sent_and_never_seen_is_billed_unseen(
    meter: Meter, make_call: Any, make_reply: Any, reply: dict[str, Any], facts: ReplyFacts | None
) -> None:
    reading = meter.read(make_call(), make_reply(**reply), facts)

    assert (reading.source, reading.cost_nano) == (Source.BILLED_UNSEEN, None)


@pytest.mark.parametrize(
    ("call", "reply", "facts"),
    [
        ({}, {"status": 400}, ReplyFacts(error="x", complete=True)),
        ({}, {"status": 529}, None),
        ({}, {"status": 302}, None),
        ({}, {"ending": Ending.REFUSED, "status": 403}, None),
        ({}, {"ending": Ending.FAILED, "status": 503}, None),
        ({}, {"ending": Ending.UPSTREAM_UNREACHABLE, "status": None}, None),
        ({"consumption": Consumption.FREE}, {}, None),
        ({"consumption": Consumption.UNREAD}, {"status": 404}, None),
        ({}, {}, ReplyFacts(error="overloaded_error")),
    ],
)
def test_what_consumed_nothing_costs_nothing(
    meter: Meter, make_call: Any, make_reply: Any, call: dict[str, Any], reply: dict[str, Any], facts: ReplyFacts | None
) -> None:
    reading = meter.read(make_call(**call), make_reply(**reply), facts)

    assert (reading.source, reading.usage) == (Source.NONE, Usage())


def test_a_format_that_is_not_read_is_unmetered(meter: Meter, make_call: Any, make_reply: Any) -> None:
    call = make_call(consumption=Consumption.UNREAD, wire_format=None)

    assert meter.reader(call, content_type="application/json") is None
    assert meter.read(call, make_reply(), None).source is Source.UNMETERED


def test_a_format_that_is_not_read_is_quoted_by_its_bytes_at_the_dearest_price(meter: Meter, make_call: Any) -> None:
    call = make_call(consumption=Consumption.UNREAD, wire_format=None, request_bytes=5_000)
    known = meter.quote(make_call(model="gpt-4o"), input_tokens=5_000)

    quote = meter.quote(call, input_tokens=0)

    assert (quote.input_tokens, quote.output_tokens, quote.priced) == (5_000, 1_000, False)
    assert quote.cost_nano > known.cost_nano
    assert (
        meter.quote(make_call(consumption=Consumption.UNREAD, wire_format=None, request_bytes=1 << 30), input_tokens=0).input_tokens
        == 2_000_000
    )
    assert meter.quote(make_call(consumption=Consumption.UNREAD, wire_format="openai.websocket"), input_tokens=0).cost_nano == 0


def test_an_embedding_has_no_output(meter: Meter, make_call: Any) -> None:
    call = make_call(endpoint=Endpoint.EMBEDDINGS, model="text-embedding-3-small", max_output_tokens=None)

    assert meter.quote(call, input_tokens=10).output_tokens == 0


@pytest.mark.parametrize("wire_format", sorted(FORMATS))
def test_a_format_that_is_read_has_a_reader(meter: Meter, make_call: Any, wire_format: str) -> None:
    assert meter.reader(make_call(wire_format=wire_format), content_type=None) is not None


def test_a_quote_takes_the_dearest_class_and_every_choice(meter: Meter, make_call: Any) -> None:
    quote = meter.quote(make_call(model="priced-x", max_output_tokens=20, choices=3), input_tokens=100)

    assert (quote.input_tokens, quote.output_tokens, quote.cost_nano, quote.priced) == (100, 60, 100 * 5000 + 60 * 2000, True)


def test_a_quote_without_a_cap_assumes_one(meter: Meter, make_call: Any) -> None:
    assert meter.quote(make_call(model="priced-x"), input_tokens=0).output_tokens == 1000
    assert meter.quote(make_call(model="priced-x", max_output_tokens=0), input_tokens=0).output_tokens == 0


def test_a_quote_of_an_unpriced_model_is_at_the_dearest_price(meter: Meter, make_call: Any) -> None:
    unknown, known = meter.quote(make_call(model="gpt-99"), input_tokens=100), meter.quote(make_call(model="gpt-4o"), input_tokens=100)

    assert not unknown.priced
    assert unknown.cost_nano >= known.cost_nano > 0


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "o3", "gpt-4.1"])
def test_a_quote_is_no_less_than_the_cost_within_it(meter: Meter, make_call: Any, make_reply: Any, model: str) -> None:
    call = make_call(model=model, max_output_tokens=500)
    usage = Usage(input_tokens=900, output_tokens=500, cache_read_tokens=100, reasoning_tokens=300)

    reading = meter.read(call, make_reply(), ReplyFacts(usage=usage, model=model, complete=True))

    assert reading.cost_nano is not None
    assert reading.cost_nano <= meter.quote(call, input_tokens=1000).cost_nano


def test_what_a_provider_reports_is_a_point(meter: Meter, make_call: Any, make_reply: Any) -> None:
    facts = ReplyFacts(usage=_USAGE, model="priced-x", complete=True)

    ours, own = meter.read(make_call(), make_reply(), facts), meter.read(make_call(), make_reply(), replace(facts, reported_cost_nano=7))

    assert ours.interval == (120_000, 120_000)
    assert (own.interval, own.cost_nano, own.our_cost_nano) == ((7, 7), 7, 120_000)


def test_a_stream_without_its_end_lies_between_what_passed_and_what_was_held(meter: Meter, make_call: Any, make_reply: Any) -> None:
    call = make_call(model="priced-x", prompt=_PROMPT, max_output_tokens=100)
    broken = make_reply(ending=Ending.CLIENT_ABORT)

    begun = meter.read(call, broken, ReplyFacts(usage=Usage(input_tokens=700), model="priced-x", output_text="hello world"))
    unseen = meter.read(call, broken, ReplyFacts(output_text="hello world"))
    silent = meter.read(call, make_reply(ending=Ending.CLIENT_ABORT, status=None), None)

    assert begun.interval == (702_000, 900_000)
    assert (begun.source, begun.cost_nano) == (Source.ESTIMATED, 704_000)
    assert unseen.cost_nano is not None
    assert 0 < (unseen.interval[0] or 0) < unseen.cost_nano < (unseen.interval[1] or 0)
    hold = meter.quote(call, input_tokens=TokenCounter().bound(_PROMPT, model="priced-x", provider="openai", tools=0)).cost_nano
    assert (silent.source, silent.cost_nano, silent.interval) == (Source.BILLED_UNSEEN, None, (0, hold))


def test_counts_of_a_stream_that_still_ran_are_its_floor(meter: Meter, make_call: Any, make_reply: Any) -> None:
    call = make_call(model="priced-x", prompt=_PROMPT, max_output_tokens=100)
    running = ReplyFacts(usage=_USAGE, model="priced-x")

    cut = meter.read(call, make_reply(ending=Ending.UPSTREAM_RESET), running)
    priced = meter.read(call, make_reply(ending=Ending.UPSTREAM_RESET), replace(running, reported_cost_nano=130_000))
    with_tools = meter.read(
        replace(call, prompt=replace(_PROMPT, server_tools=("web_search",))), make_reply(ending=Ending.UPSTREAM_RESET), running
    )

    assert (cut.source, cut.cost_nano, cut.interval) == (Source.ESTIMATED, 120_000, (120_000, 300_000))
    assert (priced.source, priced.interval[0]) == (Source.ESTIMATED, 130_000)
    assert with_tools.interval[0] == 0
    assert (with_tools.interval[1] or 0) > 300_000
    assert meter.read(call, make_reply(), running).interval == (120_000, 120_000)  # the provider ended it in good order


def test_what_has_no_price_has_a_most_alone(meter: Meter, make_call: Any, make_reply: Any) -> None:
    call = make_call(model="gpt-99", prompt=_PROMPT)

    reading = meter.read(call, make_reply(), ReplyFacts(usage=_USAGE, model="gpt-99", complete=True))

    assert (reading.source, reading.cost_nano, reading.interval[0]) == (Source.UNPRICED, None, None)
    assert (reading.interval[1] or 0) > 0


def test_a_hold_is_for_the_dearest_model_that_may_answer(meter: Meter, make_call: Any, make_reply: Any) -> None:
    call = make_call(
        provider="openrouter", model="openai/gpt-4o-mini", models=("openai/gpt-4o", "deepseek/deepseek-chat"), max_output_tokens=10
    )
    alone = make_call(provider="openrouter", model="openai/gpt-4o", max_output_tokens=10)
    cut = ReplyFacts(output_text="hello")

    assert meter.quote(call, input_tokens=50) == meter.quote(alone, input_tokens=50)
    assert meter.read(call, make_reply(), cut).interval[1] == meter.read(alone, make_reply(), cut).interval[1]


def test_a_mark_is_on_tokens_not_on_searches(meter: Meter, make_call: Any, make_reply: Any) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=0, web_searches=100)
    call = make_call(provider="anthropic", wire_format="anthropic.messages", model="claude-sonnet-4-6")

    costs = [meter.read(call, make_reply(), ReplyFacts(usage=usage, complete=True, variant=place)).cost_nano for place in ("global", "us")]

    assert costs == [4_000_000_000, 4_300_000_000]
