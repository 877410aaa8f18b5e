"""AWS's own SDKs, unmodified, started by `tollwatch exec`: signed by the forward door, with an API key by the base-URL door."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import bedrock, sigv4
from tests.support.answers import INPUT_TOKENS, OUTPUT_TOKENS, TEXT
from tests.support.gateway import Gateway
from tests.support.provider import HOSTS, Provider

type Run = Callable[..., tuple[list[dict[str, Any]], int]]

HERE = Path(__file__).parent
SAID = "".join(TEXT)
OPERATIONS = ["converse", "converse_stream", "invoke_model", "invoke_model_with_response_stream"]
FORBIDDEN, POOR, LIMITED = (f"us.anthropic.claude-{name}" for name in ("opus-4-1-20250805-v1:0", "sonnet-4-20250514-v1:0", "sonnet-4-6"))
SIGNED = {"AWS_ACCESS_KEY_ID": bedrock.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": bedrock.SECRET_KEY, "AWS_SESSION_TOKEN": "a-role's-token"}
KEYED = {"AWS_BEARER_TOKEN_BEDROCK": bedrock.API_KEY}
WHERE = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
WAYS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "signed": ("python", (), SIGNED),
    "keyed": ("python", ("--base-url",), KEYED),
    "node": ("node", ("--bedrock-node",), KEYED),
}
CONFIG = {
    "budgets": [{"name": "tiny", "scope": {"model": POOR}, "limit": "0.000001 USD"}],
    "rules": [{"id": "SEC-003", "title": "No dear models", "match": {"model": FORBIDDEN}, "action": "block", "severity": "high"}],
    "detectors": {"rate_limits": [{"scope": {"model": LIMITED}, "per": "second", "requests": 1, "by": "model"}]},
}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("bedrock"), hosts=[*HOSTS, bedrock.HOST]) as provider:
        yield provider


@pytest.fixture(autouse=True)
def _bedrock_answers(provider: Provider, _fresh_provider: None) -> None:
    provider.script = bedrock.live


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(gateway: Gateway, way: str, request: pytest.FixtureRequest) -> Run:
    language, options, keys = WAYS[way]
    if language == "python":
        program = [sys.executable, str(HERE / "programs" / "bedrock_sdk.py")]
    else:
        program = [*request.getfixturevalue("node"), str(HERE / "node" / "bedrock_sdk.mjs")]

    def run(*arguments: str) -> tuple[list[dict[str, Any]], int]:
        before = len(gateway.calls())
        done = gateway.command("exec", *options, "--", *program, *arguments, env={**WHERE, **keys})
        return [json.loads(line) for line in done.stdout.splitlines()], before

    return run


def test_the_sdk_is_answered_and_metered(run: Run, way: str, provider: Provider, gateway: Gateway) -> None:
    said, before = run()

    assert [(line["what"], line.get("text", line)) for line in said] == [(operation, SAID) for operation in OPERATIONS]
    assert len(provider.seen) == 4
    assert {seen.headers["host"] for seen in provider.seen} == {bedrock.HOST}
    rows = gateway.wait_settled(before + 4)[before:]
    assert {row["door"] for row in rows} == {"forward" if way == "signed" else "base_url"}
    assert [row["wire_format"] for row in rows] == [
        "bedrock.converse",
        "bedrock.converse_stream",
        "bedrock.invoke",
        "bedrock.invoke_stream",
    ]
    assert {(row["input_tokens"], row["output_tokens"], row["source"]) for row in rows} == {
        (INPUT_TOKENS, OUTPUT_TOKENS, "provider_reported")
    }
    assert {row["request_model"] for row in rows} == {"us.anthropic.claude-haiku-4-5-20251001-v1:0"}
    assert all(row["cost_nano"] > 0 and row["key_id"] for row in rows)
    assert [bool(row["streamed"]) for row in rows] == [False, True, False, True]


@pytest.mark.parametrize("way", ["signed"], indirect=True)
def test_what_is_signed_arrives_as_it_was_signed(run: Run, provider: Provider) -> None:
    run()

    assert len(provider.seen) == 4
    for seen in provider.seen:
        assert sigv4.fault(seen, secret=bedrock.SECRET_KEY) is None
        sent = {"host", "x-amz-date", "x-amz-security-token", "content-type"} & seen.headers.keys()
        assert len(sent) >= 3
        assert sent <= set(sigv4.signed_headers(seen))
        assert "%3A0/" in seen.target


def test_the_aws_sdk_for_javascript_speaks_http2_to_the_base_url_door(node: list[str], gateway: Gateway, provider: Provider) -> None:
    program = [*node, str(HERE / "node" / "bedrock_sdk.mjs")]

    done = gateway.command("exec", "--bedrock-node", "--", *program, env={**WHERE, **KEYED, "NODE_DEBUG": "http2"})

    assert "Http2Session client" in done.stderr
    assert len(provider.seen) == 4


def test_a_policy_block_is_the_sdks_own_error_after_one_request_each(run: Run, provider: Provider, gateway: Gateway) -> None:
    said, before = run(FORBIDDEN, "1")

    assert [(line["what"], line["error"], line["status"]) for line in said] == [
        (operation, "AccessDeniedException", 403) for operation in OPERATIONS
    ]
    assert all("SEC-003" in line["message"] for line in said)
    assert not provider.seen
    rows = gateway.wait_settled(before + 4)[before:]
    assert [(row["state"], row["rule_id"]) for row in rows] == [("refused", "SEC-003")] * 4


def test_a_budget_block_is_the_sdks_own_error_after_one_request_each(run: Run, provider: Provider, gateway: Gateway) -> None:
    said, before = run(POOR, "1")

    assert [(line["error"], line["status"]) for line in said] == [("ServiceQuotaExceededException", 402)] * 4
    assert all("tiny" in line["message"] for line in said)
    assert not provider.seen
    assert [row["state"] for row in gateway.wait_settled(before + 4)[before:]] == ["refused"] * 4


def test_a_rate_limit_is_retried_by_the_sdk_or_is_its_own_error(run: Run, provider: Provider, gateway: Gateway) -> None:
    said, before = run(LIMITED, "1")

    answered = [line for line in said if "text" in line]
    assert answered
    assert {(line["error"], line["status"]) for line in said if "error" in line} <= {("ThrottlingException", 429)}
    assert len(provider.seen) == len(answered)
    refused = [row for row in gateway.wait_settled(before + len(answered) + 1)[before:] if row["state"] == "refused"]
    assert refused
    assert {row["status"] for row in refused} == {429}


@pytest.mark.parametrize("way", ["signed"], indirect=True)
def test_a_signed_request_at_the_base_url_door_is_told_to_use_the_forward_door(
    run: Run, provider: Provider, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gateway.env, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", f"http://{gateway.base}/bedrock")

    said, before = run()

    assert [(line["error"], line["status"]) for line in said] == [("ValidationException", 400)] * 4
    assert all("forward door" in line["message"] for line in said)
    assert not provider.seen
    assert len(gateway.calls()) == before
