"""The recordings of Amazon Bedrock, each at random chunk boundaries with its headers, against the usage that Bedrock reported."""

import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from metering.call import Consumption
from metering.providers import FORMATS, HeaderedFormat
from metering.providers.catalog import provider_of_host
from metering.providers.routes import Route, route
from metering.reading import ReplyFacts
from tests.support.corpus import CORPUS, MISSING, Exchange, exchanges

pytestmark = [pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING), pytest.mark.untraced]

FLAVOURS = {"converse", "converse_stream", "invoke", "invoke_stream"}


def recorded() -> Iterator[tuple[Exchange, Route]]:
    for exchange in exchanges():
        if exchange.flavour in FLAVOURS:
            provider = provider_of_host(exchange.host, ("localhost",))
            assert provider is not None
            yield exchange, route(provider, exchange.method, exchange.target)


def read(exchange: Exchange, found: Route, chance: random.Random, *, body: bytes | None = None) -> ReplyFacts:
    wire = FORMATS[found.wire_format or ""]
    assert isinstance(wire, HeaderedFormat)
    headers = {name.lower(): value for name, value in exchange.response_headers.items()}
    reader = wire.reader_with(provider="aws.bedrock", content_type=headers.get("content-type"), headers=headers)
    data = exchange.response_body if body is None else body
    at, largest = 0, chance.choice((1, 3, 40, 400, 5000))
    while at < len(data):
        size = chance.randint(1, largest)
        reader.feed(data[at : at + size])
        at += size
    return reader.finish()


def differences(facts: ReplyFacts, expected: dict[str, Any]) -> Iterator[str]:
    usage = facts.usage
    pairs = {
        "input": (usage and usage.input_tokens, expected["derived"]["input_total"]),
        "output": (usage and usage.output_tokens, expected["derived"]["output_total"]),
        "cached": (usage and usage.cache_read_tokens, expected["cached"]),
        "cache_write": (usage and usage.cache_write_tokens, expected["cache_write"]),
        "cache_write_1h": ((usage and usage.cache_write_1h_tokens) or None, expected.get("cache_write_1h") or None),
        "reasoning": (usage and usage.reasoning_tokens, expected["reasoning"]),
    }
    return (f"{name} {found}, reported {reported}" for name, (found, reported) in pairs.items() if found != reported)


def test_usage_is_what_bedrock_reported() -> None:
    chance, compared = random.Random(20261122), 0
    misses: list[str] = []

    for exchange, found in recorded():
        facts = read(exchange, found, chance)
        if exchange.expected is None:
            assert facts.usage is None, f"{exchange.source}: usage out of nothing"
            assert facts.error, exchange.source
            continue
        compared += 1
        assert facts.complete, exchange.source
        assert facts.error is None, exchange.source
        misses.extend(f"{exchange.name} {exchange.source}: {each}" for each in differences(facts, dict(exchange.expected)))

        if facts.also is not None:
            said = exchange.expected["also"]["raw"]
            assert facts.also.output_tokens == said["output_tokens"]
            assert any(note.startswith("metrics_vs_messages_differ") for note in exchange.notes)

    assert compared >= 250
    assert not misses


def test_a_stream_cut_anywhere_never_counts_more_than_the_whole_and_says_that_it_is_cut() -> None:
    chance = random.Random(3)

    for exchange, found in recorded():
        if not exchange.streamed or exchange.expected is None:
            continue
        whole = exchange.response_body
        facts = read(exchange, found, chance, body=whole[: chance.randrange(len(whole) * 9 // 10)])
        usage = facts.usage
        assert usage is None or (usage.input_tokens or 0) <= exchange.expected["derived"]["input_total"]
        said = exchange.expected.get("also", {}).get("raw", {}).get("output_tokens")
        assert usage is None or usage.output_tokens in {None, said}
        assert facts.error is None


def test_every_request_that_bedrock_accepted_is_read_and_names_its_model_in_the_path() -> None:
    for exchange, found in recorded():
        assert found.consumption is Consumption.METERED
        assert found.model
        assert "%" not in found.model
        if exchange.status >= 400:
            continue
        facts = FORMATS[found.wire_format or ""].read_request(orjson.loads(exchange.request_body))
        assert facts.prompt.chars or facts.prompt.media, exchange.source
        assert facts.streamed == ("-stream" in exchange.url.path.rpartition("/")[2])
        if found.operation == "embeddings":
            assert facts.max_output_tokens == 0 or "titan-embed-text-v1" in found.model
        if b'"toolSpec"' in exchange.request_body or b'"input_schema"' in exchange.request_body:
            assert facts.tools, exchange.source
            assert facts.prompt.tools


def test_counting_tokens_is_free() -> None:
    counted = [exchange for exchange in exchanges() if exchange.name == "bedrock.count_tokens"]

    for exchange in counted:
        provider = provider_of_host(exchange.host)
        assert provider is not None
        assert route(provider, exchange.method, exchange.target).consumption is Consumption.FREE
    assert counted
