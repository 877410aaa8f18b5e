"""All official Python SDKs, unmodified, each asking for models that are refused, and for streams that are cut.

The file `PLAN` holds what to ask: `[{case, how, models, door, client}, …]`, of each all models one after the other. It prints one JSON
object for each: what the SDK raised, or how the stream ended for it.
"""

import asyncio
import inspect
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import anthropic
import boto3
import botocore.config
import cohere
import groq
import ollama
import openai
from google import genai
from mistralai.client import Mistral

HELLO = [{"role": "user", "content": "hello there"}]
BEDROCK = [{"role": "user", "content": [{"text": "hello there"}]}]
OLD = json.dumps({"prompt": "\n\nHuman: hello there\n\nAssistant:", "max_tokens_to_sample": 5000})
AT_ONCE = 16
ADDRESSES = (
    "OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "GROQ_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "CO_API_URL",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "MISTRAL_SERVER_URL", "OLLAMA_HOST",
)  # fmt: skip


def clients():
    """Make a client of each SDK, blocking and async, as the environment says."""
    mistral = Mistral(api_key="k", server_url=os.environ.get("MISTRAL_SERVER_URL"))
    host = os.environ.get("OLLAMA_HOST", "https://ollama.com")
    coheres = os.environ.get("CO_API_URL", "https://api.cohere.com")  # which it reads when it is imported
    return {
        "sync": SimpleNamespace(
            openai=openai.OpenAI(),
            anthropic=anthropic.Anthropic(),
            groq=groq.Groq(),
            gemini=genai.Client(),
            cohere=cohere.ClientV2(base_url=coheres),
            cohere_v1=cohere.Client(base_url=coheres),
            ollama=ollama.Client(host=host),
            mistral=mistral,
            amazon=boto3.client("bedrock-runtime", config=botocore.config.Config(read_timeout=60, retries={"max_attempts": 10})),
            named=getattr,
        ),
        "async": SimpleNamespace(
            openai=openai.AsyncOpenAI(),
            anthropic=anthropic.AsyncAnthropic(),
            groq=groq.AsyncGroq(),
            gemini=genai.Client().aio,
            cohere=cohere.AsyncClientV2(base_url=coheres),
            cohere_v1=cohere.AsyncClient(base_url=coheres),
            ollama=ollama.AsyncClient(host=host),
            mistral=mistral,
            named=lambda part, name: getattr(part, f"{name}_async"),
        ),
    }


def both_doors():
    """Make all clients twice: with the addresses that `tollwatch exec --base-url` sets, and without them, behind the proxy alone."""
    base_url = clients()
    for name in ADDRESSES:
        os.environ.pop(name, None)
    return {"base_url": base_url, "forward": clients()}


WHOLE = {
    "openai chat": lambda by, model: by.openai.chat.completions.create(model=model, messages=HELLO),
    "openai completions": lambda by, model: by.openai.completions.create(model=model, prompt="hello there"),
    "openai responses": lambda by, model: by.openai.responses.create(model=model, input="hello there"),
    "openai embeddings": lambda by, model: by.openai.embeddings.create(model=model, input="hello there"),
    "openai images": lambda by, model: by.openai.images.generate(model=model, prompt="a toll"),
    "openai speech": lambda by, model: by.openai.audio.speech.create(model=model, input="hello there", voice="alloy"),
    "anthropic messages": lambda by, model: by.anthropic.messages.create(model=model, max_tokens=100, messages=HELLO),
    "gemini generateContent": lambda by, model: by.gemini.models.generate_content(model=model, contents="hello there"),
    "gemini embedContent": lambda by, model: by.gemini.models.embed_content(model=model, contents="hello there"),
    "bedrock converse": lambda by, model: by.amazon.converse(modelId=model, messages=BEDROCK),
    "bedrock invoke": lambda by, model: by.amazon.invoke_model(modelId=model, body=OLD),
    "mistral chat": lambda by, model: by.named(by.mistral.chat, "complete")(model=model, messages=HELLO),
    "mistral embeddings": lambda by, model: by.named(by.mistral.embeddings, "create")(model=model, inputs=["hello there"]),
    "cohere chat": lambda by, model: by.cohere.chat(model=model, messages=HELLO),
    "cohere v1 chat": lambda by, model: by.cohere_v1.chat(model=model, message="hello there"),
    "cohere embed": lambda by, model: by.cohere.embed(model=model, texts=["a"], input_type="search_query", embedding_types=["float"]),
    "cohere rerank": lambda by, model: by.cohere.rerank(model=model, query="a", documents=["a", "b"]),
    "groq chat": lambda by, model: by.groq.chat.completions.create(model=model, messages=HELLO),
    "ollama chat": lambda by, model: by.ollama.chat(model=model, messages=HELLO),
    "ollama generate": lambda by, model: by.ollama.generate(model=model, prompt="hello there"),
    "ollama embed": lambda by, model: by.ollama.embed(model=model, input="hello there"),
}
STREAMS = {
    "openai chat": lambda by, model: by.openai.chat.completions.create(model=model, messages=HELLO, stream=True),
    "openai completions": lambda by, model: by.openai.completions.create(model=model, prompt="hello there", stream=True),
    "openai responses": lambda by, model: by.openai.responses.create(model=model, input="hello there", stream=True),
    "anthropic messages": lambda by, model: by.anthropic.messages.create(model=model, max_tokens=5000, messages=HELLO, stream=True),
    "gemini generateContent": lambda by, model: by.gemini.models.generate_content_stream(model=model, contents="hello there"),
    "bedrock converse": lambda by, model: by.amazon.converse_stream(modelId=model, messages=BEDROCK)["stream"],
    "bedrock invoke": lambda by, model: by.amazon.invoke_model_with_response_stream(modelId=model, body=OLD)["body"],
    "mistral chat": lambda by, model: by.named(by.mistral.chat, "stream")(model=model, messages=HELLO),
    "cohere chat": lambda by, model: by.cohere.chat_stream(model=model, messages=HELLO),
    "cohere v1 chat": lambda by, model: by.cohere_v1.chat_stream(model=model, message="hello there"),
    "groq chat": lambda by, model: by.groq.chat.completions.create(model=model, messages=HELLO, stream=True),
    "ollama chat": lambda by, model: by.ollama.chat(model=model, messages=HELLO, stream=True),
    "ollama generate": lambda by, model: by.ollama.generate(model=model, prompt="hello there", stream=True),
}


class Attempt:
    """One thing that is asked, and what came of it."""

    def __init__(self, planned):
        self.planned = planned
        self.began, self.pieces, self.ended, self.raised = time.monotonic(), 0, "", None

    def hear(self, event):
        """Count an event; Cohere's SDK hands an error over as the last of them."""
        self.pieces += 1
        if getattr(event, "type", None) == "message-end" and event.delta.finish_reason == "ERROR":
            self.ended = f"message-end ERROR: {event.delta.model_dump().get('error')}"
        if getattr(event, "event_type", None) == "stream-end" and event.finish_reason == "ERROR":
            self.ended = f"stream-end ERROR: {event.response.model_dump().get('error')}"

    def say(self):
        raised = self.raised
        status = getattr(raised, "status_code", getattr(raised, "code", None))
        if status is None and hasattr(raised, "response"):
            status = raised.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        said = {
            "model": self.planned["models"][-1],
            "error": type(raised).__name__ if raised else None,
            "status": status if isinstance(status, int) else None,
            "message": f"{raised} {getattr(raised, 'body', '')}" if raised else self.ended,
            "pieces": self.pieces,
            "seconds": round(time.monotonic() - self.began, 2),
        }
        sys.stdout.write(f"{json.dumps(said)}\n")  # at once: others print too
        sys.stdout.flush()


def ask(by, planned, model):
    return (WHOLE if planned["how"] == "whole" else STREAMS)[planned["case"]](by, model)


def attempt(by, planned):
    """Ask, take all that comes; print what the SDK says."""
    one = Attempt(planned)
    try:
        for model in planned["models"]:
            answer = ask(by, planned, model)
            for event in answer if planned["how"] == "stream" else ():
                one.hear(event)
    except Exception as error:  # noqa: BLE001  # whatever it raises is what is looked for
        one.raised = error
    one.say()


async def attempt_async(by, planned, places):
    """Do the same with an async client."""
    async with places:
        one = Attempt(planned)
        try:
            for model in planned["models"]:
                answer = ask(by, planned, model)
                if inspect.isawaitable(answer):
                    answer = await answer
                if planned["how"] == "stream":
                    async for event in answer:
                        one.hear(event)
        except Exception as error:  # noqa: BLE001  # as above
            one.raised = error
        one.say()


async def attempt_all_async(doors, plan):
    places = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(attempt_async(doors[each["door"]]["async"], each, places) for each in plan))


if __name__ == "__main__":
    plan, doors = json.loads(Path(os.environ["PLAN"]).read_text()), both_doors()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda each: attempt(doors[each["door"]]["sync"], each), [each for each in plan if each["client"] == "sync"]))
    asyncio.run(attempt_all_async(doors, [each for each in plan if each["client"] == "async"]))
