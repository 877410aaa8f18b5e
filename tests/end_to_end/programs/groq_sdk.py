"""An unmodified program with Groq's official SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json
import sys

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


def ask(model: str, how: str) -> None:
    """Ask once; print the SDK's own error."""
    client = groq.Groq()
    try:
        answer = client.chat.completions.create(model=model, messages=HELLO, stream=how == "stream")
        say(how, str(answer))
    except groq.APIStatusError as error:
        print(json.dumps({"error": type(error).__name__, "status": error.status_code, "message": error.message}))


if __name__ == "__main__":
    normal() if len(sys.argv) == 1 else ask(sys.argv[1], sys.argv[2])
