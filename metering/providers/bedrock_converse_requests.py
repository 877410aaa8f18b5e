"""What a request in the shape of Bedrock's Converse asks for; Amazon's Nova takes the same one through InvokeModel."""

from collections.abc import Mapping
from typing import cast

from metering.call import MediumKind
from metering.providers.media import medium_of
from metering.providers.requests import PromptBuilder, compact, mapping, output_cap, sequence, string
from metering.providers.shapes import Json, obj, objects, text
from metering.providers.wire import RequestFacts

_MEDIA: tuple[MediumKind, ...] = ("image", "audio", "video", "document")
_DEEPEST = 8


def read_converse(body: Json, *, streamed: bool) -> RequestFacts:
    """Read a request. A stored prompt (its ARN stands in the path) may leave the messages out."""
    if "messages" not in body and "promptVariables" not in body:
        raise ValueError("a converse request needs `messages`")
    builder = PromptBuilder()
    for each in sequence(body, "system"):
        _add_block(builder, mapping(each, "each of `system`"), system=True)
    for each in sequence(body, "messages"):
        message = mapping(each, "each of `messages`")
        builder.messages += 1
        role = string(message, "role")
        builder.answers += role == "assistant"
        for block in sequence(message, "content"):
            _add_block(builder, mapping(block, "each of `content`"), system=role == "system")
    for variable in _members(body, "promptVariables").values():
        builder.add(string(mapping(variable, "each of `promptVariables`"), "text"))
    tools = sequence(_members(body, "toolConfig"), "tools")
    builder.tools = compact(tools, _members(body, "outputConfig"))
    builder.server_tools = tuple(name for tool in objects(tools) if (name := text(obj(tool.get("systemTool")).get("name"))))
    builder.stored = "messages" not in body
    return RequestFacts(
        model=None,
        streamed=streamed,
        max_output_tokens=output_cap(_members(body, "inferenceConfig"), "maxTokens", "max_new_tokens"),
        choices=1,
        prompt=builder.build(),
        tools=tuple(name for tool in objects(tools) if (name := _tool_name(tool))),
        service_tier=string(_members(body, "serviceTier"), "type"),
    )


def _members(body: Json, name: str) -> Json:
    """Return an object field, empty when it is not given; ValueError for anything else."""
    value = body.get(name)
    return {} if value is None else mapping(value, f"`{name}`")


def _tool_name(tool: Json) -> str | None:
    return text(obj(tool.get("toolSpec")).get("name")) or text(obj(tool.get("systemTool")).get("name"))


def _add_block(builder: PromptBuilder, block: Json, *, system: bool = False, depth: int = 0) -> None:
    """Take one content block: it has one member, which says what it is."""
    if depth > _DEEPEST:
        raise ValueError(f"the content is nested more than {_DEEPEST} levels deep")
    builder.add(string(block, "text"), system=system)
    for kind in _MEDIA:
        if isinstance(held := block.get(kind), Mapping):
            _add_medium(builder, kind, cast("Json", held))
    tool = obj(block.get("toolUse"))
    builder.calls += bool(tool)
    builder.add(string(tool, "name"))
    _add_json(builder, tool.get("input"))
    _add_json(builder, block.get("json"))
    guarded = obj(block.get("guardContent"))
    builder.add(string(obj(guarded.get("text")), "text"), system=system)
    if image := obj(guarded.get("image")):
        _add_medium(builder, "image", image)
    reasoning = obj(block.get("reasoningContent"))
    builder.add(string(obj(reasoning.get("reasoningText")), "text"))
    sealed = (obj(reasoning.get("reasoningText")).get("signature"), reasoning.get("redactedContent"))
    builder.sealed += sum(len(found) for each in sealed if (found := text(each)))
    _add_held(builder, block, depth)


def _add_held(builder: PromptBuilder, block: Json, depth: int) -> None:
    """Take what blocks hold that have blocks of their own."""
    for name in ("toolResult", "searchResult", "citationsContent"):
        if held := obj(block.get(name)):
            builder.add([text(held.get("title")) or "", text(held.get("source")) or ""])
            for part in sequence(held, "content"):
                _add_block(builder, mapping(part, f"each of `{name}.content`"), depth=depth + 1)


def _add_medium(builder: PromptBuilder, kind: MediumKind, held: Json) -> None:
    """Take a picture, sound, film or document; the text of a document is prompt like any other."""
    builder.attach(medium_of(held, kind))
    source = obj(held.get("source"))
    builder.add([text(held.get("name")) or "", text(held.get("context")) or "", text(source.get("text")) or ""])
    for part in objects(source.get("content")):
        builder.add(string(part, "text"))


def _add_json(builder: PromptBuilder, value: object) -> None:
    if isinstance(value, str):
        builder.add(value)
    elif value is not None:
        builder.add(compact(value).decode())
