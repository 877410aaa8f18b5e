"""An unmodified program with Ollama's official SDK; `OLLAMA_CLOUD` names a server to ask instead of that of `OLLAMA_HOST`."""

import asyncio
import json
import os

import ollama

MODEL = "qwen3:8b"
HELLO = [{"role": "user", "content": "hello there"}]
HOST = os.environ.get("OLLAMA_CLOUD")


def say(what: str, text: str) -> None:
    print(json.dumps({"what": what, "text": text}))


def normal() -> None:
    client = ollama.Client(host=HOST)
    say("chat", client.chat(model=MODEL, messages=HELLO).message.content)
    say("stream", "".join(part.message.content for part in client.chat(model=MODEL, messages=HELLO, stream=True)))
    asyncio.run(concurrent())


async def concurrent() -> None:
    client = ollama.AsyncClient(host=HOST)
    say("async chat", (await client.chat(model=MODEL, messages=HELLO)).message.content)


if __name__ == "__main__":
    normal()
