"""Calls, replies and ways of feeding answers for the tests of metering."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.providers import FORMATS
from metering.reading import ReplyFacts

settings.register_profile("metering", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("metering")  # a machine shared with other work is slow at times, which is no fault of the code

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)

type MakeCall = Callable[..., Call]
type MakeReply = Callable[..., Reply]
type ReadAnswer = Callable[..., ReplyFacts]


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def make_call() -> MakeCall:
    def make(**changes: Any) -> Call:
        fields: dict[str, Any] = {
            "id": "019a",
            "started_at": NOW,
            "door": Door.FORWARD,
            "provider": "openai",
            "service": "openai",
            "operation": "chat",
            "endpoint": Endpoint.CHAT,
            "wire_format": "openai.chat",
            "consumption": Consumption.METERED,
            "method": "POST",
            "host": "api.openai.com",
            "path": "/v1/chat/completions",
            "model": "gpt-4o",
            "streamed": False,
            "caller": Caller(),
            "request_bytes": 100,
        }
        return Call(**{**fields, **changes})

    return make


@pytest.fixture
def make_reply() -> MakeReply:
    def make(**changes: Any) -> Reply:
        fields: dict[str, Any] = {"ending": Ending.COMPLETED, "status": 200, "first_byte_at": NOW, "ended_at": NOW, "response_bytes": 100}
        return Reply(**{**fields, **changes})

    return make


@pytest.fixture
def read_answer() -> ReadAnswer:
    def read(wire_format: str, *pieces: bytes, provider: str = "openai", content_type: str | None = None) -> ReplyFacts:
        reader = FORMATS[wire_format].reader(provider=provider, content_type=content_type)
        for piece in pieces:
            reader.feed(piece)
        return reader.finish()

    return read
