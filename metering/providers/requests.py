"""What the request bodies of all formats have in common: typed fields, and the text in content parts."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import orjson

from metering.call import Medium, Prompt
from metering.providers.media import MEDIA_TYPES, medium_of
from metering.providers.shapes import Json, items, obj, text

_TEXT_KEYS = (
    "name",
    "title",
    "text",
    "input_text",
    "output_text",
    "refusal",
    "reasoning",
    "content",
    "output",
    "arguments",
    "context",
    "query",
    "summary",
    "suffix",
)
_SEALED_KEYS = ("encrypted_content", "signature", "data")
_RUN_BY_THE_CALLER = frozenset({"function", "custom", "apply_patch", "local_shell"})
_REASONING = frozenset({"thinking", "redacted_thinking"})
"""What Claude reasoned earlier: sent back, and left out of the prompt once the turn is over."""
_DEEPEST = 32
_LARGEST = (1 << 53) - 1
"""Beyond it some readers see another number."""


def integer(body: Json, *names: str, least: int = 0) -> int | None:
    """Return the first of the fields that is given; ValueError unless it is a whole number of at least `least`."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"`{name}` must be a whole number of at least {least}")
        if value > _LARGEST:
            raise ValueError(f"`{name}` is {value:,}, and some readers see another number there; at most {_LARGEST:,} is read")
        return value
    return None


def output_cap(body: Json, *names: str) -> int | None:
    """Return the largest output cap that is given: servers differ in which of two they obey. A negative one is none (-1 for no limit)."""
    caps = [cap for name in names if (cap := integer(body, name, least=-(1 << 63))) is not None]
    return None if not caps or min(caps) < 0 else max(caps)


def flag(body: Json, name: str) -> bool:
    """Return a true or false field; ValueError for anything else."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false")
    return bool(value)


def string(body: Json, name: str) -> str | None:
    """Return a text field; ValueError for anything else."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"`{name}` must be a string")
    return value or None


def sequence(body: Json, name: str) -> Sequence[object]:
    """Return a list field, empty when it is not given; ValueError for anything else."""
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"`{name}` must be a list")  # noqa: TRY004  # all that is wrong with a request is a ValueError
    return cast("Sequence[object]", value)


def mapping(value: object, where: str) -> Json:
    """Return an object; ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object")  # noqa: TRY004  # the same
    return cast("Json", value)


def compact(*parts: object) -> bytes:
    """Return tool definitions and schemas as one compact JSON document a part, as they are counted."""
    return b"\n".join(_compact(part) for part in parts if part)


def _compact(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _compact_slowly(value)


def _compact_slowly(value: object) -> bytes:
    """Write what orjson refuses: numbers beyond 64 bits, lone surrogates."""
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("the definitions are nested too deep") from None


def fallbacks(body: Json) -> tuple[str, ...]:
    """Return the models that the provider may take instead: OpenRouter's `models`, and those that Vercel's gateway is told."""
    if "models" not in body and "providerOptions" not in body:
        return ()
    told = obj(obj(body.get("providerOptions")).get("gateway")).get("models")
    return tuple(dict.fromkeys(name for each in (*items(body.get("models")), *items(told)) if (name := text(each))))


def tool_names(tools: Sequence[object]) -> tuple[str, ...]:
    """Return the names of the defined tools; a tool without a name goes by its type (`web_search`)."""
    if not tools:
        return ()
    return tuple(name for tool in tools if (name := _tool_name(mapping(tool, "each of `tools`"))))


def server_tools(tools: Sequence[object]) -> tuple[str, ...]:
    """Return the types of tools that the provider runs or describes itself (`web_search_20250305`): their text is not in the request."""
    if not tools:
        return ()
    kinds = (text(cast("Json", tool).get("type")) for tool in tools if isinstance(tool, Mapping))
    return tuple(kind for kind in kinds if kind and kind not in _RUN_BY_THE_CALLER)


def _tool_name(tool: Json) -> str | None:
    function = tool.get("function")
    for name in (cast("Json", function).get("name") if isinstance(function, Mapping) else None, tool.get("name"), tool.get("type")):
        if isinstance(name, str) and name:
            return name
    return None


class PromptBuilder:
    """Gathers the text of a prompt, part by part. No dataclass: a `list[str]` as a factory costs as much as eight lists."""

    __slots__ = (
        "_attached",
        "_system_at",
        "_texts_at",
        "answers",
        "calls",
        "media",
        "messages",
        "named",
        "sealed",
        "server_tools",
        "stored",
        "system",
        "texts",
        "thinking",
        "tools",
    )

    def __init__(self, *, system: Iterable[str] = (), texts: Iterable[str] = (), stored: bool = False) -> None:
        self.system: list[str] = [*system]
        self.texts: list[str] = [*texts]
        self.tools = b""
        self.messages = 0
        self.media = 0
        self._attached: list[Medium] = []
        self.answers = 0
        self.calls = 0
        self.named = 0
        self.sealed = 0
        self.server_tools: tuple[str, ...] = ()
        self.thinking = False
        self.stored = stored
        self._system_at: list[int] = []
        self._texts_at: list[int] = []

    def attach(self, medium: Medium) -> None:
        """Take a picture, sound, film or document."""
        self.media += 1
        self._attached.append(medium)

    def add(self, content: object, *, system: bool = False) -> None:
        """Take the text of a string, a content part, or a list of these; images, audio and documents are counted, not read."""
        into, at = (self.system, self._system_at) if system else (self.texts, self._texts_at)
        if not isinstance(content, str):
            into.extend(self._texts(content, 0))
        elif content:
            into.append(content)
        if (more := len(into) - len(at)) > 0:
            at.extend([self.messages] * more)

    def _texts(self, content: object, depth: int) -> Iterator[str]:
        if depth > _DEEPEST:
            raise ValueError(f"the content is nested more than {_DEEPEST} levels deep")
        if isinstance(content, str):
            if content:
                yield content
        elif isinstance(content, list):
            for part in cast("list[object]", content):
                yield from self._texts(part, depth + 1)
        elif isinstance(content, dict):
            yield from self._part(cast("Json", content), depth)
        elif content is not None:
            raise ValueError("content must be text, a part or a list of parts")

    def _part(self, part: Json, depth: int) -> Iterator[str]:
        if text(part.get("type")) in MEDIA_TYPES:
            said = list(self._document_text(part))
            self.attach(Medium(kind="document", size=1) if said else medium_of(part))  # text is counted as text
            yield from said
            return
        if text(part.get("type")) in _REASONING:
            self.sealed += len(_compact(part))
            return
        for key in _TEXT_KEYS:
            value = part.get(key)
            if isinstance(value, str | list | dict):
                yield from self._texts(cast("object", value), depth + 1)
        if isinstance(made := part.get("input"), dict | list):
            yield _compact(cast("object", made)).decode()
        self.sealed += sum(len(sealed) for key in _SEALED_KEYS if (sealed := text(part.get(key))))

    def _document_text(self, part: Json) -> Iterator[str]:
        """Yield the text of a plain-text document (Anthropic `source: {type: text}`): it is prompt like any other."""
        source = part.get("source")
        if isinstance(source, Mapping) and text(cast("Json", source).get("type")) in {"text", "content"}:
            yield from self._texts(cast("Json", source).get("data") or cast("Json", source).get("content"), 1)

    def build(self) -> Prompt:
        """Return the prompt."""
        return Prompt(
            system=tuple(self.system),
            texts=tuple(self.texts),
            tools=self.tools,
            messages=self.messages,
            media=self.media,
            attached=tuple(self._attached),
            answers=self.answers,
            calls=self.calls,
            named=self.named,
            sealed=self.sealed,
            server_tools=self.server_tools,
            thinking=self.thinking,
            stored=self.stored,
            system_at=tuple(self._system_at),
            texts_at=tuple(self._texts_at),
        )
