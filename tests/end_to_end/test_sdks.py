"""Official SDKs, unmodified, started by `tollwatch exec`, through both doors."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import INPUT_TOKENS, OUTPUT_TOKENS, TEXT
from tests.support.gateway import Gateway
from tests.support.provider import Provider

type Run = Callable[..., tuple[list[dict[str, Any]], int]]

HERE = Path(__file__).parent
SAID = "".join(TEXT)
DOORS = {"forward": (), "base_url": ("--base-url",)}
KEYS = {"OPENAI_API_KEY": "sk-test-openai", "ANTHROPIC_API_KEY": "sk-ant-test"}
CONFIG = {
    "budgets": [{"name": "tiny", "scope": {"model": ["gpt-4.1-nano", "claude-haiku-4-5"]}, "limit": "0.000001 USD"}],
    "rules": [
        {
            "id": "SEC-003",
            "title": "No dear models",
            "match": {"model": ["gpt-4-turbo", "claude-opus-4-1"]},
            "action": "block",
            "severity": "high",
        }
    ],
    "detectors": {
        "rate_limits": [{"scope": {"model": ["gpt-4.1-mini", "claude-3-5-haiku-latest"]}, "per": "second", "requests": 1, "by": "model"}]
    },
}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def run(gateway: Gateway, door: str) -> Run:
    def run(*program: str) -> tuple[list[dict[str, Any]], int]:
        before = len(gateway.calls())
        done = gateway.command("exec", *DOORS[door], "--", *program, env=KEYS)
        return [json.loads(line) for line in done.stdout.splitlines()], before

    return run


NAMES = ("openai_sdk", "anthropic_sdk")


@pytest.fixture(params=[f"{language} {name}" for language in ("python", "node") for name in NAMES])
def sdk(request: pytest.FixtureRequest) -> list[str]:
    """The command line of a program with an official SDK."""
    language, _, name = request.param.partition(" ")
    if language == "python":
        return [sys.executable, str(HERE / "programs" / f"{name}.py")]
    return [*request.getfixturevalue("node"), str(HERE / "node" / f"{name}.mjs")]


def metered(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["input_tokens"], row["output_tokens"]) for row in rows]


def test_sdks_are_answered_and_metered(run: Run, sdk: list[str], provider: Provider, gateway: Gateway, door: str) -> None:
    said, before = run(*sdk)

    assert {line["text"] for line in said if line["what"] != "embeddings"} == {SAID}
    assert len(provider.seen) == len(said) >= 2
    rows = gateway.wait_settled(before + len(said))[before:]
    assert {row["door"] for row in rows} == {door}
    assert {row["ending"] for row in rows} == {"completed"}
    reported = [row for row in rows if row["operation"] != "embeddings" and row["source"] == "provider_reported"]
    assert set(metered(reported)) == {(INPUT_TOKENS, OUTPUT_TOKENS)}
    assert all(row["cost_nano"] > 0 for row in rows)
    # A stream whose client did not ask for its usage was asked by the gateway.
    assert {row["source"] for row in rows} == {"provider_reported"}


@pytest.mark.parametrize("door", ["forward"], indirect=True)
def test_a_framework_is_answered_and_metered(run: Run, gateway: Gateway, door: str) -> None:
    said, before = run(sys.executable, str(HERE / "programs" / "langchain_framework.py"))

    assert [line["text"] for line in said] == [SAID] * 4
    rows = gateway.wait_settled(before + 4)[before:]
    assert {row["door"] for row in rows} == {door}
    assert {row["provider"] for row in rows} == {"openai", "anthropic"}


POLICY = {"openai_sdk": "gpt-4-turbo", "anthropic_sdk": "claude-opus-4-1"}
BUDGET = {"openai_sdk": "gpt-4.1-nano", "anthropic_sdk": "claude-haiku-4-5"}
LIMITED = {"openai_sdk": "gpt-4.1-mini", "anthropic_sdk": "claude-3-5-haiku-latest"}


def family(sdk: list[str]) -> str:
    return Path(sdk[-1]).stem


def test_a_policy_block_is_the_sdks_own_error_after_one_request(run: Run, sdk: list[str], provider: Provider, gateway: Gateway) -> None:
    said, before = run(*sdk, POLICY[family(sdk)], "1")

    assert [(line["error"], line["status"]) for line in said] == [("PermissionDeniedError", 403)]
    assert "SEC-003" in said[0]["message"]
    assert not provider.seen
    rows = gateway.wait_settled(before + 1)[before:]
    assert [(row["state"], row["verdict"], row["rule_id"]) for row in rows] == [("refused", "block", "SEC-003")]


def test_a_budget_block_is_the_sdks_own_error_after_one_request(run: Run, sdk: list[str], provider: Provider, gateway: Gateway) -> None:
    said, before = run(*sdk, BUDGET[family(sdk)], "1")

    assert [line["status"] for line in said] == [402]
    assert said[0]["error"] in {"APIStatusError", "APIError", "PaymentRequiredError"}
    assert "tiny" in said[0]["message"]
    assert not provider.seen
    assert [row["state"] for row in gateway.wait_settled(before + 1)[before:]] == ["refused"]


def test_a_rate_limit_is_retried_by_the_sdk_and_then_passes(run: Run, sdk: list[str], provider: Provider, gateway: Gateway) -> None:
    said, before = run(*sdk, LIMITED[family(sdk)], "2")

    assert [line.get("text") for line in said] == [SAID, SAID]
    assert len(provider.seen) == 2
    rows = gateway.wait_settled(before + 3)[before:]
    assert "refused" in {row["state"] for row in rows}
    assert sum(row["status"] == 429 for row in rows) == len(rows) - 2
