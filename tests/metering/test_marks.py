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
