"""Definitions of tools that differ from what is normal for a service."""

import json
from collections.abc import Iterator, Mapping
from typing import cast

import orjson

from alerting.finding import AlertKind, Finding
from alerting.kinds import KINDS
from alerting.settings import ToolDriftSettings
from alerting.shapes import Shape, shape_of
from alerting.subjects import NOBODY, shown, subject_of
from metering.call import Call
from storage.keyed import KeyedHash

_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 64 << 10
"""Bytes. An agent sends the same definitions with every call; the last ones are known without reading them again, in memory only."""
_SHOWN = 12
"""Hex digits of a fingerprint that a message shows."""
_LONGEST_NAME = 200
_LISTS = ("functionDeclarations", "function_declarations")
"""Where Gemini's tools hold several functions."""
_INNER = ("function", "toolSpec")
"""Where OpenAI's chat and Bedrock's Converse keep a tool's definition."""
_NAMES = ("name", "server_label", "type")
_NOT_MEANT = frozenset({"cache_control"})
"""Says how the definition is to be cached, and moves from tool to tool."""

type Json = Mapping[str, object]


class ToolDrift:
    """Knows a definition by its HMAC alone: equal definitions have equal fingerprints, whatever the order of their keys."""

    def __init__(self, settings: ToolDriftSettings, *, key: bytes) -> None:
        self._settings = settings
        self._keyed = KeyedHash(key)
        self._quiet: set[tuple[str, str | None, bytes]] = set()

    def is_quiet(self, call: Call) -> bool:
        """Return whether these very definitions were found to be normal for the service and agent."""
        return (call.service, call.caller.agent, call.prompt.tools) in self._quiet

    def remember(self, call: Call) -> None:
        """Take these definitions for normal from now on."""
        if len(call.prompt.tools) > _LONGEST_REMEMBERED:
            return
        if len(self._quiet) >= _MOST_REMEMBERED:
            self._quiet.clear()
        self._quiet.add((call.service, call.caller.agent, call.prompt.tools))

    def fingerprints(self, call: Call) -> Mapping[str, str]:
        """Return 32 hex digits for the definition of each tool, by the tool's name."""
        texts: dict[str, list[bytes]] = {}
        for name, definition in _definitions(call.prompt.tools):
            text = json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()
            texts.setdefault(name[:_LONGEST_NAME], []).append(text)
        return {name: self._keyed.hex(b"tool\0" + b"\0".join(sorted(found)))[:32] for name, found in texts.items()}

    def shape(self, call: Call, tool: str) -> Shape:
        """Return the shape of the definition of a tool, a line for each of its keys and values."""
        texts = (
            json.dumps(definition, sort_keys=True, indent=1)
            for name, definition in _definitions(call.prompt.tools)
            if name[:_LONGEST_NAME] == tool
        )
        return shape_of("\n".join(sorted(texts)), self._keyed)

    def check(self, call: Call, seen: Mapping[str, str], normal: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
        """Yield a finding for each tool whose definition is not among the normal ones of its service and agent."""
        agent = call.caller.agent
        who = f"{call.service}, agent {shown(agent)}" if agent else call.service
        for tool, fingerprint in seen.items():
            approved = normal.get(tool, frozenset())
            if fingerprint in approved:
                continue
            other = f"its {len(approved)} approved one{'s' if len(approved) > 1 else ''}" if approved else "any: none is approved yet"
            yield Finding(
                kind=AlertKind.PROMPT_DRIFT,
                action=self._settings.action,
                severity=KINDS[AlertKind.PROMPT_DRIFT].severity_of(blocked=False),
                title=f"Tool definition drift in {who}: {shown(tool)}",
                message=(
                    f"Tool definition drift detected: the definition {fingerprint[:_SHOWN]} of the tool {shown(tool)!r} of {who} "
                    f"differs from {other}."
                ),
                episode=tool_episode(call.service, agent, tool, fingerprint),
                subject=subject_of(call),
                evidence={"tool": tool, "fingerprint": fingerprint, "approved": len(approved)},
                remedy=f"If the change is meant, approve the new definition: `tollwatch baselines approve {fingerprint[:_SHOWN]}`.",
            )


def tool_episode(service: str, agent: str | None, tool: str, fingerprint: str) -> tuple[str, ...]:
    """Return what makes two drifts one alert."""
    return (service, agent or NOBODY, f"tool:{tool}", fingerprint)


def _definitions(tools: bytes) -> Iterator[tuple[str, Json]]:
    """Yield the definitions in the compact JSON of a prompt, each document on a line; the schemas of answers beside them are objects."""
    for line in tools.split(b"\n"):
        if line[:1] != b"[":
            continue
        try:
            listed: object = orjson.loads(line)
        except orjson.JSONDecodeError:  # numbers beyond 64 bits, lone surrogates
            listed = json.loads(line)
        for tool in cast("list[object]", listed):
            if isinstance(tool, dict):
                yield from _of(cast("Json", tool))


def _of(tool: Json) -> Iterator[tuple[str, Json]]:
    for key in _LISTS:
        functions = tool.get(key)
        if isinstance(functions, list):
            for each in cast("list[object]", functions):
                if isinstance(each, dict):
                    yield _named(cast("Json", each)), cast("Json", each)
            return
    meant = {key: value for key, value in tool.items() if key not in _NOT_MEANT}
    inner = next((tool[key] for key in _INNER if isinstance(tool.get(key), dict)), tool)
    yield _named(cast("Json", inner)), meant


def _named(definition: Json) -> str:
    found = next((name for key in _NAMES if isinstance(name := definition.get(key), str) and name), None)
    return found or next(iter(definition), "")  # Gemini's own tools are named by their only key
