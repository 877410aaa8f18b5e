"""What stands at `/metrics`."""

import time

from prometheus_client import CollectorRegistry, generate_latest

from metering.telemetry import Telemetry


def test_calls_tokens_cost_and_failures_are_counted() -> None:
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)

    telemetry.call("openai", "allow", "completed", 0.3)
    telemetry.tokens("openai", "input", 12)
    telemetry.cost("openai", 500)
    telemetry.hook_failure("request")

    text = generate_latest(registry).decode()
    assert 'tollwatch_calls_total{ending="completed",provider="openai",verdict="allow"} 1.0' in text
    assert 'tollwatch_call_duration_seconds_count{provider="openai"} 1.0' in text
    assert 'tollwatch_tokens_total{class="input",provider="openai"} 12.0' in text
    assert 'tollwatch_cost_nanodollars_total{provider="openai"} 500.0' in text
    assert 'tollwatch_hook_failures_total{hook="request"} 1.0' in text


def test_a_call_costs_little() -> None:
    telemetry = Telemetry(CollectorRegistry())
    telemetry.call("openai", "allow", "completed", 0.3)
    started = time.process_time()

    for _ in range(10_000):
        telemetry.call("openai", "allow", "completed", 0.3)

    assert (time.process_time() - started) / 10_000 < 50e-6
