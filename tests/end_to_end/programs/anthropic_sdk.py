"""An unmodified program with the official Anthropic SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json
import sys

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


def ask(model: str, times: int) -> None:
    """Ask `times` times; print each answer or the SDK's own error."""
    client = anthropic.Anthropic()
    for _ in range(times):
        try:
            say("messages", client.messages.create(model=model, max_tokens=100, messages=HELLO))
        except anthropic.APIStatusError as error:
            print(json.dumps({"error": type(error).__name__, "status": error.status_code, "message": error.message, "body": error.body}))


if __name__ == "__main__":
    normal() if len(sys.argv) == 1 else ask(sys.argv[1], int(sys.argv[2]))
