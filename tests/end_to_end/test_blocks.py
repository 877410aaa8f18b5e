"""Every official SDK, refused before a call is sent and cut in the middle of a stream: its own error, one request, no hang."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.blocks import CELLS, CONFIG, PAGE, Cell, page
from tests.support import bedrock
from tests.support.endless import endless
from tests.support.gateway import Gateway, merged
from tests.support.provider import HOSTS, Provider

HERE = Path(__file__).parent
WRITE = "WRITE_DOCS"
KEYS = {
    "OPENAI_API_KEY": "sk-test",
    "ANTHROPIC_API_KEY": "sk-ant-test",
    "GEMINI_API_KEY": "k",
    "GOOGLE_GENERATIVE_AI_API_KEY": "k",
    "CO_API_KEY": "k",
    "GROQ_API_KEY": "k",
    "AWS_BEARER_TOKEN_BEDROCK": bedrock.API_KEY,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
SECONDS = 10
TYPED = {"Error", "TypeError", "SyntaxError", "ReferenceError", "object", "JSONDecodeError", "ValidationError"}
"""Errors that say nothing of the provider's: no SDK may come to them."""

type Found = Mapping[Cell, dict[str, Any]]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    more = (bedrock.HOST, "generativelanguage.googleapis.com", "api.mistral.ai", "api.cohere.com", "ollama.com")
    with Provider(tmp_path_factory.mktemp("provider"), hosts=[*HOSTS, *more]) as provider:
        yield provider


@pytest.fixture(autouse=True)
def _fresh_provider() -> None:
    """Keep what was seen: all of it is asked once, for all tests of this module."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Gateway]:
    config = merged(CONFIG, {"proxy": {"upstreams": {"ollama": f"http://{provider.address}"}}})
    with Gateway(tmp_path_factory.mktemp("gateway"), provider, config=config) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def found(gateway: Gateway, provider: Provider, node: list[str]) -> Found:
    """Return what each cell of the matrix came to; every SDK runs once."""
    provider.script = endless
    programs = {
        "python": ([sys.executable, str(HERE / "programs" / "blocked.py")], ("--base-url",)),
        "node": ([*node, str(HERE / "node" / "blocked.mjs")], ("--base-url", "--bedrock-node")),
    }
    results: dict[Cell, dict[str, Any]] = {}
    for language, (program, options) in programs.items():
        cells = [cell for cell in CELLS if cell.language == language]
        plan = json.dumps([cell.plan for cell in cells])
        doors = {"MISTRAL_SERVER_URL": f"http://{gateway.base}/mistral", "DOOR": f"http://{gateway.base}", "PLAN": plan}
        done = gateway.command("exec", *options, "--", *program, env=KEYS | doors, seconds=110)
        results |= dict(zip(cells, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], strict=True))
    gateway.wait_settled(len(results))
    return results


def rows_of(gateway: Gateway, cell: Cell) -> list[dict[str, Any]]:
    return [row for row in gateway.calls() if row["request_model"] == cell.model]


def seen_of(provider: Provider, cell: Cell) -> int:
    return sum(cell.model.encode() in seen.body or cell.model in seen.target for seen in provider.seen)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.midway], ids=lambda cell: cell.model)
def test_a_refused_call_is_the_sdks_own_error_after_one_request(found: Found, gateway: Gateway, provider: Provider, cell: Cell) -> None:
    said = found[cell]

    assert (said["error"] not in {None, *TYPED}, said["status"]) == (True, 403), said
    assert "SEC-003" in said["message"]
    assert [(row["state"], row["status"]) for row in rows_of(gateway, cell)] == [("refused", 403)]
    assert seen_of(provider, cell) == 0
    assert said["seconds"] < SECONDS


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.midway], ids=lambda cell: cell.model)
def test_a_stream_that_is_cut_is_no_silent_end(found: Found, gateway: Gateway, provider: Provider, cell: Cell) -> None:
    said = found[cell]

    assert said["error"] not in TYPED, said
    assert said["pieces"] > 10, said
    assert "of-" in said["message"], said  # the budget's name
    assert [(row["ending"], row["status"]) for row in rows_of(gateway, cell)] == [("cut", 200)]
    assert seen_of(provider, cell) == 1
    assert said["seconds"] < SECONDS


def test_the_page_of_blocks_is_what_was_found(found: Found) -> None:
    written = page(found)
    if os.environ.get(WRITE):
        PAGE.write_text(written)

    assert PAGE.read_text() == written, "run `make blocks`"
