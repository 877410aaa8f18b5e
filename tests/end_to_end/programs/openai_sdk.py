"""An unmodified program with the official OpenAI SDK. It knows no gateway; it prints what it got, one JSON object a line."""

import asyncio
import json

import openai

MODEL = "gpt-4o-mini"
HELLO = [{"role": "user", "content": "hello there"}]


def say(what: str, text: str | None, usage: object) -> None:
    print(json.dumps({"what": what, "text": text, "usage": usage and usage.to_dict()}))


def normal() -> None:
    client = openai.OpenAI()
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    say("chat", answer.choices[0].message.content, answer.usage)
    text, usage = "", None
    for chunk in client.chat.completions.create(model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    say("chat stream", text, usage)
    response = client.responses.create(model=MODEL, input="hello there")
    say("responses", response.output_text, response.usage)
    with client.responses.stream(model=MODEL, input="hello there") as stream:
        final = stream.get_final_response()
    say("responses stream", final.output_text, final.usage)
    vectors = client.embeddings.create(model="text-embedding-3-small", input="hello there", encoding_format="float")
    say("embeddings", str(len(vectors.data[0].embedding)), vectors.usage)
    asyncio.run(concurrent())


async def concurrent() -> None:
    async with openai.AsyncOpenAI() as client:
        answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
        say("async chat", answer.choices[0].message.content, answer.usage)
        text = ""
        async for chunk in await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        say("async chat stream", text, None)


if __name__ == "__main__":
    normal()
