"""One AI provider: how it is named, and where it is reached."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Dialect(StrEnum):
    """Whose error shape a provider's clients understand."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    GEMINI_ARRAY = "gemini_array"
    """Gemini's where the client reads one JSON array: a stream that was not asked for as events."""
    BEDROCK = "bedrock"
    COHERE = "cohere"
    MISTRAL = "mistral"
    OLLAMA = "ollama"
    PLAIN = "plain"
    JSON_RPC = "json_rpc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider as the catalog knows it.

    `id` is the OpenTelemetry GenAI id, `name` the short name (the default `service`). `hosts` are globs. `prefix` is its place on the
    base-URL door and `upstream` where that leads. `roots` are the path beginnings of its API: a path without any gets the first one.
    `ai_paths`, for hosts that also serve other things, are parts of a path that make it an AI call. `usage_option` says that its chat
    streams are known to take `stream_options.include_usage`, and not to lose by it what they report without (DeepSeek's would: its
    usage moves from the last chunk with text into one of its own).
    """

    id: str
    name: str
    hosts: tuple[str, ...]
    prefix: str | None = None
    upstream: str | None = None
    dialect: Dialect = Dialect.OPENAI
    roots: tuple[str, ...] = ()
    ai_paths: tuple[str, ...] = ()
    usage_option: bool = False
    chain_id: int | None = None
    """Which chain a node serves; only with the JSON-RPC dialect."""


def host_pattern(glob: str) -> re.Pattern[str]:
    """Return the pattern of a host glob: `*` stands for one or more characters of a host name, dots included."""
    return re.compile("[a-z0-9_.-]+".join(re.escape(part) for part in glob.lower().split("*")))
