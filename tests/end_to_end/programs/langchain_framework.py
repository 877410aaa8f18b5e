"""An unmodified program with LangChain, a framework over many providers' SDKs. It prints what it got, one JSON object a line."""

import json
import os

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

os.environ["LANGSMITH_TRACING"] = "false"

models: dict[str, BaseChatModel] = {
    "openai": ChatOpenAI(model="gpt-4o-mini", max_tokens=100),
    "anthropic": ChatAnthropic(model_name="claude-sonnet-4-5", max_tokens_to_sample=100, timeout=20, stop=None),
}
for name, model in models.items():
    answer = model.invoke("hello there")
    used = answer.usage_metadata or {}
    print(json.dumps({"what": name, "text": answer.text, "usage": {"output": used.get("output_tokens")}}))
    pieces = [chunk.text for chunk in model.stream("hello there")]
    print(json.dumps({"what": f"{name} stream", "text": "".join(pieces), "usage": None}))
