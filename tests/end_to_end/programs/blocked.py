"""All official Python SDKs, unmodified, each asking for models that are refused, and for streams that are cut.

It prints one JSON object for each: what the SDK raised, or how the stream ended for it.
"""

import json
import os
import time

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

openais, claude, groqs = openai.OpenAI(), anthropic.Anthropic(), groq.Groq()
gemini, coheres, coheres_v1, local = genai.Client(), cohere.ClientV2(), cohere.Client(), ollama.Client()
mistral = Mistral(api_key="k", server_url=os.environ["MISTRAL_SERVER_URL"])
amazon = boto3.client("bedrock-runtime", config=botocore.config.Config(read_timeout=20))


def events_of_cohere(stream):
    for event in stream:
        if event.type == "message-end" and event.delta.finish_reason == "ERROR":
            ended.append(f"message-end ERROR: {event.delta.model_dump().get('error')}")
        yield event


def events_of_cohere_v1(stream):
    for event in stream:
        if event.event_type == "stream-end" and event.finish_reason == "ERROR":
            ended.append(f"stream-end ERROR: {event.response.model_dump().get('error')}")
        yield event


ended = []
WHOLE = {
    "openai chat": lambda model: openais.chat.completions.create(model=model, messages=HELLO),
    "openai completions": lambda model: openais.completions.create(model=model, prompt="hello there"),
    "openai responses": lambda model: openais.responses.create(model=model, input="hello there"),
    "openai embeddings": lambda model: openais.embeddings.create(model=model, input="hello there"),
    "openai images": lambda model: openais.images.generate(model=model, prompt="a toll"),
    "openai speech": lambda model: openais.audio.speech.create(model=model, input="hello there", voice="alloy"),
    "anthropic messages": lambda model: claude.messages.create(model=model, max_tokens=100, messages=HELLO),
    "gemini generateContent": lambda model: gemini.models.generate_content(model=model, contents="hello there"),
    "gemini embedContent": lambda model: gemini.models.embed_content(model=model, contents="hello there"),
    "bedrock converse": lambda model: amazon.converse(modelId=model, messages=BEDROCK),
    "bedrock invoke": lambda model: amazon.invoke_model(modelId=model, body=OLD),
    "mistral chat": lambda model: mistral.chat.complete(model=model, messages=HELLO),
    "mistral embeddings": lambda model: mistral.embeddings.create(model=model, inputs=["hello there"]),
    "cohere chat": lambda model: coheres.chat(model=model, messages=HELLO),
    "cohere v1 chat": lambda model: coheres_v1.chat(model=model, message="hello there"),
    "cohere embed": lambda model: coheres.embed(model=model, texts=["a"], input_type="search_query", embedding_types=["float"]),
    "cohere rerank": lambda model: coheres.rerank(model=model, query="a", documents=["a", "b"]),
    "groq chat": lambda model: groqs.chat.completions.create(model=model, messages=HELLO),
    "ollama chat": lambda model: local.chat(model=model, messages=HELLO),
    "ollama generate": lambda model: local.generate(model=model, prompt="hello there"),
    "ollama embed": lambda model: local.embed(model=model, input="hello there"),
}
STREAMS = {
    "openai chat": lambda model: openais.chat.completions.create(model=model, messages=HELLO, stream=True),
    "openai completions": lambda model: openais.completions.create(model=model, prompt="hello there", stream=True),
    "openai responses": lambda model: openais.responses.create(model=model, input="hello there", stream=True),
    "anthropic messages": lambda model: claude.messages.create(model=model, max_tokens=5000, messages=HELLO, stream=True),
    "gemini generateContent": lambda model: gemini.models.generate_content_stream(model=model, contents="hello there"),
    "bedrock converse": lambda model: amazon.converse_stream(modelId=model, messages=BEDROCK)["stream"],
    "bedrock invoke": lambda model: amazon.invoke_model_with_response_stream(modelId=model, body=OLD)["body"],
    "mistral chat": lambda model: mistral.chat.stream(model=model, messages=HELLO),
    "cohere chat": lambda model: events_of_cohere(coheres.chat_stream(model=model, messages=HELLO)),
    "cohere v1 chat": lambda model: events_of_cohere_v1(coheres_v1.chat_stream(model=model, message="hello there")),
    "groq chat": lambda model: groqs.chat.completions.create(model=model, messages=HELLO, stream=True),
    "ollama chat": lambda model: local.chat(model=model, messages=HELLO, stream=True),
    "ollama generate": lambda model: local.generate(model=model, prompt="hello there", stream=True),
}


def attempt(case, ask, model, *, streamed):
    """Ask once, take all that comes; print what the SDK says."""
    began, pieces, raised = time.monotonic(), 0, None
    ended.clear()
    try:
        answer = ask(model)
        for _ in answer if streamed else ():
            pieces += 1
    except Exception as error:  # noqa: BLE001  # whatever it raises is what is looked for
        raised = error
    status = getattr(raised, "status_code", getattr(raised, "code", None))
    if status is None and hasattr(raised, "response"):
        status = raised.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    said = {
        "case": case,
        "model": model,
        "streamed": streamed,
        "error": type(raised).__name__ if raised else None,
        "of": type(raised).__module__.partition(".")[0] if raised else None,
        "status": status if isinstance(status, int) else None,
        "message": f"{raised} {getattr(raised, 'body', '')}" if raised else "; ".join(ended),
        "pieces": pieces,
        "seconds": round(time.monotonic() - began, 2),
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    plan = json.loads(os.environ["PLAN"])  # [[case, "whole" | "stream", model], …]
    for case, how, model in plan:
        attempt(case, (WHOLE if how == "whole" else STREAMS)[case], model, streamed=how == "stream")
