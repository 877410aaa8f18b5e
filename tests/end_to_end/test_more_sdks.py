"""More official SDKs, unmodified, started by `tollwatch exec`, through both doors."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import INPUT_TOKENS, OUTPUT_TOKENS
from tests.support.foreign_answers import HIDDEN, SAID, foreign
from tests.support.gateway import Gateway
from tests.support.provider import HOSTS, Provider

type Run = Callable[..., tuple[list[dict[str, Any]], int]]

HERE = Path(__file__).parent
DOORS = {"forward": (), "base_url": ("--base-url",)}
KEYS = {"GEMINI_API_KEY": "k", "MISTRAL_API_KEY": "k", "CO_API_KEY": "k", "GROQ_API_KEY": "k"}
NODE_KEYS = {"GOOGLE_GENERATIVE_AI_API_KEY": "k", "OPENAI_API_KEY": "sk-test", "ANTHROPIC_API_KEY": "sk-ant-test"}
CALLS = {"genai": 4, "mistral": 3, "cohere": 3, "groq": 3, "ollama": 3}
PROVIDERS = {"genai": "gcp.gemini", "mistral": "mistral_ai", "cohere": "cohere", "groq": "groq", "ollama": "ollama"}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    more = ("generativelanguage.googleapis.com", "api.mistral.ai", "api.cohere.com", "ollama.com")
    with Provider(tmp_path_factory.mktemp("provider"), hosts=[*HOSTS, *more]) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Gateway]:
    upstreams = {"proxy": {"upstreams": {"ollama": f"http://{provider.address}"}}}
    with Gateway(tmp_path_factory.mktemp("gateway"), provider, config=upstreams) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _answers(provider: Provider, _fresh_provider: None) -> None:
    provider.script = foreign


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def run(gateway: Gateway, door: str) -> Run:
    """Run a program behind the gateway; return what it said, and how many calls there were before."""
    forward = {"OLLAMA_CLOUD": "https://ollama.com"}
    base = {"MISTRAL_SERVER_URL": f"http://{gateway.base}/mistral", "DOOR": f"http://{gateway.base}"}

    def run(*program: str) -> tuple[list[dict[str, Any]], int]:
        before = len(gateway.calls())
        env = KEYS | NODE_KEYS | (forward if door == "forward" else base)
        done = gateway.command("exec", *DOORS[door], "--", *program, env=env)
        return [json.loads(line) for line in done.stdout.splitlines()], before

    return run


def program(name: str) -> tuple[str, str]:
    return sys.executable, str(HERE / "programs" / f"{name}_sdk.py")


@pytest.mark.parametrize("name", CALLS)
def test_an_sdk_is_answered_and_metered(run: Run, gateway: Gateway, provider: Provider, door: str, name: str) -> None:
    said, before = run(*program(name))

    assert [line["text"] for line in said] == [SAID] * CALLS[name]
    assert len(provider.seen) == CALLS[name]
    rows = gateway.wait_settled(before + CALLS[name])[before:]
    assert {(row["door"], row["provider"], row["ending"]) for row in rows} == {(door, PROVIDERS[name], "completed")}
    counted = INPUT_TOKENS + (HIDDEN if name == "cohere" else 0)
    assert {(row["input_tokens"], row["output_tokens"]) for row in rows} == {(counted, OUTPUT_TOKENS)}
    assert {row["source"] for row in rows} == ({"unpriced"} if name == "ollama" else {"provider_reported"})
    assert sum(row["streamed"] for row in rows) == (2 if name == "genai" else 1)
    if name == "cohere":  # which bills less than it counts
        in_rate, out_rate = 2_500, 10_000  # nano-dollars a token of command-a
        assert {row["cost_nano"] for row in rows} == {INPUT_TOKENS * in_rate + OUTPUT_TOKENS * out_rate}


def test_the_ai_sdk_is_answered_and_metered(run: Run, node: list[str], gateway: Gateway, door: str) -> None:
    said, before = run(*node, str(HERE / "node" / "ai_sdk.mjs"))

    assert [line["text"] for line in said] == [SAID] * 6
    rows = gateway.wait_settled(before + 6)[before:]
    assert {row["door"] for row in rows} == {door}
    assert [row["provider"] for row in rows] == ["gcp.gemini", "gcp.gemini", "openai", "openai", "anthropic", "anthropic"]
    assert {(row["input_tokens"], row["output_tokens"], row["source"]) for row in rows} == {
        (INPUT_TOKENS, OUTPUT_TOKENS, "provider_reported")
    }
