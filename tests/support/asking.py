"""Calls as a client makes them, by either door, without an SDK."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.support.client import Connection, Response
from tests.support.gateway import Gateway
from tests.support.provider import Provider

KEY = ("authorization", "Bearer sk-test-0123456789")


def chat(model: str = "gpt-4o-mini", *, text: str = "hello there", **more: Any) -> dict[str, Any]:
    """Return the body of a chat call."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def connect(gateway: Gateway, *, door: str = "base_url", origin: str = "https://api.openai.com") -> Connection:
    """Open a connection by a door."""
    if door == "base_url":
        return await Connection.to(gateway.base)
    return await Connection.through(gateway.forward, origin, trust=gateway.trust())


def target(path: str, *, door: str = "base_url", prefix: str = "openai") -> str:
    """Return what to ask for at a door."""
    return f"/{prefix}{path}" if door == "base_url" else path


def head(*, door: str = "base_url", host: str = "api.openai.com", more: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return the headers of a JSON call."""
    own = "127.0.0.1" if door == "base_url" else host
    return [("host", own), ("content-type", "application/json"), KEY, *(more or {}).items()]


async def step_by_step(connection: Connection, provider: Provider, *, chunks: int | None = None) -> Response:
    """Return a stepped answer that was asked for, or so many chunks of it: each next chunk is sent once the last has come."""
    received = await connection.receive(chunks=1)
    body, came = received.body, 1
    while not received.whole and received.body and came != chunks:
        provider.step()
        received = await connection.receive(chunks=1)
        body, came = body + received.body, came + 1
    return replace(received, body=body)


async def ask(
    gateway: Gateway,
    body: Mapping[str, Any] | bytes,
    *,
    path: str = "/v1/chat/completions",
    door: str = "base_url",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make one call to OpenAI on a connection of its own."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with await connect(gateway, door=door) as connection:
        return await connection.request("POST", target(path, door=door), headers=head(door=door, more=headers), pieces=[raw])
