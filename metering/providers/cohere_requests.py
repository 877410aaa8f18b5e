"""What requests to Cohere ask for, and those of rerank in general."""

from metering.call import Medium
from metering.providers.requests import PromptBuilder, compact, flag, integer, mapping, output_cap, sequence, string, tool_names
from metering.providers.shapes import Json, items, obj
from metering.providers.wire import RequestFacts


def read_chat(body: Json) -> RequestFacts:
    """Read a chat request of v2 (`messages`) or v1 (`message`), or one of v1's generate (`prompt`)."""
    builder = PromptBuilder()
    if "messages" in body:
        for each in sequence(body, "messages"):
            _add_message(builder, mapping(each, "each of `messages`"))
    elif "message" in body or "prompt" in body:
        _add_turns(builder, body)
    else:
        raise ValueError("a chat request needs `messages`, `message` or `prompt`")
    for document in sequence(body, "documents"):
        builder.add(document if isinstance(document, str) else compact(document).decode())
    tools = sequence(body, "tools")
    builder.tools = compact(tools, _schema(body))
    builder.server_tools = tuple("connector" for _ in sequence(body, "connectors"))
    return RequestFacts(
        model=string(body, "model"),
        streamed=flag(body, "stream"),
        max_output_tokens=output_cap(body, "max_tokens"),
        choices=integer(body, "num_generations", least=1) or 1,
        prompt=builder.build(),
        tools=tool_names(tools),
        service_tier=None,
    )


def _add_message(builder: PromptBuilder, message: Json) -> None:
    role = string(message, "role")
    builder.messages += 1
    builder.answers += role == "assistant"
    content = message.get("content")
    for part in items(content) or (content,):
        if document := obj(obj(part).get("document")):
            builder.add(compact(document.get("data")).decode())
        else:
            builder.add(part, system=role in {"system", "developer"})
    builder.add(string(message, "tool_plan"))
    for call in sequence(message, "tool_calls"):
        function = obj(mapping(call, "each of `tool_calls`").get("function"))
        builder.calls += 1
        builder.add([string(function, "name") or "", string(function, "arguments") or ""])


def _add_turns(builder: PromptBuilder, body: Json) -> None:
    builder.add(string(body, "preamble"), system=True)
    for each in sequence(body, "chat_history"):
        turn = mapping(each, "each of `chat_history`")
        builder.messages += 1
        builder.answers += string(turn, "role") == "CHATBOT"
        builder.add(string(turn, "message"), system=string(turn, "role") == "SYSTEM")
    for name in ("message", "prompt"):
        if said := string(body, name):
            builder.messages += name == "message"
            builder.add(said)
    for result in sequence(body, "tool_results"):
        builder.add(compact(result).decode())
    builder.stored = body.get("conversation_id") is not None


def _schema(body: Json) -> object:
    wanted = obj(body.get("response_format"))
    return wanted.get("json_schema") or wanted.get("schema")


def read_embed(body: Json) -> RequestFacts:
    """Read an embed request; it has no output."""
    builder = PromptBuilder()
    for each in sequence(body, "texts"):
        builder.add(each)
    for _ in sequence(body, "images"):
        builder.attach(Medium(kind="image"))
    for each in sequence(body, "inputs"):
        builder.add(mapping(each, "each of `inputs`").get("content"))
    return without_output(body, builder)


def read_rerank(body: Json) -> RequestFacts:
    """Read a rerank request, as Cohere, Voyage, Jina and others write it; it has no output."""
    builder = PromptBuilder()
    builder.add(string(body, "query"))
    for each in sequence(body, "documents"):
        builder.add(each if isinstance(each, str) else compact(each).decode())
    return without_output(body, builder)


def without_output(body: Json, builder: PromptBuilder) -> RequestFacts:
    """Return the facts of a request whose answer has no tokens that are charged."""
    return RequestFacts(
        model=string(body, "model"),
        streamed=False,
        max_output_tokens=0,
        choices=1,
        prompt=builder.build(),
        tools=(),
        service_tier=string(body, "service_tier"),
    )
