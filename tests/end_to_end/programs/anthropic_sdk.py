"""An unmodified program with the official Anthropic SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json

import anthropic

MODEL = "claude-sonnet-4-5"
HELLO = [{"role": "user", "content": "hello there"}]


def say(what: str, message: anthropic.types.Message) -> None:
    print(json.dumps({"what": what, "text": message.content[0].text, "usage": message.usage.to_dict()}))


def normal() -> None:
    client = anthropic.Anthropic()
    say("messages", client.messages.create(model=MODEL, max_tokens=100, messages=HELLO))
    with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
        say("messages stream", stream.get_final_message())
    asyncio.run(concurrent())


async def concurrent() -> None:
    async with anthropic.AsyncAnthropic() as client:
        say("async messages", await client.messages.create(model=MODEL, max_tokens=100, messages=HELLO))
        async with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
            say("async messages stream", await stream.get_final_message())


if __name__ == "__main__":
    normal()
