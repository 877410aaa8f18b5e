"""The numbers that Prometheus reads at `/metrics`."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BOUNDS = (*map(str, map(float, _SECONDS)), "+Inf")


class _Durations:
    """How many calls took at most each of _SECONDS, and how long all took."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUNDS)
        self.seconds = 0.0


class Telemetry(Collector):
    """Counts calls, tokens and money in plain numbers: each call counts some ten of them, and they are asked for once in a while."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)
        self._tokens: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._cost: defaultdict[str, int] = defaultdict(int)
        self._failures: defaultdict[str, int] = defaultdict(int)
        registry.register(self)

    def call(self, provider: str, verdict: str, ending: str, seconds: float) -> None:
        """Count one ended call."""
        self._calls[provider, verdict, ending] += 1
        durations = self._durations[provider]
        durations.buckets[bisect_left(_SECONDS, seconds)] += 1
        durations.seconds += seconds

    def tokens(self, provider: str, kind: str, number: int) -> None:
        """Count tokens of a class: input, output, cache_read, cache_write, reasoning."""
        self._tokens[provider, kind] += number

    def cost(self, provider: str, nano: int) -> None:
        """Count nano-dollars."""
        self._cost[provider] += nano

    def hook_failure(self, hook: str) -> None:
        """Count an exception that a hook caught."""
        self._failures[hook] += 1

    def collect(self) -> Iterator[Metric]:
        """Yield what is counted so far."""
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
