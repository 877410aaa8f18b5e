"""The recordings of the formats that are read, each at random chunk boundaries, against the usage that the provider reported.

The rules of the comparison: the input total is `derived.input_total`, or the total of an embedding that reports nothing else; the
output total is `derived.output_total`; cached, cache_write and reasoning are as reported, None where null. Three things differ on
purpose: a cached count above the input is the input (Azure's Grok), and two recorded totals hold tokens that the parts leave out
(Gemini's thinking behind the OpenAI door, Mistral's audio), which the note `total_N_not_explained_by_parts` tells.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from metering.providers import FORMATS, HeaderedFormat
from metering.providers.catalog import Route, provider_of_host, route
from metering.providers.provider import Provider
from metering.reading import ReplyFacts
from metering.usage import Usage
from tests.support.corpus import CORPUS, MISSING, Exchange, exchanges

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING)

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


def _differences(usage: Usage, expected: dict[str, Any], notes: tuple[str, ...]) -> Iterator[str]:
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
    }
    if any(note.endswith("_not_explained_by_parts") for note in notes):
        explained = (usage.input_tokens or 0) + (usage.output_tokens or 0)
        pairs = {"total": (explained, expected["total"])}
    if expected["cached"] is not None and wanted is not None and expected["cached"] > wanted:
        pairs["cached"] = (usage.cache_read_tokens, wanted)
    for name, (found, reported) in pairs.items():
        if found != reported:
            yield f"{name} {found}, reported {reported}"


def test_usage_is_what_the_provider_reported() -> None:
    chance = random.Random(20261121)
    compared, misses = 0, Counter[str]()

    for exchange, provider, found in _routed():
        facts = _read(exchange, provider, found, chance)
        if exchange.expected is None:
            assert facts.usage is None, f"{exchange.source}: usage out of nothing"
            continue
        compared += 1
        if facts.usage is None:
            misses[f"{exchange.name}: no usage"] += 1
            continue
        for difference in _differences(facts.usage, dict(exchange.expected), exchange.notes):
            misses[f"{exchange.name}: {difference}"] += 1

    print(f"{compared} exchanges compared, {sum(misses.values())} differences: {dict(misses)}")  # noqa: T201  # the list of misses by cause
    assert compared > 2000
    assert not misses


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
        elif not in_background:
            assert facts.complete, exchange.source
            nameless = exchange.provider == "snowflake" or exchange.target.endswith("/compact")  # they name no model
            assert facts.model or found.model or nameless, exchange.source


def test_every_request_that_a_provider_accepted_can_be_read() -> None:
    for exchange, _, found in _routed():
        if exchange.status >= 400:
            continue
        assert found.wire_format is not None
        facts = FORMATS[found.wire_format].read_request(orjson.loads(exchange.request_body))
        assert facts.model or found.model, exchange.source
        assert facts.prompt.chars or facts.prompt.media, exchange.source
