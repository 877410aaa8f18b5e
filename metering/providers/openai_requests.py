"""What chat, Responses, completions and embeddings requests ask for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from metering.call import Prompt
from metering.providers.requests import (
    PromptBuilder,
    compact,
    fallbacks,
    flag,
    integer,
    mapping,
    output_cap,
    sequence,
    server_tools,
    string,
    tool_names,
)
from metering.providers.shapes import Json, obj, text
from metering.providers.wire import RequestFacts

_PLAIN = frozenset({"role", "content"})
"""What most messages have, and no more."""
_INSTRUCTING = frozenset({"system", "developer"})
_CALLS = frozenset({"function_call", "custom_tool_call"})
_STORED = ("previous_response_id", "conversation", "prompt", "context_management")
"""Fields by which the provider adds to the input, or compacts it."""
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
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
        _add_message(builder, message)
        if not _PLAIN.issuperset(message):
            builder.add(string(message, "reasoning_content"))
            _add_calls(builder, message)
    tools = [*sequence(body, "tools"), *sequence(body, "functions")]
    builder.tools = compact(tools, _schema(body))
    builder.server_tools = server_tools(tools)
    builder.thinking = _thinks(body)
    return _facts(body, builder.build(), tools=tool_names(tools), cap=("max_completion_tokens", "max_tokens"))


def _thinks(body: Json) -> bool:
    """Whether the model is told to reason, as those who serve Claude in this format spell it."""
    if "reasoning" not in body and "thinking" not in body:
        return False
    asked = [obj(body.get(name)) for name in ("reasoning", "thinking")]
    return any(each.get("max_tokens") or each.get("effort") or each.get("enabled") or each.get("type") == "enabled" for each in asked)


def _add_message(builder: PromptBuilder, message: Json) -> None:
    role = string(message, "role")
    builder.messages += 1
    builder.answers += role == "assistant"
    builder.add(_joined(message.get("content")), system=role in _INSTRUCTING)
    if name := string(message, "name"):
        builder.named += 1
        builder.add(name)


def _joined(content: object) -> object:
    """Return the content of a message with its text parts as one text: they are counted without a seam between them."""
    if not isinstance(content, list):
        return content
    parts = [obj(part) for part in cast("list[object]", content)]
    texts = [part.get("text") for part in parts if text(part.get("type")) in _TEXT_PARTS]
    if len(texts) < len(parts) or not all(isinstance(each, str) for each in texts):
        return cast("object", content)
    return "".join(cast("list[str]", texts))


def _add_calls(builder: PromptBuilder, message: Json) -> None:
    calls = [*sequence(message, "tool_calls"), {"function": message.get("function_call")}]
    for call in calls:
        function = mapping(call, "each of `tool_calls`").get("function")
        if isinstance(function, Mapping):
            builder.calls += 1
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
    if instructions := string(body, "instructions"):
        builder.messages += 1
        builder.add(instructions, system=True)
    asked = body.get("input")
    for each in (asked,) if isinstance(asked, str) else sequence(body, "input"):
        if isinstance(each, str):
            builder.messages += 1
            builder.add(each)
        else:
            _add_item(builder, mapping(each, "each of `input`"))
    if isinstance(prompt := body.get("prompt"), Mapping):
        builder.add(list(mapping(cast("Json", prompt).get("variables") or {}, "`prompt.variables`").values()))
    builder.stored = any(body.get(name) for name in _STORED) or _is_pro(body)
    tools = [*sequence(body, "tools"), *_added_tools(asked)]
    shape = body.get("text")
    wanted = mapping(shape, "`text`").get("format") if shape is not None else None
    builder.tools = compact(tools, mapping(wanted, "`text.format`").get("schema") if wanted is not None else None)
    builder.server_tools = server_tools(tools)
    return _facts(body, builder.build(), tools=tool_names(tools), cap=("max_output_tokens",))


def _is_pro(body: Json) -> bool:
    """Whether the prompt is run several times over, and counted each time."""
    reasoning = body.get("reasoning")
    return isinstance(reasoning, Mapping) and cast("Json", reasoning).get("mode") == "pro"


def _add_item(builder: PromptBuilder, item: Json) -> None:
    kind = string(item, "type") or "message"
    if kind == "message":
        _add_message(builder, item)
        return
    if kind == "additional_tools":
        return
    builder.messages += kind != "reasoning"
    builder.calls += kind in _CALLS
    builder.add([item], system=string(item, "role") in _INSTRUCTING)


def _added_tools(asked: object) -> list[object]:
    """Return the tools that come in the middle of the input."""
    items = cast("list[object]", asked) if isinstance(asked, list) else []
    added = (cast("Json", item) for item in items if isinstance(item, dict))
    return [tool for item in added if item.get("type") == "additional_tools" for tool in sequence(item, "tools")]


def read_completions(body: Json) -> RequestFacts:
    """Read a legacy completions request."""
    return _facts(body, _plain(body, "prompt"), tools=(), cap=("max_tokens",))


def read_run(body: Json) -> RequestFacts:
    """Read the start of an Assistants run: what it adds to the stored thread, and what it overrides of the assistant."""
    builder = PromptBuilder(stored=True)
    for name in ("instructions", "additional_instructions"):
        builder.add(string(body, name), system=True)
    thread = body.get("thread")
    messages = sequence(mapping(thread, "`thread`"), "messages") if thread is not None else ()
    for each in (*messages, *sequence(body, "additional_messages")):
        builder.messages += 1
        builder.add(mapping(each, "each of the messages").get("content"))
    for each in sequence(body, "tool_outputs"):
        builder.add(string(mapping(each, "each of `tool_outputs`"), "output"))
    tools = sequence(body, "tools")
    builder.tools = compact(tools)
    builder.server_tools = server_tools(tools)
    return _facts(body, builder.build(), tools=tool_names(tools), cap=("max_completion_tokens",))


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
    model, models = string(body, "model"), fallbacks(body)
    return RequestFacts(
        model=model or next(iter(models), None),
        streamed=flag(body, "stream"),
        max_output_tokens=output_cap(body, *cap),
        choices=max(choices, integer(body, "best_of", least=1) or 1),
        prompt=prompt,
        tools=tools,
        service_tier=string(body, "service_tier"),
        models=models,
    )
