"""Names of JSON members that a lenient reader takes for others: another case, odd signs around or inside them."""

import unicodedata
from typing import Final, cast

_EXACT: Final = frozenset(
    {
        # what every format has in common
        *("model", "models", "messages", "message", "input", "prompt", "system", "instructions", "stream", "tools", "functions", "n"),
        *("role", "content", "contents", "parts", "text", "function", "requests", "request", "params", "body", "max_tokens", "stop"),
        *("max_completion_tokens", "max_output_tokens", "best_of", "tool_choice", "tool_calls", "documents", "chat_history", "preamble"),
        *("previous_response_id", "service_tier", "fallbacks", "suffix", "session", "response", "item", "model_id", "model_name"),
        # Google and Amazon write theirs in camel case, Google both ways
        *("systemInstruction", "generationConfig", "maxOutputTokens", "candidateCount", "functionDeclarations", "cachedContent"),
        *("inferenceConfig", "toolConfig", "toolSpec", "maxTokens", "inputText", "promptVariables", "modelId"),
    }
)
_FOLDED: Final = {name.lower(): name for name in _EXACT}
_INSIDE: Final = frozenset(
    {
        *("messages", "message", "input", "system", "content", "contents", "parts", "tools", "functions", "function", "requests"),
        *("request", "params", "body", "tool_calls", "systemInstruction", "system_instruction", "generationConfig", "generation_config"),
        *("inferenceConfig", "toolConfig", "toolSpec", "functionDeclarations", "function_declarations", "session", "response", "item"),
        *("thread", "additional_messages", "batch", "input_config", "inputConfig", "batch_requests", "instances"),
    }
)
"""Members that hold what the formats define; whatever else stands inside others (a schema, arguments) has names of its own."""
_MOST_REMEMBERED: Final = 10_000

_plain: set[str] = set(_EXACT)
"""Names found to be no other's twin, so that each is looked at once."""


def refuse_twins(body: dict[str, object]) -> None:
    """Refuse a body with a member that another reader may take for one that counts: ValueError says which."""
    waiting: list[object] = [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += [each for each in cast("list[object]", node) if isinstance(each, dict)]
            continue
        members = cast("dict[str, object]", node)
        if not _plain.issuperset(members):
            _look(members)
        for name in _INSIDE.intersection(members):
            inner = members[name]
            if isinstance(inner, (dict, list)):
                waiting.append(cast("object", inner))


def twin_of(name: str) -> str | None:
    """Return the member that counts for which a lenient reader may take `name`, None when it is that one or no other's twin."""
    if name in _EXACT:
        return None
    folded = name.lower() if name.isascii() and name.isprintable() else _folded(name)
    return _FOLDED.get(folded.strip())


def _folded(name: str) -> str:
    plain = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) not in {"Cc", "Cf", "Mn"})
    return unicodedata.normalize("NFKC", plain.casefold())


def _look(members: dict[str, object]) -> None:
    for name in members:
        if name in _plain:
            continue
        if (meant := twin_of(name)) is not None:
            raise ValueError(f"the member {name[:40]!a} may be read as {meant!r}; write it so, or leave it out")
        if len(_plain) >= _MOST_REMEMBERED:
            _plain.clear()
            _plain.update(_EXACT)
        _plain.add(name)
