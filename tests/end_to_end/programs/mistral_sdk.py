"""An unmodified program with Mistral's official SDK, which takes no address from the environment by itself."""

import asyncio
import json
import os

from mistralai.client import Mistral

MODEL = "mistral-small-latest"
HELLO = [{"role": "user", "content": "hello there"}]


def client() -> Mistral:
    return Mistral(api_key=os.environ["MISTRAL_API_KEY"], server_url=os.environ.get("MISTRAL_SERVER_URL"))


def say(what: str, text: str) -> None:
    print(json.dumps({"what": what, "text": text}))


def normal() -> None:
    with client() as mistral:
        say("chat", mistral.chat.complete(model=MODEL, messages=HELLO).choices[0].message.content)
        with mistral.chat.stream(model=MODEL, messages=HELLO) as stream:
            say("stream", "".join(event.data.choices[0].delta.content or "" for event in stream if event.data.choices))
    asyncio.run(concurrent())


async def concurrent() -> None:
    async with client() as mistral:
        say("async chat", (await mistral.chat.complete_async(model=MODEL, messages=HELLO)).choices[0].message.content)


if __name__ == "__main__":
    normal()
