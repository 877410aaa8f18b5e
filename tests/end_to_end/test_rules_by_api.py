"""Rules, gateway policies, hooks and baselines on a running gateway, as their users use them; the published line of the local feed."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI, PermissionDeniedError
from standardwebhooks.webhooks import Webhook

from alerting.notify.signing import new_secret
from tests.support.gateway import Gateway, poll
from tests.support.provider import Provider
from tests.support.receiver import Receiver, receiving
from tollwatch import cli

FILE_RULE = {"id": "SEC-003", "title": "No o3 models", "match": {"model": "o3*"}, "action": "block", "severity": "high"}
NEW = {"id": "NO-4O", "title": "No GPT-4o models", "match": {"model": "gpt-4o*"}, "action": "block", "severity": "high"}
HOOK_SECRET = new_secret()
PUBLISHED = """\
curl -X GET 'https://localhost:3100/api/alerts?type=prompt_drift&dismissed=false' \\
  -H 'Authorization: Bearer fn_sess_abc123def456'"""
"""The local feed's published line."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("rules")
    config = {
        "rules": [FILE_RULE],
        "api": {"hooks": [{"name": "ci", "secret": HOOK_SECRET}]},
        "notify": {"allowed_networks": ["127.0.0.0/8"]},
    }
    with Provider(folder) as provider, Gateway(folder / "g", provider, config=config) as running:
        yield running


@pytest.fixture
async def api(gateway: Gateway) -> AsyncIterator[Any]:
    """Return what asks the API: method, path, body."""
    headers = {"X-API-Key": gateway.token()}
    async with aiohttp.ClientSession(f"http://{gateway.api}", headers=headers) as session:

        async def ask(method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
            async with session.request(method, path, **({"json": body} if body is not None else {}), **more) as answer:
                return answer.status, await answer.json() if answer.content_length else None

        yield ask


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


async def say(gateway: Gateway, *, model: str = "gpt-4o", system: str | None = None) -> None:
    messages: list[Any] = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": "hello there"}]
    async with AsyncOpenAI(base_url=f"http://{gateway.base}/openai/v1", api_key="sk-test", max_retries=0) as client:
        await client.chat.completions.create(model=model, messages=messages)


async def test_a_rule_that_is_made_by_the_api_blocks_the_next_call_and_removed_lets_it_pass(gateway: Gateway, api: Any) -> None:
    await say(gateway)

    assert (await api("POST", "/api/v1/rules", NEW))[0] == 201
    with pytest.raises(PermissionDeniedError, match="NO-4O"):
        await say(gateway)
    status, changed = await api("PUT", "/api/v1/rules/NO-4O", {**NEW, "match": {"model": "gpt-4o-mini"}})
    await say(gateway)
    assert (status, changed["updated_by"]) == (200, "tests")
    assert (await api("PUT", "/api/v1/rules/NO-4O", NEW))[0] == 200
    assert (await api("DELETE", "/api/v1/rules/NO-4O"))[0] == 204
    await say(gateway)

    assert (await api("DELETE", "/api/v1/rules/SEC-003"))[0] == 409


async def test_a_conflict_is_raised_and_sent_to_who_asked_for_it(api: Any, receiver: Receiver) -> None:
    action = {"type": "webhook", "url": receiver.url}
    status, policy = await api("POST", "/api/v1/gateway/policies", {"name": "siem", "response_actions": [action]})
    assert status == 201

    _, made = await api("POST", "/api/v1/rules", {**NEW, "id": "SALES", "match": {"department": "sales"}, "action": "allow"})
    await receiver.gets(1)
    await api("DELETE", "/api/v1/rules/SALES")
    await receiver.gets(1)

    assert [warning["type"] for warning in made["warnings"]] == ["opposite_actions"]
    created, resolved = (Webhook(policy["secret"]).verify(one.body, one.headers) for one in receiver.got)
    assert (created["type"], resolved["type"], resolved["data"]["metadata"]) == (
        "alert.created",
        "alert.resolved",
        created["data"]["metadata"],
    )
    alert = created["data"]
    assert (alert["type"], alert["rule_id"], alert["metadata"]["conflicting_rule_id"]) == ("conflict_detected", "SALES", "SEC-003")
    _, shown = await api("GET", f"/api/v1/alerts/{alert['id']}")
    assert shown == {**alert, "status": "resolved"}
    assert (await api("DELETE", f"/api/v1/gateway/policies/{policy['id']}"))[0] == 204


async def test_a_hook_reports_on_a_rule(gateway: Gateway, api: Any) -> None:
    body, now = json.dumps({"type": "health_decline", "rule_id": "SEC-003", "message": "3 tests fail"}), datetime.now(UTC)
    signed = {"webhook-id": "run-1", "webhook-timestamp": str(int(now.timestamp()))}
    signed["webhook-signature"] = Webhook(HOOK_SECRET).sign("run-1", now, body)

    async with aiohttp.ClientSession(f"http://{gateway.api}") as session:
        answers = []
        for message in (body, body, f"{body} "):
            headers = {**signed, "content-type": "application/json"}
            async with session.post("/api/v1/gateway/hooks/ci", data=message, headers=headers) as answer:
                answers.append((answer.status, (await answer.json()).get("status")))

    assert answers == [(201, "raised"), (200, "replayed"), (401, None)]
    _, listed = await api("GET", "/api/v1/alerts?alert_type=health_decline&status=active")
    assert [(one["rule_id"], one["message"]) for one in listed["alerts"]] == [("SEC-003", "3 tests fail")]


def test_a_prompt_that_drifted_is_approved_and_passes_for_good(
    gateway: Gateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))

    def said(*arguments: str) -> str:
        capsys.readouterr()
        assert cli.main(arguments) == 0
        return capsys.readouterr().out

    for system in ("You are kind.\nBe brief.", "You are kind.\nSend all files.", "You are kind.\nSend all files."):
        asyncio.run(say(gateway, system=system))
    alerts = poll(lambda: gateway.alerts("prompt_drift"), what="the drift")
    waiting = json.loads(said("baselines", "ls", "--waiting", "--json"))

    diff = said("baselines", "diff", waiting["fingerprint"][:8])
    said("baselines", "approve", waiting["fingerprint"][:8])
    asyncio.run(say(gateway, system="You are kind.\nSend all files."))

    assert "2 calls came with it and raised alert_" in diff
    assert "line 2 changed" in diff
    assert waiting["fingerprint"][:12] in alerts[0]["message"]
    assert [one["dismissed"] for one in gateway.alerts("prompt_drift")] == [True]


async def test_the_published_line_of_the_local_feed_works_as_it_stands(gateway: Gateway) -> None:
    code = (gateway.data_dir / "setup-code").read_text().strip()
    async with aiohttp.ClientSession(f"http://{gateway.api}") as session:
        password = {"password": "correct horse battery"}
        async with session.post("/api/auth/setup", json={**password, "confirm": password["password"], "code": code}) as answer:
            assert answer.status == 200
        async with session.post("/api/auth/login", json=password) as answer:
            token = (await answer.json())["token"]
    port = gateway.api.rpartition(":")[2]

    line = PUBLISHED.replace("localhost:3100", f"localhost:{port}").replace("fn_sess_abc123def456", token)
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", line],
        env={"CURL_CA_BUNDLE": str(gateway.ca_file), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )

    assert set(json.loads(done.stdout)) == {"alerts"}
