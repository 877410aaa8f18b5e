"""What a request asks for beside its own: other models that it names, and the requests in a batch."""

from collections.abc import Iterator
from typing import Final, cast

from metering.call import Part, Prompt
from metering.providers import FORMATS
from metering.providers.provider import Provider
from metering.providers.requests import tool_names
from metering.providers.routes import route
from metering.providers.shapes import Json, load, obj, objects, text
from metering.providers.wire import RequestFacts
from proxy import strict_json

MODEL_NAMES: Final = ("model", "model_id", "modelId", "model_name", "modelName")
"""How the members are called that name a model, over all APIs."""

_FALLBACKS: Final = frozenset({"models", "fallbacks", "fallback_models", "tools", "plugins", "providerOptions", "provider_options"})
_HELD_IN: Final = ("body", "params", "request")
_LONGEST_LINE: Final = 8 << 20
_MOST_TEXT: Final = 4096
"""A longer string without a space is data, and no prompt."""


def other_models(body: Json) -> list[str]:
    """Return the models that a request names beside its `model`: routers fall back on them, tools of the provider run on them."""
    if _FALLBACKS.isdisjoint(body):
        return []
    gateway = obj(obj(body.get("providerOptions") or body.get("provider_options")).get("gateway"))
    named: list[object] = []
    for holder, name in ((body, "models"), (body, "fallbacks"), (body, "fallback_models"), (gateway, "models")):
        value = holder.get(name)
        named += cast("list[object]", value) if isinstance(value, list) else [value]
    for name in ("tools", "plugins"):
        named += [tool.get("model") for tool in objects(body.get(name)) if "model" in tool]
    return [model for each in named if (model := text(each) or text(obj(each).get("model")))]


def unread(body: object, *, prompts: bool) -> tuple[str | None, tuple[Part, ...]]:
    """Return the model that a body of an unknown format names, and what else there is to be judged: the prompt of it where asked for."""
    models = list(dict.fromkeys(_models(body)))
    parts = [Part(model=model) for model in models[1:]]
    if prompts and (texts := tuple(_texts(body))):
        parts.append(Part(prompt=Prompt(texts=texts)))
    if tools := _tools(body):
        parts.append(Part(tools=tools))
    return (models[0] if models else None), tuple(parts)


def batch(body: Json, provider: Provider) -> tuple[Part, ...]:
    """Return the requests that an order of a batch holds. Raises ValueError for one that has no meaning."""
    return tuple(_request(held, provider, f"request {number}") for number, held in enumerate(_held(body), 1))


def lines(data: bytes, provider: Provider) -> tuple[Part, ...]:
    """Return the requests in a file for a batch, a line of JSON each. Raises ValueError for a line that has no single meaning."""
    found: list[Part] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            held = strict_json.parse(line)
        except ValueError as error:
            raise ValueError(f"line {number:,} of the file: {error}") from None
        found.append(_request(held, provider, f"line {number:,} of the file"))
    return tuple(found)


def looks_like_lines(data: bytes) -> bool:
    """Say whether a file holds requests for a batch, as far as its first line tells."""
    first = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:_LONGEST_LINE].partition(b"\n")[0]
    return first.startswith(b"{") and any(isinstance(obj(load(first)).get(name), dict) for name in _HELD_IN)


def _held(value: object) -> Iterator[Json]:
    """Yield each request in an order, wherever its provider lists them."""
    if isinstance(value, list):
        for each in cast("list[object]", value):
            if isinstance(each, dict):
                held = cast("Json", each)
                if any(isinstance(held.get(name), dict) for name in _HELD_IN):
                    yield held
                else:
                    yield from _held(held)
    elif isinstance(value, dict):
        for each in cast("Json", value).values():
            if isinstance(each, dict | list):
                yield from _held(cast("object", each))


def _request(held: Json, provider: Provider, where: str) -> Part:
    body = next((cast("Json", held[name]) for name in _HELD_IN if isinstance(held.get(name), dict)), held)
    try:
        facts = _facts(body, text(held.get("url")), provider)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if facts is None:
        return Part(model=next(_models(body), None), prompt=Prompt(texts=tuple(_texts(body))), tools=_tools(body))
    return Part(model=facts.model, prompt=facts.prompt, tools=facts.tools, max_output_tokens=facts.max_output_tokens)


def _facts(body: Json, url: str | None, provider: Provider) -> RequestFacts | None:
    """Return what a request in a batch asks for, read as its own endpoint would be; without a URL its members tell."""
    if url is not None:
        known = FORMATS.get(route(provider, "POST", url).wire_format or "")
        return None if known is None or known.name == "batch.create" else known.read_request(body)
    if "contents" in body:
        return FORMATS["gemini.generate_content"].read_request(body)
    if "messages" in body:
        return FORMATS["anthropic.messages" if provider.id == "anthropic" else "openai.chat"].read_request(body)
    return None


def _models(value: object) -> Iterator[str]:
    """Yield each model that a body names, wherever it stands."""
    if isinstance(value, dict):
        held = cast("Json", value)
        for name in MODEL_NAMES:
            if name in held and not isinstance(held[name], str | dict | list | None):
                raise ValueError(f"`{name}` must be a string")
            if model := text(held.get(name)):
                yield model
        for each in held.values():
            if isinstance(each, dict | list):
                yield from _models(cast("object", each))
    elif isinstance(value, list):
        for each in cast("list[object]", value):
            if isinstance(each, dict | list):
                yield from _models(cast("object", each))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if len(value) < _MOST_TEXT or " " in value[:_MOST_TEXT]:
            yield value
    elif isinstance(value, dict | list):
        for each in cast("Json", value).values() if isinstance(value, dict) else cast("list[object]", value):
            yield from _texts(each)


def _tools(body: object) -> tuple[str, ...]:
    tools = obj(body).get("tools")
    try:
        return tool_names(cast("list[object]", tools)) if isinstance(tools, list) else ()
    except ValueError:
        return ()
