"""An unmodified program with Google's official SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json
import sys

from google import genai
from google.genai import errors

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


def ask(model: str, how: str) -> None:
    """Ask once; print the SDK's own error."""
    client = genai.Client()
    try:
        if how == "stream":
            say(how, "".join(chunk.text or "" for chunk in client.models.generate_content_stream(model=model, contents="hello there")))
        else:
            say(how, client.models.generate_content(model=model, contents="hello there").text)
    except errors.APIError as error:
        print(json.dumps({"error": type(error).__name__, "status": error.code, "message": error.message, "kind": error.status}))


if __name__ == "__main__":
    normal() if len(sys.argv) == 1 else ask(sys.argv[1], sys.argv[2])
