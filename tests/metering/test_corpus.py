"""Every recording, each at random chunk boundaries, against the usage that the provider reported.

The rules of the comparison: the input total is `derived.input_total`, or the total of an embedding or rerank that reports nothing else;
the output total is `derived.output_total`; cached, cache_write, reasoning, and the units that are charged, are as reported, None where
null. Numbers are kept as reported also where they cannot be the bill (Azure's Grok has more cached than input; the totals of Gemini
behind the OpenAI door and of Mistral's audio hold tokens that the parts leave out): what is charged there stands beside them, and
`Usage.charged` is what gets priced.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from metering.call import Consumption, Endpoint
from metering.providers import FORMATS, QUERIED, HeaderedFormat
from metering.providers.catalog import Route, provider_of_host, route
from metering.providers.provider import Provider
from metering.reading import ReplyFacts
from metering.usage import Usage
from tests.support.corpus import CORPUS, MISSING, Exchange, exchanges
from tests.support.recorded_requests import request_facts

pytestmark = [pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING), pytest.mark.untraced]

_NAMELESS = frozenset({"batch", "transcription", "speech", "image_generation", "video_generation"})
"""Operations whose answers name no model."""
_LOCAL = ("localhost", "*.local")


def _routed() -> Iterator[tuple[Exchange, Provider, Route]]:
    for exchange in exchanges():
        provider = provider_of_host(exchange.host, _LOCAL)
        assert provider is not None, exchange.host
        found = route(provider, exchange.method, exchange.target)
        if found.wire_format is not None:
            yield exchange, provider, found


def _read(exchange: Exchange, provider: Provider, found: Route, chance: random.Random) -> ReplyFacts:
    assert found.wire_format is not None
    wire, headers = FORMATS[found.wire_format], {name.lower(): value for name, value in exchange.response_headers.items()}
    if isinstance(wire, HeaderedFormat):
        reader = wire.reader_with(provider=provider.id, content_type=headers.get("content-type"), headers=headers)
    else:
        reader = wire.reader(provider=provider.id, content_type=headers.get("content-type"))
    at, largest = 0, chance.choice((3, 40, 400, 5000))
    while at < len(exchange.response_body):
        size = chance.randint(1, largest)
        reader.feed(exchange.response_body[at : at + size])
        at += size
    return reader.finish()


_EXCEPTIONS = {
    "crmne/ruby_llm spec/fixtures/vcr_cassettes/batch_with_anthropic_claude-haiku-4-5_reloads_a_batch_by_id_and_collects_messages_without_"
    "the_chats.yml#12": "the results of a batch: the recordings' reader leaves them out, but their lines report usage, and it is here that "
    "the work of a batch is charged",
}
"""Recordings whose reading differs from `expected_usage`, and why."""


def _differences(usage: Usage, expected: dict[str, Any]) -> Iterator[str]:
    wanted = expected["derived"]["input_total"]
    if wanted is None:
        wanted = expected["total"]
    pairs = {
        "output": (usage.output_tokens, expected["derived"]["output_total"]),
        "input": (usage.input_tokens, wanted),
        "cached": (usage.cache_read_tokens, expected["cached"]),
        "cache_write": (usage.cache_write_tokens, expected["cache_write"]),
        "cache_write_1h": (usage.cache_write_1h_tokens or None, expected.get("cache_write_1h") or None),
        "reasoning": (usage.reasoning_tokens, expected["reasoning"]),
        "pages": (usage.pages, expected.get("pages")),
        "seconds": (usage.seconds, expected.get("seconds") or expected.get("audio_seconds")),
        "search units": (usage.search_units, expected.get("billed_search_units")),
    }
    if expected.get("billed_input") is not None:
        pairs["billed input"] = usage.billed_input_tokens, expected["billed_input"]
        pairs["billed output"] = usage.billed_output_tokens, expected.get("billed_output")
    for name, (found, reported) in pairs.items():
        if found != reported:
            yield f"{name} {found}, reported {reported}"


def _counts_no_tokens(usage: Usage | None) -> bool:
    """Whether an answer without usage counts no tokens: its pictures, the seconds that it wrote down, the characters that it spoke."""
    return usage is None or usage == Usage(images=usage.images, seconds=usage.seconds, characters=usage.characters)


def test_usage_is_what_the_provider_reported() -> None:
    chance = random.Random(20261121)
    compared, misses, excepted = 0, Counter[str](), set[str]()

    for exchange, provider, found in _routed():
        facts = _read(exchange, provider, found, chance)
        if exchange.source in _EXCEPTIONS:
            excepted.add(exchange.source)
        elif exchange.expected is None:
            assert _counts_no_tokens(facts.usage), f"{exchange.source}: usage out of nothing"
        elif facts.usage is not None:
            compared += 1
            for difference in _differences(facts.usage, dict(exchange.expected)):
                misses[f"{exchange.name}: {difference}"] += 1
        elif facts.reported_cost_nano is None or exchange.expected["derived"]["output_total"] is not None:
            misses[f"{exchange.name}: no usage"] += 1  # xAI's pictures report a price and no tokens

    print(f"{compared} exchanges compared, {sum(misses.values())} differences: {dict(misses)}")  # noqa: T201  # the list of misses by cause
    assert compared > 2800
    assert excepted == set(_EXCEPTIONS)
    assert not misses


def test_what_is_not_read_reports_nothing_but_the_size_of_prompts() -> None:
    for exchange in exchanges():
        provider = provider_of_host(exchange.host, _LOCAL)
        assert provider is not None
        found = route(provider, exchange.method, exchange.target)
        if found.wire_format is None:
            assert exchange.expected is None or found.operation == "count_tokens", exchange.source


def test_no_recorded_count_or_list_is_consumption() -> None:
    seen = Counter[str]()

    for exchange in exchanges():
        provider = provider_of_host(exchange.host, _LOCAL)
        assert provider is not None
        if exchange.flavour == "count_tokens" or exchange.target.partition("?")[0].endswith("/models"):
            seen[exchange.flavour] += 1
            assert route(provider, exchange.method, exchange.target).consumption is Consumption.FREE, exchange.source

    assert seen["count_tokens"] > 30


def test_other_models_of_a_call_are_counted_apart() -> None:
    found_some = 0

    for exchange, provider, found in _routed():
        if not (exchange.expected and exchange.expected.get("other_model_input")):
            continue
        found_some += 1
        facts = _read(exchange, provider, found, random.Random(1))
        assert facts.usage is not None
        assert sum(usage.input_tokens or 0 for _, usage in facts.usage.other_models) == exchange.expected["other_model_input"]
        assert sum(usage.output_tokens or 0 for _, usage in facts.usage.other_models) == exchange.expected["other_model_output"]

    assert found_some == 4


def test_every_answer_says_whether_it_is_complete_and_whether_it_failed() -> None:
    for exchange, provider, found in _routed():
        facts = _read(exchange, provider, found, random.Random(2))
        error_in_a_stream = exchange.streamed and exchange.provider == "groq" and exchange.expected is None
        in_background = b'"status":"queued"' in exchange.response_body or b'"background":true' in exchange.response_body
        if exchange.status >= 400:
            assert facts.usage is None
        elif error_in_a_stream:
            assert facts.error == "invalid_request_error"
        elif not in_background and found.consumption is not Consumption.RESULT:
            assert facts.complete or facts.error, exchange.source
            nameless = exchange.provider == "snowflake" or exchange.target.endswith("/compact") or found.operation in _NAMELESS
            assert facts.model or found.model or nameless or exchange.provider == "cohere", exchange.source


def test_every_request_that_a_provider_accepted_can_be_read() -> None:
    for exchange, _, found in _routed():
        if exchange.status >= 400 or found.consumption is Consumption.RESULT:
            continue
        assert found.wire_format is not None
        facts = request_facts(exchange, FORMATS[found.wire_format])
        if facts is None:
            continue
        if found.endpoint in {Endpoint.IMAGES, Endpoint.AUDIO}:
            assert facts.model or exchange.target.endswith("/variations") or found.wire_format in QUERIED, exchange.source
            continue
        assert facts.model or found.model or found.wire_format in {"openai.runs", "batch.create"}, exchange.source
        assert facts.prompt.chars or facts.prompt.media or found.wire_format == "batch.create", exchange.source
