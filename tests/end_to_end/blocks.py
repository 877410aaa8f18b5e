"""The conformance matrix of blocks: what is asked of each SDK, what must come of it, and the page that says so."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alerting.finding import Refusal
from metering.providers.provider import Dialect
from proxy import refusal

PAGE = Path(__file__).parents[2] / "docs" / "blocks.md"
PYTHON_WHOLE = (
    "openai chat", "openai completions", "openai responses", "openai embeddings", "openai images", "openai speech", "anthropic messages",
    "gemini generateContent", "gemini embedContent", "bedrock converse", "bedrock invoke", "mistral chat", "mistral embeddings",
    "cohere chat", "cohere v1 chat", "cohere embed", "cohere rerank", "groq chat", "ollama chat", "ollama generate", "ollama embed",
)  # fmt: skip
PYTHON_STREAMS = (
    "openai chat", "openai completions", "openai responses", "anthropic messages", "gemini generateContent", "bedrock converse",
    "bedrock invoke", "mistral chat", "cohere chat", "cohere v1 chat", "groq chat", "ollama chat", "ollama generate",
)  # fmt: skip
AI = ("AI SDK gemini", "AI SDK openai", "AI SDK openai chat", "AI SDK anthropic")
NODE = ("openai chat", "openai responses", "anthropic messages", "bedrock converse", "bedrock invoke", *AI)
_PREFIXES = {"bedrock": "anthropic.", "gemini": "gemini-", "AI SDK gemini": "gemini-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One case: an SDK, an endpoint, streamed or not, refused before it is sent or cut in the middle."""

    language: str
    case: str
    streamed: bool
    midway: bool

    @property
    def model(self) -> str:
        """A model of its own, so that what comes of it can be told apart."""
        words = [self.language, *self.case.lower().split(), "stream" if self.streamed else "whole"]
        prefix = next((prefix for name, prefix in _PREFIXES.items() if self.case.startswith(name)), "")
        return f"{prefix}{'cut' if self.midway else 'blocked'}-{'-'.join(words)}"

    @property
    def plan(self) -> tuple[str, str, str]:
        """What the program is told."""
        return self.case, "stream" if self.streamed else "whole", self.model


def _cells(language: str, whole: Iterable[str], streams: Sequence[str]) -> list[Cell]:
    found = [Cell(language=language, case=case, streamed=False, midway=False) for case in whole]
    for midway in (False, True):
        found += [Cell(language=language, case=case, streamed=True, midway=midway) for case in streams]
    return found


CELLS = [*_cells("python", PYTHON_WHOLE, PYTHON_STREAMS), *_cells("node", NODE, NODE)]
CUT_MODELS = [cell.model for cell in CELLS if cell.midway]
CONFIG: dict[str, Any] = {
    "rules": [{"id": "SEC-003", "title": "No dear models", "match": {"model": "*blocked*"}, "action": "block"}],
    "budgets": [
        {
            "name": f"of-{model.replace('.', '-')}",
            "scope": {"model": model},
            "limit": "800 tokens",
            "quantum": 64,
            "wait": "0s",
        }
        for model in CUT_MODELS
    ],
}

_HEAD = """# Blocks, as each SDK shows them

Written by `make blocks` from a run of the official SDKs, unmodified, against a real gateway; a test fails when it is out of date.

A refused call is answered in the error shape of its provider, after nothing was sent; `x-should-retry: false` keeps SDKs from asking
again (except after a rate limit, whose `Retry-After` they follow). The statuses: 403 for a rule, a size or a drift, 402 for a budget,
429 for a rate limit, 400, 413 and 415 for a request that cannot be read, 503 while the gateway cannot keep its promises.

A stream whose budget has nothing left goes on to the end of the event that is under way, and ends with an error event of its format.
The upstream connection ends at the same time, and the call is recorded with the ending `cut` and what had passed. Where a format has no
place for an error (sound, plain text, a body of a declared length), the connection breaks off, which every client notices. An answer that
is not streamed is never cut: what is on its way has been paid for. A stream that may be cut and comes compressed is passed on decoded:
nothing can be added to a compressed one.

| Format | The last words of a stream that is cut |
|---|---|
| OpenAI chat and completions, Groq, Mistral and all compatible ones | `data: {"error": {...}}` |
| OpenAI Responses | `event: response.failed`, then `event: error` |
| Anthropic Messages | `event: error`, `{"type": "error", "error": {...}}` |
| Gemini, as events | `data: {"error": {"code": 402, "status": "RESOURCE_EXHAUSTED", ...}}` |
| Gemini, as one JSON array | the same object as the last element, and the end of the array |
| Bedrock event streams | an exception message, `validationException` |
| Cohere | `event: message-end` with `finish_reason: "ERROR"` and `error` (v1: `stream-end`) |
| Ollama, and other JSON lines | `{"error": "..."}` |
| Other server-sent events | `event: error`, `data: {"error": {...}}` |
| OpenAI over a WebSocket | an `error` event, and the WebSocket closes (1008) |
"""


def page(found: Mapping[Cell, Mapping[str, Any]]) -> str:
    """Return the page of a run."""
    parts = [_HEAD, "\nThe body of a refusal, here of a budget, in the shape of each provider:\n\n"]
    parts += [f"- {name}: `{json.dumps(_shape(dialect))}`\n" for name, dialect in _SHAPES.items()]
    for language, title in (("python", "Python"), ("node", "Node")):
        for midway, when in ((False, "refused before it is sent"), (True, "cut in the middle")):
            parts.append(f"\n## {title}: {when}\n\n| SDK and endpoint | Streamed | Status | What the SDK does |\n|---|---|---|---|\n")
            parts += [_row(cell, found[cell]) for cell in CELLS if (cell.language, cell.midway) == (language, midway)]
    return "".join(parts)


def _row(cell: Cell, said: Mapping[str, Any]) -> str:
    raised = f"raises `{said['error']}`" if said["error"] else "ends, and says why"
    return f"| {cell.case} | {'yes' if cell.streamed else 'no'} | {200 if cell.midway else 403} | {raised} |\n"


_SHAPES = {
    "OpenAI and all compatible ones": Dialect.OPENAI,
    "Anthropic": Dialect.ANTHROPIC,
    "Gemini": Dialect.GEMINI,
    "Bedrock (with the header `x-amzn-errortype`)": Dialect.BEDROCK,
    "Cohere": Dialect.COHERE,
    "Mistral": Dialect.MISTRAL,
    "Ollama": Dialect.OLLAMA,
    "others": Dialect.PLAIN,
}


def _shape(dialect: Dialect) -> Any:
    return refusal.shape(dialect, refusal.problem_of(Refusal.BUDGET, "…", call_id="…", rule_id=None))
