"""The conformance matrix of blocks: what is asked of each SDK, what must come of it, and the page that says so."""

import json
import random
import re
from collections import defaultdict
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
RULE, BUDGET, RATE, CUT = "blocked", "broke", "limited", "cut"
"""What becomes of a call, as the name of its model says: the three refusals before it is sent, and the end in mid-stream."""
STATUS = {RULE: 403, BUDGET: 402, RATE: 429, CUT: 200}
PASSES = "asks again and passes"
SAYS = "ends, and says why"

type Row = tuple[str, str, bool]
"""A row of the page: the language, the SDK with its endpoint, whether it streams."""
type Outcomes = Mapping[tuple[Row, str], set[str]]
"""What was found, by the row and by what becomes of the call. Doors and clients that differ are all in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One case: an SDK, an endpoint, streamed or not, by a door and a client, and what becomes of the call."""

    language: str
    case: str
    streamed: bool
    becomes: str
    door: str
    client: str

    @property
    def row(self) -> Row:
        """Where it stands on the page."""
        return self.language, self.case, self.streamed

    @property
    def model(self) -> str:
        """A model of its own, so that what comes of it can be told apart."""
        words = [
            self.language,
            *self.case.lower().split(),
            "stream" if self.streamed else "whole",
            self.door.replace("_", "-"),
            self.client,
        ]
        prefix = next((prefix for name, prefix in _PREFIXES.items() if self.case.startswith(name)), "")
        return f"{prefix}{self.becomes}-{'-'.join(words)}"

    @property
    def plan(self) -> dict[str, Any]:
        """What the program is told. A limit of one call a second takes two to be reached, both after the first, slow use of an SDK."""
        models = [self.model.replace(f"{RATE}-", "first-"), self.model, self.model] if self.becomes == RATE else [self.model]
        how = "stream" if self.streamed else "whole"
        return {"case": self.case, "how": how, "models": models, "door": self.door, "client": self.client}


def _ways(language: str, case: str) -> list[tuple[str, str]]:
    """Return the doors and clients of a case. Amazon's SDKs: no async client for Python, no proxy for JavaScript."""
    amazon = case.startswith("bedrock")
    doors = ("base_url",) if amazon and language == "node" else ("base_url", "forward")
    clients = ("async",) if language == "node" else ("sync",) if amazon else ("sync", "async")
    return [(door, client) for door in doors for client in clients]


def _cells(language: str, whole: Iterable[str], streams: Sequence[str]) -> list[Cell]:
    asked = [(case, False, (RULE, BUDGET, RATE)) for case in whole] + [(case, True, (RULE, BUDGET, RATE, CUT)) for case in streams]
    return [
        Cell(language=language, case=case, streamed=streamed, becomes=becomes, door=door, client=client)
        for case, streamed, ends in asked
        for becomes in ends
        for door, client in _ways(language, case)
    ]


def _sample() -> set[Cell]:
    """Return one cell of each that is refused or cut, by whichever door and client, and a few of those that wait for a second."""
    chance = random.Random("blocks")
    alike = defaultdict[tuple[Row, str], list[Cell]](list)
    for cell in CELLS:
        alike[cell.row, cell.becomes].append(cell)
    chosen = [chance.choice(cells) for (_, becomes), cells in alike.items() if becomes != RATE]
    return {*chosen, *chance.sample([cell for cell in CELLS if cell.becomes == RATE], 16)}


CELLS = [*_cells("python", PYTHON_WHOLE, PYTHON_STREAMS), *_cells("node", NODE, NODE)]
SAMPLE = _sample()
CONFIG: dict[str, Any] = {
    "rules": [{"id": "SEC-003", "title": "No dear models", "match": {"model": f"*{RULE}-*"}, "action": "block"}],
    "detectors": {
        "rate_limits": [{"name": "one-a-second", "scope": {"model": f"*{RATE}-*"}, "per": "second", "requests": 1, "by": "model"}]
    },
    "budgets": [
        {"name": "nothing-left", "scope": {"model": f"*{BUDGET}-*"}, "limit": "0.000001 USD", "wait": "0s"},
        *(
            {
                "name": f"of-{cell.model.replace('.', '-')}",
                "scope": {"model": cell.model},
                "limit": "800 tokens",
                "quantum": 64,
                "wait": "0s",
            }
            for cell in CELLS
            if cell.becomes == CUT
        ),
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


_NONE = "never"
_COLUMNS = {RULE: "A rule: 403", BUDGET: "A budget: 402", RATE: "A rate limit: 429", CUT: "Cut in the middle: 200"}
_TABLE = """
The tables say what the SDK raises. Each SDK was asked for each cell by both doors and, where it has both, by its blocking and its async
client: {count} cases, each with a model of its own. Where these differ, the cell names all that was seen. Only the AWS SDK for JavaScript
goes by the base-URL door alone: it knows no proxy. A call that is refused reaches the gateway once and the provider never; after a rate
limit, an SDK that asks again by itself waits as `Retry-After` says, and passes. A stream that is cut raises, or ends and says why.
"""


def outcome_of(said: Mapping[str, Any], *, becomes: str) -> str:
    """Return how a cell reads on the page."""
    return f"`{said['error']}`" if said["error"] else PASSES if becomes == RATE else SAYS


def page(outcomes: Outcomes) -> str:
    """Return the page of a run."""
    parts = [_HEAD, "\nThe body of a refusal, here of a budget, in the shape of each provider:\n\n"]
    parts += [f"- {name}: `{json.dumps(_shape(dialect))}`\n" for name, dialect in _SHAPES.items()]
    parts.append(_TABLE.format(count=len(CELLS)))
    rows = list(dict.fromkeys(cell.row for cell in CELLS))
    for language, title in _LANGUAGES.items():
        parts.append(
            f"\n## {title}\n\n| SDK and endpoint | Streamed | {' | '.join(_COLUMNS.values())} |\n|{'---|' * (2 + len(_COLUMNS))}\n"
        )
        parts += [_line(row, outcomes) for row in rows if row[0] == language]
    return "".join(parts)


def _line(row: Row, outcomes: Outcomes) -> str:
    _, case, streamed = row
    cells = (", ".join(sorted(outcomes.get((row, becomes), {_NONE}))) for becomes in _COLUMNS)
    return f"| {case} | {'yes' if streamed else 'no'} | {' | '.join(cells)} |\n"


def outcomes_on(text: str) -> Outcomes:
    """Return what a page says that was found."""
    found: dict[tuple[Row, str], set[str]] = {}
    for language, title in _LANGUAGES.items():
        table = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        for case, streamed, *cells in re.findall(r"^\| (.+?) \| (yes|no) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", table, re.MULTILINE):
            for becomes, cell in zip(_COLUMNS, cells, strict=True):
                if cell != _NONE:
                    found[(language, case, streamed == "yes"), becomes] = set(re.findall(rf"`[^`]+`|{PASSES}|{SAYS}", cell))
    return found


_LANGUAGES = {"python": "Python", "node": "Node"}
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
