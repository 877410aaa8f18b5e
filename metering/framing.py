"""What stands around the text of a prompt: OpenAI's framing, exactly; what other providers add out of sight, at most."""

import re
from collections.abc import Mapping
from functools import lru_cache

from metering.call import Prompt

# OpenAI's chat framing: 3 and the role for each message; 3 to begin the reply.
_PER_MESSAGE = 4
_PER_CHAT = 3
_PER_REASONING_CHAT = 2
_PER_CHANNELLED_ANSWER = 2
"""Reasoning models begin the reply with one token less; from GPT-5 on, each earlier answer names its channel with two."""
_PER_CALL = 7
_REASONING = re.compile(r"gpt-[5-9]|o3|o4|computer-use")
_CHANNELLED = re.compile(r"gpt-[5-9]")
_UNFRAMED = re.compile(r"search-preview")
"""Models that search before they answer report the bare text."""

_MOST_PER_MESSAGE = 12
_MOST_PER_CHAT = 48
_MOST_FOR_TOOLS = 700
"""What providers say about tools out of sight (Anthropic 264 to 640)."""
_MOST_PER_TOOL = 64
_MOST_STORED = 16_384
_MOST_HIDDEN = (
    (re.compile(r"compound"), 32_768),
    (re.compile(r"grok"), 768),
    (re.compile(r"command|north-mini|\bc4ai|aya"), 2_048),
    (re.compile(r"gpt-oss|deepseek-v4|qwen3"), 192),
)
_MOST_FOR_A_SERVER_TOOL: Mapping[str, int] = {
    "websearch": 32_768,
    "webfetch": 32_768,
    "googlesearch": 32_768,
    "xsearch": 32_768,
    "urlcontext": 32_768,
    "codeexecution": 16_384,
    "codeinterpreter": 16_384,
    "bash": 2_048,
    "texteditor": 2_048,
    "computer": 4_096,
    "memory": 4_096,
    "imagegeneration": 4_096,
}
_MOST_FOR_ANOTHER_TOOL = 16_384
"""What a tool that runs at the provider brings into the prompt: its description, and the results of a few uses. There is no true bound."""


def framing(prompt: Prompt, model: str | None) -> int:
    """Return the tokens that OpenAI adds to the text of a prompt; none for embeddings and completions, which have no messages."""
    if not prompt.messages:
        return 0
    is_framed, per_chat, per_answer = _frame(model or "")
    if not is_framed:
        return 0
    return per_chat + _PER_MESSAGE * prompt.messages + prompt.named + _PER_CALL * prompt.calls + per_answer * prompt.answers


@lru_cache(maxsize=1024)
def _frame(model: str) -> tuple[bool, int, int]:
    """Return whether a model's prompts are framed, with how many tokens a chat, and with how many each earlier answer."""
    name = model.rpartition("/")[2]
    per_chat = _PER_REASONING_CHAT if _REASONING.match(name) else _PER_CHAT
    return not _UNFRAMED.search(model), per_chat, _PER_CHANNELLED_ANSWER if _CHANNELLED.match(name) else 0


def most_framing(prompt: Prompt, model: str | None, tools: int) -> int:
    """Return a number that the tokens around the text of a prompt do not exceed; `tools` is how many it defines."""
    around = _MOST_PER_CHAT + _MOST_PER_MESSAGE * (prompt.messages + prompt.calls) + prompt.named + prompt.sealed
    around += _most_hidden(model or "")
    if prompt.tools:
        around += _MOST_FOR_TOOLS + _MOST_PER_TOOL * tools
    if prompt.stored:
        around += _MOST_STORED
    return around + sum(map(_most_for, prompt.server_tools))


@lru_cache(maxsize=1024)
def _most_hidden(model: str) -> int:
    name = model.lower()
    return next((hidden for pattern, hidden in _MOST_HIDDEN if pattern.search(name)), 0)


def _most_for(tool: str) -> int:
    name = tool.rpartition(":")[2].replace("_", "").lower()  # openrouter:web_search, web_search_20250305, googleSearch
    return next((most for known, most in _MOST_FOR_A_SERVER_TOOL.items() if name.startswith(known)), _MOST_FOR_ANOTHER_TOOL)
