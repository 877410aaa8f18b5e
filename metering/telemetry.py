"""The numbers that Prometheus reads at `/metrics`."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from metering.usage import NO_USAGE, Usage

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BOUNDS = (*map(str, map(float, _SECONDS)), "+Inf")
_AT_ONCE = 256
"""Calls that are counted together at the latest."""

type _Ended = tuple[str, str, str, float, Usage, int | None]


class _Durations:
    """How many calls took at most each of _SECONDS, and how long all took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUNDS)
        self.seconds = 0.0


class Telemetry(Collector):
    """Counts calls, tokens and money in plain numbers; they are asked for once in a while, so that calls are counted many at once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended: list[_Ended] = []
        """Calls that are not counted yet."""
        self._calls: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)
        self._tokens: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._cost: defaultdict[str, int] = defaultdict(int)
        self._failures: defaultdict[str, int] = defaultdict(int)
        registry.register(self)

    def call(self, provider: str, verdict: str, ending: str, seconds: float, usage: Usage = NO_USAGE, cost_nano: int | None = None) -> None:
        """Count one ended call, with the tokens and nano-dollars that it came to."""
        self._ended.append((provider, verdict, ending, seconds, usage, cost_nano))
        if len(self._ended) >= _AT_ONCE:
            self._count()

    def _count(self) -> None:
        ended, self._ended = self._ended, []
        for provider, verdict, ending, seconds, usage, cost_nano in ended:
            self._calls[provider, verdict, ending] += 1
            durations = self._durations[provider]
            durations.buckets[bisect_left(_SECONDS, seconds)] += 1
            durations.seconds += seconds
            for kind, number in (
                ("input", usage.input_tokens),
                ("output", usage.output_tokens),
                ("cache_read", usage.cache_read_tokens),
                ("cache_write", usage.cache_write_tokens),
                ("reasoning", usage.reasoning_tokens),
            ):
                if number:
                    self._tokens[provider, kind] += number
            if cost_nano:
                self._cost[provider] += cost_nano

    def hook_failure(self, hook: str) -> None:
        """Count an exception that a hook caught."""
        self._failures[hook] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield what is counted so far."""
        self._count()
        calls = CounterMetricFamily(
            "tollwatch_calls", "Calls by provider, verdict and how they ended", labels=("provider", "verdict", "ending")
        )
        for labels, number in self._calls.items():
            calls.add_metric(labels, number)
        seconds = HistogramMetricFamily(
            "tollwatch_call_duration_seconds", "From the request to the last byte of the answer", labels=("provider",)
        )
        for provider, durations in self._durations.items():
            buckets = list(zip(_BOUNDS, accumulate(durations.buckets), strict=True))
            seconds.add_metric((provider,), buckets, sum_value=durations.seconds)
        tokens = CounterMetricFamily("tollwatch_tokens", "Tokens by provider and class", labels=("provider", "class"))
        for kind, number in self._tokens.items():
            tokens.add_metric(kind, number)
        cost = CounterMetricFamily("tollwatch_cost_nanodollars", "Known cost, in nano-dollars", labels=("provider",))
        for provider, number in self._cost.items():
            cost.add_metric((provider,), number)
        failures = CounterMetricFamily("tollwatch_hook_failures", "Exceptions that a hook of the proxy caught", labels=("hook",))
        for hook, number in self._failures.items():
            failures.add_metric((hook,), number)
        yield from (calls, seconds, tokens, cost, failures)
