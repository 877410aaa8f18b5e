"""Every official SDK, refused before a call is sent and cut in the middle of a stream: its own error, one request, no hang."""

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.blocks import BUDGET, CELLS, CONFIG, CUT, PAGE, RATE, RULE, SAMPLE, STATUS, Cell, outcome_of, outcomes_on, page
from tests.support import bedrock
from tests.support.answers import Answer
from tests.support.endless import endless, whole
from tests.support.gateway import Gateway, merged
from tests.support.provider import HOSTS, Provider, Seen

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
PROGRAMS = {"python": (sys.executable, str(HERE / "programs" / "blocked.py")), "node": (str(HERE / "node" / "blocked.mjs"),)}
SECONDS = 60
TRIES = 5
TYPED = {"Error", "TypeError", "SyntaxError", "ReferenceError", "object", "JSONDecodeError", "ValidationError"}
"""Errors that say nothing of the provider's: no SDK may come to them."""

pytestmark = pytest.mark.timeout(600)  # all cells of the matrix are asked by the first test that is about one

type Found = Mapping[Cell, dict[str, Any]]


def cells(*becomes: str) -> Any:
    """Parametrize with the cells of a column; those that are not of the sample are long runs."""
    marked = [
        pytest.param(cell, id=cell.model, marks=() if cell in SAMPLE else pytest.mark.soak) for cell in CELLS if cell.becomes in becomes
    ]
    return pytest.mark.parametrize("cell", marked)


def answer(seen: Seen) -> Answer:
    """Stream without end to what is to be cut."""
    asked_for = f"{CUT}-".encode()
    return endless(seen) if asked_for in seen.body or asked_for in seen.target.encode() else whole(seen)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    more = (bedrock.HOST, "generativelanguage.googleapis.com", "api.mistral.ai", "api.cohere.com", "ollama.com")
    with Provider(tmp_path_factory.mktemp("provider"), hosts=[*HOSTS, *more]) as provider:
        provider.script = answer
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
def found(gateway: Gateway, node: list[str], request: pytest.FixtureRequest) -> Found:
    """Return what each cell came to that the tests of this run are about; every SDK is started once."""
    asked = [item for item in request.session.items if isinstance(item, pytest.Function) and item.module is request.module]
    wanted = {item.callspec.params["cell"] for item in asked if hasattr(item, "callspec")}
    if any(item.name == test_the_page_of_blocks_is_what_was_found.__name__ for item in asked):
        wanted = set(CELLS)
    left, results = [cell for cell in CELLS if cell in wanted], dict[Cell, dict[str, Any]]()
    for _ in range(TRIES):
        results |= {cell: said for language in PROGRAMS for cell, said in _asked(gateway, node, language, left).items()}
        gateway.wait_settled(len(results))
        rows = rows_by_model(gateway)
        left = [cell for cell in left if cell.becomes == RATE and not any(row["status"] == 429 for row in rows[cell.model])]
        if not left:  # else two calls took more than a second, and no limit was reached
            break
    return results


def _asked(gateway: Gateway, node: list[str], language: str, wanted: list[Cell]) -> Found:
    cells = {cell.model: cell for cell in wanted if cell.language == language}
    if not cells:
        return {}
    plan = gateway.data_dir / "plan.json"
    plan.write_text(json.dumps([cell.plan for cell in cells.values()]))
    env = {"MISTRAL_SERVER_URL": f"http://{gateway.base}/mistral", "DOOR": f"http://{gateway.base}", "PLAN": str(plan)}
    program = [*(node if language == "node" else ()), *PROGRAMS[language]]
    options = ("--base-url", "--bedrock-node") if language == "node" else ("--base-url",)
    done = gateway.command("exec", *options, "--", *program, env=KEYS | env, seconds=500)
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {one["model"] for one in said} == set(cells)
    return {cells[one["model"]]: one for one in said}


def rows_by_model(gateway: Gateway) -> Mapping[str, list[dict[str, Any]]]:
    found = defaultdict[str, list[dict[str, Any]]](list)
    for row in gateway.calls():
        found[row["request_model"]].append(row)
    return found


@pytest.fixture(scope="module")
def rows(found: Found, gateway: Gateway) -> Mapping[str, list[dict[str, Any]]]:
    assert found
    return rows_by_model(gateway)


def seen_of(provider: Provider, cell: Cell) -> int:
    return sum(f'"{cell.model}"'.encode() in seen.body or cell.model in seen.target for seen in provider.seen)


def check_page(cell: Cell, said: Mapping[str, Any]) -> None:
    if not os.environ.get(WRITE):
        assert outcome_of(said, becomes=cell.becomes) in outcomes_on(PAGE.read_text())[cell.row, cell.becomes], "run `make blocks`"


@cells(RULE, BUDGET)
def test_a_refused_call_is_the_sdks_own_error_after_one_request(found: Found, rows: Any, provider: Provider, cell: Cell) -> None:
    said, status = found[cell], STATUS[cell.becomes]

    assert (said["error"] not in {None, *TYPED}, said["status"]) == (True, status), said
    assert {RULE: "SEC-003", BUDGET: "nothing-left"}[cell.becomes] in said["message"], said
    assert [(row["state"], row["verdict"], row["status"], row["door"]) for row in rows[cell.model]] == [
        ("refused", "block", status, cell.door)
    ]
    assert seen_of(provider, cell) == 0
    assert said["seconds"] < SECONDS
    check_page(cell, said)


@cells(RATE)
def test_a_rate_limit_is_waited_for_as_told_or_is_the_sdks_own_error(found: Found, rows: Any, provider: Provider, cell: Cell) -> None:
    said, statuses = found[cell], [row["status"] for row in rows[cell.model]]

    if said["error"]:
        assert (said["error"] not in TYPED, said["status"]) == (True, 429), said
        assert "one-a-second" in said["message"], said
    else:
        assert statuses.count(429) == 1 or cell.case.startswith("bedrock"), statuses  # AWS's SDKs have pauses of their own
    assert (statuses[0], set(statuses)) == (200, {200, 429})
    assert (said["error"] is None) == (statuses[-1] == 200), statuses
    assert seen_of(provider, cell) == statuses.count(200)
    assert said["seconds"] < SECONDS
    check_page(cell, said)


@cells(CUT)
def test_a_stream_that_is_cut_is_no_silent_end(found: Found, rows: Any, provider: Provider, cell: Cell) -> None:
    said = found[cell]

    assert said["error"] not in TYPED, said
    assert said["pieces"] > 10, said
    assert "of-" in said["message"], said  # the budget's name
    assert [(row["ending"], row["status"], row["door"]) for row in rows[cell.model]] == [("cut", 200, cell.door)]
    assert seen_of(provider, cell) == 1
    assert said["seconds"] < SECONDS
    check_page(cell, said)


@pytest.mark.soak
def test_the_page_of_blocks_is_what_was_found(found: Found) -> None:
    outcomes = defaultdict[Any, set[str]](set)
    for cell, said in found.items():
        outcomes[cell.row, cell.becomes].add(outcome_of(said, becomes=cell.becomes))
    written = page(outcomes)
    if os.environ.get(WRITE):
        PAGE.write_text(written)

    assert PAGE.read_text() == written, "run `make blocks`"


def test_the_page_of_blocks_has_all_rows_and_columns() -> None:
    written = PAGE.read_text()

    assert set(outcomes_on(written)) == {(cell.row, cell.becomes) for cell in CELLS}
    assert page(outcomes_on(written)) == written, "run `make blocks`"
