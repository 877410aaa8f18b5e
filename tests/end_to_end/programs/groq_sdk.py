"""An unmodified program with Groq's official SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json

import groq

MODEL = "llama-3.3-70b-versatile"
HELLO = [{"role": "user", "content": "hello there"}]


def say(what: str, text: str) -> None:
    print(json.dumps({"what": what, "text": text}))


def normal() -> None:
    client = groq.Groq()
    say("chat", client.chat.completions.create(model=MODEL, messages=HELLO).choices[0].message.content)
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    say("stream", "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices))
    asyncio.run(concurrent())


async def concurrent() -> None:
    async with groq.AsyncGroq() as client:
        say("async chat", (await client.chat.completions.create(model=MODEL, messages=HELLO)).choices[0].message.content)


if __name__ == "__main__":
    normal()
