"""An unmodified program with Mistral's official SDK, which takes no address from the environment by itself."""

import asyncio
import json
import os
import sys

from mistralai.client import Mistral, errors

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


def ask(model: str, how: str) -> None:
    """Ask once; print the SDK's own error."""
    with client() as mistral:
        try:
            if how == "stream":
                with mistral.chat.stream(model=model, messages=HELLO) as stream:
                    say(how, "".join(event.data.choices[0].delta.content or "" for event in stream))
            else:
                say(how, mistral.chat.complete(model=model, messages=HELLO).choices[0].message.content)
        except errors.MistralError as error:
            print(json.dumps({"error": type(error).__name__, "status": error.status_code, "message": f"{error.message} {error.body}"}))


if __name__ == "__main__":
    normal() if len(sys.argv) == 1 else ask(sys.argv[1], sys.argv[2])
