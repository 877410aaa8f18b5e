"""Rate limits from outside: a client that waits as told passes, a reload forgets nothing, and what the provider refuses is told."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import OpenAI

from tests.support.answers import Answer, body
from tests.support.asking import ask, chat
from tests.support.gateway import Gateway, poll
from tests.support.provider import Provider

CONFIG: dict[str, Any] = {
    "detectors": {
        "rate_limits": [
            {"name": "burst", "scope": {"model": "gpt-4.1-mini"}, "per": "second", "requests": 1},
            {"name": "hourly", "scope": {"model": "gpt-4.1-nano"}, "per": "hour", "requests": 2},
        ]
    }
}


def openai(gateway: Gateway, **more: Any) -> OpenAI:
    return OpenAI(base_url=f"http://{gateway.base}/openai/v1", api_key="sk-test", **more)


def test_an_sdk_waits_as_told_and_passes_at_its_first_retry(gateway: Gateway, provider: Provider) -> None:
    before = len(gateway.calls())
    with openai(gateway, max_retries=1) as client:
        begun = time.monotonic()
        for _ in range(2):
            client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "hello"}])
        took = time.monotonic() - begun

    assert len(provider.seen) == 2
    assert [row["status"] for row in gateway.wait_settled(before + 3)[before:]] == [200, 429, 200]
    assert took >= 1


async def test_a_reload_forgets_no_call(gateway: Gateway) -> None:
    assert [(await ask(gateway, chat("gpt-4.1-nano"))).status for _ in range(3)] == [200, 200, 429]
    config = json.loads(json.dumps(gateway.config))
    config["detectors"]["rate_limits"][1]["requests"] = 3
    gateway.config_file.write_text(yaml.safe_dump(config))

    taken = gateway.command("reload").stdout

    assert taken == "detectors is taken over\n"
    assert [(await ask(gateway, chat("gpt-4.1-nano"))).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("door", ["forward", "base_url"])
async def test_what_the_provider_refuses_is_passed_on_and_told(gateway: Gateway, provider: Provider, door: str) -> None:
    error = {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    provider.queue.append(body(error, status=429, headers=[("retry-after", "7"), ("retry-after-ms", "6500")]))
    model = f"gpt-4o-{door.replace('_', '-')}"

    answer = await ask(gateway, chat(model), door=door)

    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert json.loads(answer.body) == error
    (alert,) = poll(lambda: gateway.rows("SELECT * FROM alerts WHERE kind = 'rate_limit_hit' AND message LIKE ?", [f"% {model} %"]))
    assert alert["message"] == f"openai refused a call to {model} with 429; it asks to wait 6.5 s."
    assert json.loads(alert["evidence"])[0]["error"] == "requests"
    assert any(row["request_model"] == model and row["status"] == 429 and not row["cost_nano"] for row in gateway.wait_settled(1))


def test_a_restart_begins_with_empty_windows(tmp_path: Path, provider: Provider) -> None:
    limit = {"scope": {}, "per": "hour", "requests": 1}
    with Gateway(tmp_path, provider, config={"detectors": {"rate_limits": [limit]}}) as gateway, openai(gateway, max_retries=0) as client:
        provider.script = lambda _: Answer(chunks=[b'{"object": "list", "data": []}'])
        statuses = [client.models.with_raw_response.list().status_code]
        gateway.stop()
        gateway.start()
        statuses.append(client.models.with_raw_response.list().status_code)

    assert statuses == [200, 200]
