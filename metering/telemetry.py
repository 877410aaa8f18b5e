"""The numbers that Prometheus reads at `/metrics`."""

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Telemetry:
    """Counts calls, tokens and money. Each label set is looked up once, since a look-up costs more than the count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        calls = Counter(
            "tollwatch_calls",
            "Calls by provider, verdict and how they ended",
            ("provider", "verdict", "ending"),
            registry=registry,
        )
        seconds = Histogram(
            "tollwatch_call_duration_seconds",
            "From the request to the last byte of the answer",
            ("provider",),
            buckets=_SECONDS,
            registry=registry,
        )
        tokens = Counter("tollwatch_tokens", "Tokens by provider and class", ("provider", "class"), registry=registry)
        cost = Counter("tollwatch_cost_nanodollars", "Known cost, in nano-dollars", ("provider",), registry=registry)
        failures = Counter("tollwatch_hook_failures", "Exceptions that a hook of the proxy caught", ("hook",), registry=registry)
        self._calls = _children(calls)
        self._seconds: Callable[[str], Histogram] = cache(seconds.labels)
        self._tokens = _children(tokens)
        self._cost = _children(cost)
        self._failures = _children(failures)

    def call(self, provider: str, verdict: str, ending: str, seconds: float) -> None:
        """Count one ended call."""
        self._calls(provider, verdict, ending).inc()
        self._seconds(provider).observe(seconds)

    def tokens(self, provider: str, kind: str, number: int) -> None:
        """Count tokens of a class: input, output, cache_read, cache_write, reasoning."""
        self._tokens(provider, kind).inc(number)

    def cost(self, provider: str, nano: int) -> None:
        """Count nano-dollars."""
        self._cost(provider).inc(nano)

    def hook_failure(self, hook: str) -> None:
        """Count an exception that a hook caught."""
        self._failures(hook).inc()


def _children(counter: Counter) -> Callable[..., Counter]:
    """Return a look-up of the children by their label values that remembers them."""
    return cache(counter.labels)
