"""Regional endpoints that cost more than the listed price."""

from decimal import Decimal
from typing import Any

import pytest

from metering.marks import regional_mark

_VERTEX = "/v1/projects/p/locations/{}/publishers/anthropic/models/{}:rawPredict"


@pytest.mark.parametrize(
    ("provider", "host", "path", "model", "mark"),
    [
        ("gcp.vertex_ai", "us-east5-aiplatform.googleapis.com", _VERTEX.format("us-east5", "x"), "claude-sonnet-4-5", "1.1"),
        ("gcp.vertex_ai", "aiplatform.googleapis.com", _VERTEX.format("global", "x"), "claude-sonnet-4-5", "1"),
        ("gcp.vertex_ai", "us-east5-aiplatform.googleapis.com", _VERTEX.format("us-east5", "x"), "claude-3-5-haiku", "1"),
        ("gcp.vertex_ai", "us-east5-aiplatform.googleapis.com", _VERTEX.format("us-east5", "x"), "gemini-2.5-pro", "1"),
        ("openai", "eu.api.openai.com", "/v1/responses", "gpt-5.4", "1.1"),
        ("openai", "eu.api.openai.com", "/v1/responses", "gpt-4o", "1"),
        ("openai", "api.openai.com", "/v1/responses", "gpt-5.4", "1"),
        ("mistral_ai", "eu.api.mistral.ai", "/v1/chat/completions", "mistral-small-latest", "1.1"),
        ("mistral_ai", "api.mistral.ai", "/v1/chat/completions", None, "1"),
        ("anthropic", "api.anthropic.com", "/v1/messages", "claude-sonnet-4-5", "1"),
    ],
)
def test_a_place_has_its_mark(make_call: Any, provider: str, host: str, path: str, model: str | None, mark: str) -> None:
    assert regional_mark(make_call(provider=provider, host=host, path=path), model) == Decimal(mark)


@pytest.mark.parametrize(
    ("model", "asked", "answered", "mark"),
    [
        ("claude-opus-4-6", "us", None, "1.1"),
        ("claude-sonnet-5-5", None, "us", "1.1"),
        ("claude-opus-4-6", "us", "global", "1"),
        ("claude-opus-4-6", None, "not_available", "1"),
        ("claude-opus-4-6", None, None, "1"),
        ("claude-haiku-4-5-20251001", None, "us", "1"),
        ("claude-sonnet-4-20250514", None, "us", "1"),
        ("claude-3-7-sonnet-20250219", None, "us", "1"),
        (None, "us", None, "1.1"),
    ],
)
def test_claude_that_stays_in_the_us_costs_more(
    make_call: Any, model: str | None, asked: str | None, answered: str | None, mark: str
) -> None:
    call = make_call(provider="anthropic", host="api.anthropic.com", model=model, variant=asked)

    assert regional_mark(call, model, answered) == Decimal(mark)
