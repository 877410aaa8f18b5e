"""What requests to Gemini ask for, at Google AI Studio and at Vertex AI.

Google's servers take each member in two spellings, `systemInstruction` and `system_instruction`; both at once have no single meaning.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from metering.call import Medium
from metering.providers.media import medium, medium_of
from metering.providers.requests import PromptBuilder, compact, integer, mapping, output_cap, sequence, string
from metering.providers.shapes import Json, obj, objects, text
from metering.providers.wire import RequestFacts

_UPPER = re.compile(r"[A-Z]")
_MEDIA = ("inlineData", "fileData")
_CALLS = ("functionCall", "functionResponse", "executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_DECLARED = "functionDeclarations"


def member(body: Json, name: str) -> object:
    """Return a member by its camelCase name, in whichever spelling it is given; ValueError for both."""
    snake = _UPPER.sub(lambda match: "_" + match[0].lower(), name)
    if snake != name and body.get(name) is not None and body.get(snake) is not None:
        raise ValueError(f"`{name}` and `{snake}` are the same member")
    value = body.get(name)
    return body.get(snake) if value is None else value


def members(body: Json, name: str) -> Json:
    """Return an object member, empty when it is not given; ValueError for anything else."""
    value = member(body, name)
    return {} if value is None else mapping(value, f"`{name}`")


def listed(body: Json, name: str) -> Sequence[object]:
    """Return a list member; one object or text stands for a list of it, as Google's servers allow."""
    value = member(body, name)
    return (cast("object", value),) if isinstance(value, Mapping | str) else sequence({name: value}, name)


def read_generate(body: Json) -> RequestFacts:
    """Read a generateContent request; whether it streams and which model it asks stand in the path."""
    if body.get("contents") is None:
        raise ValueError("a generateContent request needs `contents`")
    builder = PromptBuilder()
    add_content(builder, member(body, "systemInstruction"), system=True)
    for each in listed(body, "contents"):
        content = mapping(each, "each of `contents`")
        builder.messages += 1
        builder.answers += string(content, "role") == "model"
        add_content(builder, content)
    config = members(body, "generationConfig")
    tools = listed(body, "tools")
    builder.tools = compact(tools, member(config, "responseSchema"), member(config, "responseJsonSchema"))
    names = tuple(_tool_names(tools))
    builder.server_tools = tuple(name for tool in tools for name in obj(tool) if _camel(name) != _DECLARED)
    builder.stored = member(body, "cachedContent") is not None
    return RequestFacts(
        model=None,
        streamed=False,
        max_output_tokens=_cap(config),
        choices=integer({"candidateCount": member(config, "candidateCount")}, "candidateCount", least=1) or 1,
        prompt=builder.build(),
        tools=names,
        service_tier=string({"serviceTier": member(body, "serviceTier")}, "serviceTier"),
    )


def read_embed(body: Json) -> RequestFacts:
    """Read an embedContent or batchEmbedContents request; it has no output."""
    requests = [mapping(each, "each of `requests`") for each in listed(body, "requests")] if "requests" in body else [body]
    builder = PromptBuilder()
    for request in requests:
        if request.get("content") is None:
            raise ValueError("an embedContent request needs `content`")
        builder.add(string(request, "title"))
        add_content(builder, request["content"])
    return embedding_facts(builder)


def read_predict(body: Json) -> RequestFacts:
    """Read a :predict request: embeddings have `content`, generators of pictures and films a `prompt`."""
    builder = PromptBuilder()
    for each in sequence(body, "instances"):
        instance = mapping(each, "each of `instances`")
        for name in ("title", "content", "prompt", "text"):
            value = instance.get(name)
            if isinstance(value, str):
                builder.add(value)
        for name in ("image", "video", "referenceImages"):
            for part in objects([instance.get(name)]):
                builder.attach(medium_of(part, "video" if name == "video" else "image"))
    return embedding_facts(builder)


def embedding_facts(builder: PromptBuilder) -> RequestFacts:
    """Return the facts of a request without an output of tokens."""
    return RequestFacts(model=None, streamed=False, max_output_tokens=0, choices=1, prompt=builder.build(), tools=(), service_tier=None)


def add_content(builder: PromptBuilder, content: object, *, system: bool = False) -> None:
    """Take a content: an object with `parts`, or plain text."""
    if content is None:
        return
    if isinstance(content, str):
        builder.add(content, system=system)
        return
    for part in listed(mapping(content, "content"), "parts"):
        _add_part(builder, mapping(part, "each of `parts`"), system=system)


def _add_part(builder: PromptBuilder, part: Json, *, system: bool) -> None:
    builder.add(string(part, "text"), system=system)
    for name in _MEDIA:
        if held := members(part, name):
            builder.attach(_medium(held))
    for name in _CALLS:
        if held := members(part, name):
            builder.calls += name in {"functionCall", "toolCall"}
            builder.add(compact(held).decode(), system=system)
    builder.sealed += len(text(member(part, "thoughtSignature")) or "")


def _medium(held: Json) -> Medium:
    content = text(member(held, "data")) or text(member(held, "fileUri"))
    return medium(content, kind="document", mime=text(member(held, "mimeType")))


def _cap(config: Json) -> int | None:
    return output_cap({"maxOutputTokens": member(config, "maxOutputTokens")}, "maxOutputTokens")


def _tool_names(tools: Sequence[object]) -> Iterator[str]:
    """Yield the declared functions, and what runs at Google by its own name (`googleSearch`)."""
    for each in tools:
        tool = mapping(each, "each of `tools`")
        for name in tool:
            if _camel(name) != _DECLARED:
                yield _camel(name)
        for function in listed(tool, _DECLARED):
            if named := text(mapping(function, f"each of `{_DECLARED}`").get("name")):
                yield named


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
