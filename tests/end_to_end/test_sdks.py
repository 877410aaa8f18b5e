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
