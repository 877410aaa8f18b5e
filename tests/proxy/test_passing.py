"""Calls that pass: both doors, streamed and not, recorded once."""

from typing import Any

import orjson

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})


async def test_a_call_through_the_forward_door_reaches_the_provider_unchanged_and_is_recorded(house: Any) -> None:
    response = await house.post(CHAT)

    assert response.status == 200
    assert [seen.body for seen in house.provider.seen] == [CHAT]
    assert house.provider.seen[0].headers["host"] == "api.openai.com"
    row = await house.row()
    assert (row.id, row.state, row.ending, row.provider) == (response.call_id, "settled", "completed", "openai")
