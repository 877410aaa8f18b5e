"""What a call leaves behind when it is over: nothing that waits for the garbage collector."""

import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.support import answers

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})
STREAM = orjson.dumps({**orjson.loads(CHAT), "stream": True, "stream_options": {"include_usage": True}})
HEAD = [("host", "api.openai.com"), ("content-type", "application/json")]
PATH = "/v1/chat/completions"
WATCHED = frozenset({"HttpStream", "HTTPFlow", "Request", "Response", "Passage", "LiveCall", "Tap", "Call"})


@pytest.fixture
def collected() -> Iterator[Any]:
    """Say what only the cyclic collector would free of what was made since, by the name of its type."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)

    def look() -> dict[str, int]:
        gc.collect()
        found = Counter(type(thing).__name__ for thing in gc.garbage)
        gc.garbage.clear()
        return {name: count for name, count in found.items() if name in WATCHED}

    yield look
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def status_of(connection: Any, body: bytes) -> int:
    response = await connection.request("POST", PATH, headers=HEAD, pieces=[body])
    assert connection.reusable
    return int(response.status)


@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "streamed"])
async def test_a_call_that_is_over_is_freed_at_once(open_house: Any, collected: Any, body: bytes) -> None:
    house = await open_house()
    async with await house.through() as connection:
        await status_of(connection, body)
        await house.ledger.drain()
        collected()
        for _ in range(5):
            assert await status_of(connection, body) == 200
        await house.ledger.drain()

        assert collected() == {}


async def test_a_failed_call_is_freed_at_once_and_its_connection_serves_the_next(open_house: Any, collected: Any) -> None:
    house = await open_house()
    async with await house.through() as connection:
        await status_of(connection, CHAT)
        await house.ledger.drain()
        collected()
        house.provider.queue.append(answers.Answer(then="reset", after_chunks=-1))
        assert await status_of(connection, CHAT) == 502
        await house.ledger.drain()
        left = collected()

        assert left.get("HttpStream", 0) == 0
        assert await status_of(connection, CHAT) == 200
