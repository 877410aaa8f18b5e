"""What stands at `/metrics`."""

from prometheus_client import CollectorRegistry, generate_latest

from metering.telemetry import Telemetry
from metering.usage import Usage


def test_calls_tokens_cost_and_failures_are_counted() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)

    telemetry.call("openai", "allow", "completed", 0.3, Usage(input_tokens=12, cache_read_tokens=0), 500)
    telemetry.hook_failure("request")

    text = generate_latest(registry).decode()
    assert 'tollwatch_calls_total{ending="completed",provider="openai",verdict="allow"} 1.0' in text
    assert 'tollwatch_call_duration_seconds_count{provider="openai"} 1.0' in text
    assert 'tollwatch_tokens_total{class="input",provider="openai"} 12.0' in text
    assert "cache_read" not in text
    assert 'tollwatch_cost_nanodollars_total{provider="openai"} 500.0' in text
    assert 'tollwatch_hook_failures_total{hook="request"} 1.0' in text


def test_durations_are_counted_in_buckets_up_to_and_with_their_bound() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)

    for seconds in (0.1, 0.2, 400):
        telemetry.call("openai", "allow", "completed", seconds)

    text = generate_latest(registry).decode()
    for bound, number in (("0.1", 1), ("0.25", 2), ("300.0", 2), ("+Inf", 3)):
        assert f'tollwatch_call_duration_seconds_bucket{{le="{bound}",provider="openai"}} {number}.0' in text
    assert 'tollwatch_call_duration_seconds_sum{provider="openai"} 400.3' in text


def test_many_calls_are_all_counted() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)

    for _ in range(700):
        telemetry.call("openai", "allow", "completed", 0.3, Usage(output_tokens=2), 5)

    text = generate_latest(registry).decode()
    assert 'tollwatch_calls_total{ending="completed",provider="openai",verdict="allow"} 700.0' in text
    assert 'tollwatch_tokens_total{class="output",provider="openai"} 1400.0' in text
    assert 'tollwatch_cost_nanodollars_total{provider="openai"} 3500.0' in text
