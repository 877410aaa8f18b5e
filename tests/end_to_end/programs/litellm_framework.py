"""An unmodified program with LiteLLM, a framework over many providers' APIs. It prints what it got, one JSON object a line."""

import json

import litellm

HELLO = [{"role": "user", "content": "hello there"}]
litellm.telemetry = False

for model in ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"):
    answer = litellm.completion(model=model, messages=HELLO, max_tokens=100)
    print(json.dumps({"what": model, "text": answer.choices[0].message.content, "usage": {"output": answer.usage.completion_tokens}}))
    text = ""
    for chunk in litellm.completion(model=model, messages=HELLO, max_tokens=100, stream=True):
        text += chunk.choices[0].delta.content or ""
    print(json.dumps({"what": f"{model} stream", "text": text, "usage": None}))
