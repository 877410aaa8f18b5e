"""An unmodified program with Cohere's official SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json

import cohere

MODEL = "command-a-03-2025"
HELLO = [{"role": "user", "content": "hello there"}]


def say(what: str, text: str) -> None:
    print(json.dumps({"what": what, "text": text}))


def streamed(events: object) -> str:
    return "".join(event.delta.message.content.text for event in events if event.type == "content-delta")


def normal() -> None:
    client = cohere.ClientV2()
    say("chat", client.chat(model=MODEL, messages=HELLO).message.content[0].text)
    say("stream", streamed(client.chat_stream(model=MODEL, messages=HELLO)))
    asyncio.run(concurrent())


async def concurrent() -> None:
    async with cohere.AsyncClientV2() as client:
        say("async chat", (await client.chat(model=MODEL, messages=HELLO)).message.content[0].text)


if __name__ == "__main__":
    normal()
