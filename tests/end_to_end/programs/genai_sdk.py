"""An unmodified program with Google's official SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json

from google import genai

MODEL = "gemini-2.5-flash"


def say(what: str, text: str) -> None:
    print(json.dumps({"what": what, "text": text}))


def normal() -> None:
    client = genai.Client()
    say("generate", client.models.generate_content(model=MODEL, contents="hello there").text)
    say("stream", "".join(chunk.text or "" for chunk in client.models.generate_content_stream(model=MODEL, contents="hello there")))
    asyncio.run(concurrent())


async def concurrent() -> None:
    client = genai.Client().aio
    say("async generate", (await client.models.generate_content(model=MODEL, contents="hello there")).text)
    stream = await client.models.generate_content_stream(model=MODEL, contents="hello there")
    say("async stream", "".join([chunk.text or "" async for chunk in stream]))


if __name__ == "__main__":
    normal()
