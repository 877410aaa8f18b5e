"""Webhooks through the API: made, tried, rotated, replayed, and the secret shown once."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from alerting.finding import AlertKind, Occurrence
from alerting.notify.sender import Sender
from alerting.notify.settings import WebhookSettings
from alerting.notify.signing import new_secret
from api.scopes import Scope
from tests.support.receiver import Receiver, receiving

type Maker = Callable[..., Occurrence]
SECRET = new_secret()
KEYS = {
    "id", "org_id", "url", "events", "description", "enabled", "disabled_reason", "source", "earlier_secret_until", "created_at",
    "updated_at", "last_delivery",
}  # fmt: skip


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
async def token(gateway: Any) -> str:
    return await gateway.token(Scope.ALERTS_READ, Scope.CONFIG_WRITE)


@pytest.fixture
def made(gateway: Any, receiver: Receiver, token: str) -> Callable[..., Any]:
    async def make(**more: Any) -> Any:
        body = {"url": receiver.url, "events": ["alert.created"], "description": "SIEM", **more}
        return await gateway.ask("POST", "/v1/webhooks", token=token, json=body)

    return make


async def deliver(gateway: Any) -> None:
    """Send what is due, once."""
    sender = Sender(gateway.services.webhooks.book._database, gateway.services.alerts.outbox, now=gateway.clock)  # noqa: SLF001 - one turn
    for target in await sender._waiting():  # noqa: SLF001 - of what runs beside the API
        await sender._serve(*target)  # noqa: SLF001


async def test_a_webhook_is_made_with_a_secret_that_is_shown_this_once(gateway: Any, made: Any, token: str) -> None:
    answer = await made()

    assert answer.status == 201
    assert set(answer.body) == {*KEYS, "secret"}
    assert answer.body["secret"].startswith("whsec_")
    path = f"/v1/webhooks/{answer.body['id']}"
    shown = await gateway.ask("GET", path, token=token)
    assert shown.body == {key: answer.body[key] for key in KEYS}
    listed = await gateway.ask("GET", "/v1/webhooks", token=token)
    assert listed.body == {"items": [shown.body], "next_cursor": None, "has_more": False, "total_count": 1}
    assert b"whsec_" not in shown.raw + listed.raw


async def test_an_alert_is_told_and_the_delivery_shown(gateway: Any, receiver: Receiver, occur: Maker) -> None:
    gateway.clock.moment = datetime.now(UTC)
    token = await gateway.token(name="now")
    hook = (await gateway.ask("POST", "/v1/webhooks", token=token, json={"url": receiver.url})).body
    await gateway.services.alerts.record([occur(AlertKind.PROMPT_DRIFT)])

    await deliver(gateway)

    (got,) = receiver.got
    told = Verifier(hook["secret"]).verify(got.body, got.headers)
    alert = (await gateway.ask("GET", "/v1/alerts", token=token)).body["items"][0]
    assert told["data"] == alert
    shown = (await gateway.ask("GET", f"/v1/webhooks/{hook['id']}", token=token)).body
    assert (shown["last_delivery"]["state"], shown["last_delivery"]["status_code"]) == ("delivered", 204)
    assert shown["last_delivery"]["event_id"] == told["id"]


async def test_dead_letters_are_listed_and_replayed(gateway: Any, made: Any, receiver: Receiver, occur: Maker, token: str) -> None:
    hook = (await made()).body
    path = f"/v1/webhooks/{hook['id']}"
    for number in range(3):
        await gateway.services.alerts.record([occur(AlertKind.PROMPT_DRIFT, episode=(str(number),))])
    receiver.answers = [410]
    await deliver(gateway)

    off = (await gateway.ask("GET", path, token=token)).body
    dead = (await gateway.ask("GET", f"{path}/deliveries?state=dead&limit=2", token=token)).body
    assert (off["enabled"], off["disabled_reason"]) == (False, "the receiver answered 410: it wants no more")
    assert (len(dead["items"]), dead["has_more"], dead["total_count"]) == (2, True, 3)
    rest = (await gateway.ask("GET", f"{path}/deliveries?state=dead&limit=2&cursor={dead['next_cursor']}", token=token)).body
    assert (len(rest["items"]), rest["next_cursor"], rest["items"][0]["status_code"]) == (1, None, 410)

    await gateway.ask("PATCH", path, token=token, json={"enabled": True})
    one = await gateway.ask("POST", f"{path}/deliveries/{rest['items'][0]['id']}/replay", token=token)
    again = await gateway.ask("POST", f"{path}/deliveries/{rest['items'][0]['id']}/replay", token=token)
    every = await gateway.ask("POST", f"{path}/replay", token=token)
    await deliver(gateway)

    assert (one.body, again.status, every.body) == ({"replayed": 1}, 404, {"replayed": 2})
    assert (await gateway.ask("GET", f"{path}/deliveries?state=delivered", token=token)).body["total_count"] == 3
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 3
    unknown = await gateway.ask("POST", f"{path}/deliveries/x/replay", token=token)
    assert unknown.status == 404
    assert (await gateway.ask("GET", f"{path}/deliveries?cursor={dead['next_cursor']}", token=token)).status == 400


async def test_a_test_says_what_came_of_it(gateway: Any, made: Any, receiver: Receiver, token: str) -> None:
    path = f"/v1/webhooks/{(await made()).body['id']}/test"

    good = await gateway.ask("POST", path, token=token)
    receiver.answers = [500]
    bad = await gateway.ask("POST", path, token=token)

    assert (good.body["success"], good.body["status_code"], good.body["error"]) == (True, 204, None)
    assert json.loads(receiver.got[0].body)["id"] == good.body["event_id"]
    assert (bad.status, bad.body["success"], bad.body["error"]) == (200, False, "the receiver answered 500")


async def test_a_secret_is_rotated_with_an_overlap(gateway: Any, made: Any, receiver: Receiver, token: str) -> None:
    first = (await made()).body
    path = f"/v1/webhooks/{first['id']}/rotate"

    second = (await gateway.ask("POST", path, token=token)).body
    third = (await gateway.ask("POST", path, token=token, json={"overlap_hours": 0})).body

    assert len({first["secret"], second["secret"], third["secret"]}) == 3
    assert second["earlier_secret_until"] == "2025-01-16T10:30:00Z"
    assert third["earlier_secret_until"] == "2025-01-15T10:30:00Z"
    await gateway.ask("POST", path.replace("rotate", "test"), token=token)
    assert receiver.got[0].headers["webhook-signature"].count("v1,") == 1
    refused = await gateway.ask("POST", path, token=token, json={"overlap_hours": 1000})
    assert (refused.status, refused.body["error"]) == (400, "invalid_request")


async def test_a_webhook_is_changed_and_deleted(gateway: Any, made: Any, token: str) -> None:
    path = f"/v1/webhooks/{(await made()).body['id']}"

    changed = await gateway.ask("PATCH", path, token=token, json={"events": ["alert.*"], "description": "pager", "enabled": False})
    gone = await gateway.ask("DELETE", path, token=token)

    assert (changed.body["events"], changed.body["description"], changed.body["enabled"]) == (["alert.*"], "pager", False)
    assert (gone.status, gone.raw) == (204, b"")
    missing = await gateway.ask("GET", path, token=token)
    assert (missing.status, missing.body) == (404, {"error": "not_found", "message": "there is no such webhook"})


async def test_what_does_not_fit_is_refused_by_its_key(gateway: Any, made: Any, token: str) -> None:
    path = f"/v1/webhooks/{(await made()).body['id']}"
    faults: list[tuple[dict[str, Any], str]] = [
        ({"url": "http://10.0.0.1/"}, "invalid url: 10.0.0.1 is in a private network"),
        ({"url": "https://169.254.169.254/latest"}, "invalid url: 169.254.169.254 is link-local"),
        ({"url": "file:///etc/passwd"}, "invalid url: a webhook's URL begins with https"),
        ({"url": ""}, "url"),
        ({"events": []}, "events"),
        ({"events": ["alert.opened"]}, "events"),
        ({"secret": "whsec_mine"}, "unknown key secret"),
    ]
    for body, said in faults:
        for answer in (await made(**body), await gateway.ask("PATCH", path, token=token, json=body)):
            assert (answer.status, answer.body["error"]) == (400, "invalid_request")
            assert said in answer.body["message"]


async def test_there_is_an_end_to_webhooks(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.notify.webhooks.MOST", 1)
    await made()

    answer = await made()

    assert (answer.status, answer.body["error"]) == (409, "conflict")


class TestWebhooksOfTheConfig:
    @pytest.fixture
    def file_webhooks(self) -> tuple[WebhookSettings, ...]:
        return (WebhookSettings(name="siem", url="https://siem.example.com/x", secret=SECRET),)

    async def test_are_shown_and_read_only_and_say_where_they_live(self, gateway: Any, token: str) -> None:
        (hook,) = (await gateway.ask("GET", "/v1/webhooks", token=token)).body["items"]
        path = f"/v1/webhooks/{hook['id']}"

        assert (hook["source"], hook["description"]) == ("config", "siem")
        for method, where, more in (
            ("PATCH", path, {"json": {"enabled": False}}),
            ("DELETE", path, {}),
            ("POST", f"{path}/rotate", {}),
        ):
            answer = await gateway.ask(method, where, token=token, **more)
            assert (answer.status, answer.body["error"]) == (409, "conflict")
            assert "`notify.webhooks` section" in answer.body["message"]
