"""The recordings' requests, counted before the call, against the input that the provider reported after it.

Every figure that is held here is printed, with what was left out and why.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from metering.call import Consumption
from metering.estimates import Estimates
from metering.providers import FORMATS
from metering.providers.catalog import provider_of_host, route
from metering.providers.wire import RequestFacts
from metering.tokens import TokenCounter
from tests.support.corpus import CORPUS, MISSING, Exchange, exchanges

pytestmark = [pytest.mark.skipif(not CORPUS.is_dir(), reason=MISSING), pytest.mark.untraced]

_LOCAL = ("localhost", "*.local")
_OPENAIS = re.compile(r"(openai/)?(gpt-(?!oss)|o\d|chatgpt|davinci|babbage|text-embedding)|embedding$")
"""Models of OpenAI, wherever they are served; the name of a deployment on Azure may say nothing."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One recorded request with the input that its provider reported."""

    exchange: Exchange
    provider: str
    model: str | None
    facts: RequestFacts
    reported: int

    @property
    def is_text(self) -> bool:
        """Whether the request is text alone, and all that the provider counts."""
        prompt = self.facts.prompt
        shown = not prompt.tools and not prompt.media and not prompt.server_tools and not prompt.stored
        return shown and prompt.chars > 0


def _counted() -> Iterator[Counted]:
    for exchange in exchanges():
        if exchange.expected is None or not (reported := _reported(exchange.expected)):
            continue
        provider = provider_of_host(exchange.host, _LOCAL)
        assert provider is not None
        found = route(provider, exchange.method, exchange.target)
        if found.consumption is not Consumption.METERED or found.wire_format is None or exchange.method != "POST":
            continue
        try:
            body = orjson.loads(exchange.request_body)
            facts = FORMATS[found.wire_format].read_request(body)
        except ValueError:
            continue  # uploads
        yield Counted(exchange, provider.id, facts.model or found.model, facts, reported)


def _reported(expected: Any) -> int | None:
    total = expected["derived"]["input_total"]
    return expected["total"] if total is None and expected["derived"]["output_total"] is None else total


def _is_openais(one: Counted) -> bool:
    """Whether it is a model of OpenAI that answers; for a compaction OpenAI adds instructions of its own."""
    return bool(_OPENAIS.match(one.model or "")) and one.exchange.provider != "vertexai" and not one.exchange.target.endswith("/compact")


async def test_text_to_openai_is_counted_exactly() -> None:
    counter, misses, compared = TokenCounter(), list[str](), 0

    for one in _counted():
        if not _is_openais(one) or not one.is_text:
            continue
        compared += 1
        tokens = await counter.count(one.facts.prompt, model=one.model, provider=one.provider)
        if tokens != one.reported:
            misses.append(f"{one.model} {tokens}, reported {one.reported}: {one.exchange.source}")

    print(f"OpenAI, text alone: {compared - len(misses)} of {compared} exact; not: {misses}")  # noqa: T201  # the figure, and each miss
    assert compared > 200
    assert 1 - len(misses) / compared >= 0.98


def test_an_estimate_is_near_after_twenty_calls_of_a_model() -> None:
    estimates = Estimates()
    counter = TokenCounter(estimates)
    calls: defaultdict[tuple[str, str | None], int] = defaultdict(int)
    early, late = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)

    for one in _counted():
        prompt, key = one.facts.prompt, (one.provider, one.model)
        if prompt.media or prompt.server_tools or prompt.stored:
            continue
        family = next((name for name in ("claude", "gemini", "mistral") if name in (one.model or "")), None)
        if family and one.is_text:
            tokens = counter.estimate_input(prompt, model=one.model, provider=one.provider)
            errors = late if calls[key] >= 20 else early
            errors[family].append(abs(tokens - one.reported) / one.reported)
        estimates.learn(one.provider, one.model, counter.parts(prompt, model=one.model), one.reported)
        calls[key] += 1

    for name, part in (("the first 20", early), ("later", late)):
        figures = {family: f"{statistics.median(errors):.3f} of {len(errors)}" for family, errors in part.items()}
        print(f"median error of {name} calls of a model, text alone: {figures}")  # noqa: T201  # the figures
    assert "claude" in late
    assert all(statistics.median(errors) <= 0.05 for errors in late.values())


def test_the_upper_bound_of_a_prompt_holds() -> None:
    estimates = Estimates()
    counter = TokenCounter(estimates)
    held, over = 0, list[str]()
    width: list[float] = []

    for one in _counted():
        prompt = one.facts.prompt
        bound = counter.bound(prompt, model=one.model, provider=one.provider, tools=len(one.facts.tools))
        if bound >= one.reported:
            held += 1
            width.append(bound / one.reported)
        else:
            over.append(f"{one.provider} {one.model}: {bound}, reported {one.reported}: {one.exchange.source}")

    share = held / (held + len(over))
    figures = f"{held} of {held + len(over)} ({share:.4f}), at the median {statistics.median(width):.1f} times the reported"
    print(f"the bound holds for {figures}; not for:", *over, sep="\n")  # noqa: T201  # the figures, and each that it does not hold for
    assert share >= 0.995
