"""What chat, Responses, completions and embeddings requests ask for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from metering.call import Prompt
from metering.providers.requests import PromptBuilder, compact, flag, integer, mapping, output_cap, sequence, string, tool_names
from metering.providers.shapes import Json
from metering.providers.wire import RequestFacts

_INSTRUCTING = frozenset({"system", "developer"})
_WORD = " a"


def read_chat(body: Json) -> RequestFacts:
    """Read a chat request, also one in the shape of the Responses API (Cursor posts those to `/chat/completions`)."""
    if "messages" not in body and "input" in body:
        return read_responses(body)
    if "messages" not in body and "prompt" in body:
        return read_completions(body)
    if "messages" not in body:
        raise ValueError("a chat request needs `messages`")
    builder = PromptBuilder()
    for each in sequence(body, "messages"):
        message = mapping(each, "each of `messages`")
        builder.messages += 1
        builder.add(message.get("content"), system=string(message, "role") in _INSTRUCTING)
        builder.add(string(message, "name"))
        builder.add(string(message, "reasoning_content"))
        _add_calls(builder, message)
    tools = sequence(body, "tools") or sequence(body, "functions")
    builder.tools = compact(tools, _schema(body))
    return _facts(body, builder.build(), tools=tool_names(tools), cap=("max_completion_tokens", "max_tokens"))


def _add_calls(builder: PromptBuilder, message: Json) -> None:
    calls = [*sequence(message, "tool_calls"), {"function": message.get("function_call")}]
    for call in calls:
        function = mapping(call, "each of `tool_calls`").get("function")
        if isinstance(function, Mapping):
            builder.add(cast("Json", function).get("name"))
            builder.add(cast("Json", function).get("arguments"))


def _schema(body: Json) -> object:
    wanted = body.get("response_format")
    if wanted is None:
        return None
    wanted = mapping(wanted, "`response_format`")
    return wanted.get("json_schema")


def read_responses(body: Json) -> RequestFacts:
    """Read a request of the Responses API."""
    builder = PromptBuilder()
    builder.add(string(body, "instructions"), system=True)
    asked = body.get("input")
    for each in (asked,) if isinstance(asked, str) else sequence(body, "input"):
        builder.messages += 1
        if isinstance(each, str):
            builder.add(each)
        else:
            _add_item(builder, mapping(each, "each of `input`"))
    if isinstance(prompt := body.get("prompt"), Mapping):
        builder.add(list(mapping(cast("Json", prompt).get("variables") or {}, "`prompt.variables`").values()))
    tools = sequence(body, "tools")
    text = body.get("text")
    wanted = mapping(text, "`text`").get("format") if text is not None else None
    builder.tools = compact(tools, mapping(wanted, "`text.format`").get("schema") if wanted is not None else None)
    return _facts(body, builder.build(), tools=tool_names(tools), cap=("max_output_tokens",))


def _add_item(builder: PromptBuilder, item: Json) -> None:
    system = string(item, "role") in _INSTRUCTING
    if item.get("type", "message") == "message":
        builder.add(item.get("content"), system=system)
        return
    builder.add([item], system=system)


def read_completions(body: Json) -> RequestFacts:
    """Read a legacy completions request."""
    return _facts(body, _plain(body, "prompt"), tools=(), cap=("max_tokens",))


def read_embeddings(body: Json) -> RequestFacts:
    """Read an embeddings request; it has no output."""
    facts = _facts(body, _plain(body, "input"), tools=(), cap=())
    return replace(facts, streamed=False, max_output_tokens=0, choices=1)


def _plain(body: Json, name: str) -> Prompt:
    """Return the prompt of a field that holds a text, token ids, or a list of either; it has no framing.

    A token id is written as a word of one token.
    """
    if name not in body:
        raise ValueError(f"the request needs `{name}`")
    builder = PromptBuilder()
    value = body[name]
    parts = (value,) if isinstance(value, str) or _is_token_ids(value) else sequence(body, name)
    for part in parts:
        if _is_token_ids(part):
            builder.texts.append(_WORD * len(cast("list[object]", part)))
        else:
            builder.add(part)
    builder.add(string(body, "suffix"))
    return builder.build()


def _is_token_ids(value: object) -> bool:
    if not isinstance(value, list):
        return False
    ids = cast("list[object]", value)
    return bool(ids) and all(type(each) is int for each in ids)


def _facts(body: Json, prompt: Prompt, *, tools: tuple[str, ...], cap: tuple[str, ...]) -> RequestFacts:
    choices = integer(body, "n", least=1) or 1
    return RequestFacts(
        model=string(body, "model"),
        streamed=flag(body, "stream"),
        max_output_tokens=output_cap(body, *cap),
        choices=max(choices, integer(body, "best_of", least=1) or 1),
        prompt=prompt,
        tools=tools,
        service_tier=string(body, "service_tier"),
    )
