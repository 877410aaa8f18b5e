"""Where alerts about rules are sent: policies that are made by the API, and a real receiver."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from alerting.book import AlertBook
from alerting.finding import AlertKind, Subject
from alerting.notify.addresses import AddressGuard
from alerting.notify.channel import Delivery
from alerting.notify.policies import GatewayPolicies
from alerting.notify.policy_channel import PolicyChannel
from alerting.notify.sealing import Seal
from alerting.notify.sender import Sender
from storage.database import Sql
from tests.support.receiver import Receiver, receiving

NUMBERS = {"deny_rate": 0.72, "evaluation_count": 45, "period_days": 30}
MESSAGE = "Rule SEC-003 has a 72% DENY rate over the last 30 days"


@pytest.fixture
async def ask(gateway: Any) -> Any:
    token = await gateway.token()

    async def asked(method: str, path: str = "", **more: Any) -> Any:
        return await gateway.ask(method, f"/api/v1/gateway/policies{path}", token=token, **more)

    return asked


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
async def sender(database: Any, outbox: Any, clock: Any) -> AsyncIterator[Sender]:
    async with asyncio.TaskGroup() as group:
        made = Sender(database, outbox, now=clock)
        task = group.create_task(made.run())
        yield made
        task.cancel()


def a_policy(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "to the SIEM",
        "event_source": "alert",
        "event_type_pattern": "alert.*",
        "response_actions": [{"type": "webhook", "url": url}],
        "enabled": True,
        **changes,
    }


@pytest.fixture
def about_a_rule(occur: Any) -> Any:
    def make(rule_id: str = "SEC-003") -> Any:
        subject = Subject(rule_id=rule_id)
        evidence = {"rule_id": rule_id, **NUMBERS}
        return occur(AlertKind.RULE_HIGH_DENY_RATE, episode=(rule_id,), subject=subject, message=MESSAGE, evidence=evidence)

    return make


async def test_a_policy_is_made_listed_and_removed_and_its_secret_shown_once(ask: Any, database: Any) -> None:
    asked = a_policy("https://93.184.216.34/hook")

    made = await ask("POST", json=asked)
    listed = await ask("GET")
    one = await ask("GET", f"/{made.body['id']}")
    removed = await ask("DELETE", f"/{made.body['id']}")

    action = {"type": "webhook", "url": "https://93.184.216.34/hook", "disabled_reason": None}
    shown = {**asked, "response_actions": [action], "id": made.body["id"], "created_at": "2025-01-15T10:30:00Z", "created_by": "tester"}
    assert made.status == 201
    assert made.body.pop("secret").startswith("whsec_")
    assert (made.body, one.body, listed.body) == (shown, shown, {"total": 1, "policies": [shown]})
    assert (removed.status, (await ask("GET")).body) == (204, {"total": 0, "policies": []})
    audit = await database.read("SELECT actor, action, subject FROM audit WHERE action LIKE 'gateway%' ORDER BY seq")
    assert audit == [("tester", f"gateway_policy.{what}", "to the SIEM") for what in ("created", "deleted")]
    for method in ("GET", "DELETE"):
        gone = await ask(method, f"/{made.body['id']}")
        assert (gone.status, gone.body["detail"]) == (404, f"Policy {made.body['id']} not found")


async def test_an_alert_about_a_rule_is_sent_as_the_feed_shows_it_and_signed(
    ask: Any, book: AlertBook, about_a_rule: Any, occur: Any, receiver: Receiver, sender: Sender
) -> None:
    made = await ask("POST", json=a_policy(receiver.url))
    await book.record([occur(AlertKind.PROMPT_DRIFT)])  # is none about a rule

    await book.record([about_a_rule()])
    await book.acknowledge(2, actor="ann", feed="rules")
    await book.resolve(2, actor="ann", feed="rules", note="mended")

    got = await receiver.gets(3)
    for one in got:
        signed_at = datetime.fromtimestamp(int(one.headers["webhook-timestamp"]), UTC)
        expected = Webhook(made.body["secret"]).sign(one.headers["webhook-id"], signed_at, one.body.decode())
        assert one.headers["webhook-signature"] == expected
    sent = [json.loads(one.body) for one in got]
    assert [(one["type"], one["data"]["status"]) for one in sent] == [
        ("alert.created", "active"),
        ("alert.acknowledged", "acknowledged"),
        ("alert.resolved", "resolved"),
    ]
    assert sent[0]["data"] == {
        "id": "alert-002",
        "type": "high_deny_rate",
        "status": "active",
        "rule_id": "SEC-003",
        "message": MESSAGE,
        "created_at": "2025-01-15T10:30:00Z",
        "metadata": NUMBERS,
    }
    assert sent[2]["data"]["metadata"] == {**NUMBERS, "resolution_note": "mended"}
    assert got[0].headers["webhook-id"] == sent[0]["id"]
    assert sender is not None


PATTERNS = [
    ("alert.*", ["alert.created", "alert.resolved"]),
    ("alert.created", ["alert.created"]),
    ("alert.resolved", ["alert.resolved"]),
    ("*.re*", ["alert.resolved"]),
    ("alert.[a-c]*", ["alert.created"]),
]


@pytest.mark.parametrize(("pattern", "events"), PATTERNS)
async def test_a_pattern_says_which_events_are_sent(
    ask: Any, book: AlertBook, about_a_rule: Any, database: Any, pattern: str, events: list[str]
) -> None:
    made = await ask("POST", json=a_policy("https://93.184.216.34/hook", event_type_pattern=pattern))
    await book.record([about_a_rule()])
    await book.resolve(1, actor="ann", feed="rules")

    rows = await database.read("SELECT event, channel, target FROM deliveries ORDER BY seq")

    assert rows == [(event, "gateway_policy", f"{made.body['id']}/0") for event in events]
    await ask("DELETE", f"/{made.body['id']}")
    assert await database.read("SELECT * FROM deliveries") == []


async def test_a_policy_that_is_off_sends_nothing(ask: Any, book: AlertBook, about_a_rule: Any, database: Any, outbox: Any) -> None:
    await ask("POST", json=a_policy("https://93.184.216.34/hook", enabled=False))

    await book.record([about_a_rule()])

    assert (outbox.listens, await database.read("SELECT * FROM deliveries")) == (False, [])
    for query, number in (("?enabled=true", 0), ("?enabled=false", 1)):
        assert (await ask("GET", query)).body["total"] == number


async def test_a_receiver_that_wants_no_more_is_told_no_more_and_the_others_are(
    ask: Any, book: AlertBook, about_a_rule: Any, receiver: Receiver, sender: Sender, gateway_policies: GatewayPolicies
) -> None:
    actions = [{"type": "webhook", "url": receiver.url}, {"type": "webhook", "url": f"{receiver.url}/other"}]
    made = await ask("POST", json=a_policy(receiver.url, response_actions=actions))
    receiver.answers = [410, 410]

    await book.record([about_a_rule("A")])
    await receiver.gets(2)
    policy_id = made.body["id"]
    async with asyncio.timeout(10):
        while not all(one.disabled_reason for one in gateway_policies.get(policy_id).actions):  # noqa: ASYNC110 - set by the sender
            await asyncio.sleep(0.01)

    assert gateway_policies.listening == ()
    shown = (await ask("GET", f"/{policy_id}")).body["response_actions"]
    assert {one["disabled_reason"] for one in shown} == {"the receiver answered 410: it wants no more"}
    assert sender is not None


async def test_policies_and_their_secrets_outlive_a_restart(ask: Any, database: Any, clock: Any, gateway_policies: GatewayPolicies) -> None:
    made = await ask("POST", json=a_policy("https://93.184.216.34/hook"))
    again, other = (GatewayPolicies(database, seal=Seal(key * 32), now=clock) for key in (b"k", b"x"))
    for policies in (again, other):
        await policies.load()

    assert again.all() == gateway_policies.all()
    assert again.get(made.body["id"]).secret == made.body["secret"]
    assert other.get(made.body["id"]).secret is None
    assert (again.listening, other.listening) == (tuple(again.all()), ())
    assert made.body["secret"] not in repr(await database.read("SELECT * FROM gateway_policies"))


async def test_a_delivery_of_a_policy_that_is_gone_or_unreadable_is_given_up(outbox: Any, database: Any, clock: Any, ask: Any) -> None:
    made = await ask("POST", json=a_policy("https://93.184.216.34/hook"))
    other = GatewayPolicies(database, seal=Seal(b"x" * 32), now=clock)
    await other.load()
    unreadable = PolicyChannel(other, None, org_id="org", now=clock)

    def delivery(target: str) -> Delivery:
        return Delivery(event_id="evt_1", event="alert.created", target=target, body="{}", attempt=1, created_at=clock())

    gone = await outbox.channel("gateway_policy").send(delivery("x/0"))
    unread = await unreadable.send(delivery(f"{made.body['id']}/0"))

    assert (gone.final, gone.error) == (True, "the gateway policy has no such receiver any more")
    assert (unread.final, "change the policy" in unread.error) == (True, True)
    await other.disable("x/0", reason="gone")  # nothing to disable


REFUSED = [
    (
        {"response_actions": [{"type": "webhook", "url": "http://169.254.169.254/latest"}]},
        "response_actions.0.url: 169.254.169.254 is link-local",
    ),
    ({"response_actions": [{"type": "webhook", "url": "https://[::ffff:10.0.0.1]/"}]}, "response_actions.0.url: "),
    (
        {"response_actions": [{"type": "webhook", "url": "https://10.1.2.3/hook"}]},
        "response_actions.0.url: 10.1.2.3 is in a private network",
    ),
    ({"response_actions": [{"type": "webhook", "url": "http://93.184.216.34/"}]}, "response_actions.0.url: 93.184.216.34 is on the public"),
    ({"response_actions": [{"type": "webhook", "url": "ftp://siem.example.com/"}]}, "response_actions.0.url: a webhook's URL begins with"),
    (
        {"response_actions": [{"type": "webhook", "url": "https://a:b@siem.example.com/"}]},
        "response_actions.0.url: a webhook's URL carries no",
    ),
    ({"response_actions": [{"type": "email", "url": "https://93.184.216.34/"}]}, "response_actions.0.type: "),
    ({"response_actions": [{"type": "webhook"}]}, "missing response_actions.0.url"),
    ({"response_actions": []}, "response_actions: "),
    ({"response_actions": [{"type": "webhook", "url": "https://93.184.216.34/"}] * 11}, "response_actions: "),
    ({"event_source": "calls"}, "event_source: "),
    ({"event_type_pattern": "budget.*"}, "event_type_pattern: no event matches 'budget.*': use alert.* or one of alert.created"),
    ({"event_type_pattern": ""}, "event_type_pattern: "),
    ({"name": ""}, "name: "),
    ({"enabled": "yes"}, "enabled: "),
    ({"secret": "mine"}, "unknown key secret"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
async def test_a_policy_that_will_not_do_is_422_and_not_kept(ask: Any, change: Any, message: str) -> None:
    answer = await ask("POST", json=a_policy("https://93.184.216.34/hook", **change))

    assert (answer.status, answer.body["detail"][: len(message)]) == (422, message)
    assert (await ask("GET")).body["total"] == 0


async def test_a_name_that_leads_to_a_forbidden_place_is_refused_where_it_is_resolved(ask: Any, poster: Any) -> None:
    poster._guard = AddressGuard()  # noqa: SLF001 - as where the config opens no network

    answer = await ask("POST", json=a_policy("https://localhost:9/hook"))

    assert (answer.status, "is this machine, where webhooks do not go" in answer.body["detail"]) == (422, True)


async def test_a_name_is_taken_once_and_there_are_only_so_many(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask("POST", json=a_policy("https://93.184.216.34/hook"))

    again = await ask("POST", json=a_policy("https://93.184.216.34/hook"))
    monkeypatch.setattr("alerting.notify.policies.MOST", 1)
    more = await ask("POST", json=a_policy("https://93.184.216.34/hook", name="other"))

    assert (again.status, again.body["detail"]) == (409, "There is a gateway policy 'to the SIEM' already: give this one another name")
    assert (more.status, more.body["detail"]) == (409, "There are 1 gateway policies, which is the most: remove some first")


async def test_a_policy_is_changed_and_keeps_its_secret(ask: Any, database: Any, clock: Any, gateway_policies: GatewayPolicies) -> None:
    made = (await ask("POST", json=a_policy("https://93.184.216.34/hook"))).body
    await ask("POST", json=a_policy("https://93.184.216.34/hook", name="other"))
    await gateway_policies.disable(f"{made['id']}/0", reason="it wants no more")

    changed = await ask("PUT", f"/{made['id']}", json=a_policy("https://93.184.216.34/new", event_type_pattern="alert.created"))
    taken = await ask("PUT", f"/{made['id']}", json=a_policy("https://93.184.216.34/hook", name="other"))
    missing = await ask("PUT", "/none", json=a_policy("https://93.184.216.34/hook"))
    private = await ask("PUT", f"/{made['id']}", json=a_policy("https://10.0.0.1/"))

    action = {"type": "webhook", "url": "https://93.184.216.34/new", "disabled_reason": None}
    assert (changed.status, changed.body["secret"]) == (200, None)
    assert (changed.body["event_type_pattern"], changed.body["response_actions"]) == ("alert.created", [action])
    assert gateway_policies.get(made["id"]).secret == made["secret"]
    assert [one.status for one in (taken, missing, private)] == [409, 404, 422]
    other = GatewayPolicies(database, seal=Seal(b"x" * 32), now=clock)
    await other.load()
    fresh = await other.change(made["id"], name="siem", pattern="alert.*", urls=["https://93.184.216.34/"], enabled=True, actor="ann")
    assert fresh.secret not in (None, made["secret"])


async def test_a_policy_that_was_answered_may_be_changed_and_sent_back(ask: Any) -> None:
    made = (await ask("POST", json=a_policy("https://93.184.216.34/hook"))).body

    changed = await ask("PUT", f"/{made['id']}", json={**made, "name": "other"})

    assert (changed.status, changed.body) == (200, {**made, "name": "other", "secret": None})
    assert (await ask("PUT", f"/{made['id']}", json={**made, "nothing": 1})).status == 422


async def test_dead_letters_are_listed_and_sent_again(
    *, ask: Any, book: AlertBook, about_a_rule: Any, receiver: Receiver, outbox: Any, database: Any, clock: Any
) -> None:
    action = {"type": "webhook", "url": receiver.url}
    made = (await ask("POST", json=a_policy(receiver.url, response_actions=[action, action]))).body
    await book.record([about_a_rule("A"), about_a_rule("B")])
    await database.write(_dead)

    dead = (await ask("GET", f"/{made['id']}/deliveries?state=dead&limit=3&offset=1")).body
    replayed = await ask("POST", f"/{made['id']}/replay")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Sender(database, outbox, now=clock).run())
        await receiver.gets(4)
        task.cancel()

    assert (dead["total"], len(dead["deliveries"]), {one["url"] for one in dead["deliveries"]}) == (4, 3, {receiver.url})
    assert [int(one["id"]) for one in dead["deliveries"]] == [3, 2, 1]
    assert (dead["deliveries"][0]["event"], dead["deliveries"][0]["error"]) == ("alert.created", "no connection")
    assert (replayed.status, replayed.body) == (200, {"replayed": 4})
    assert (await ask("GET", f"/{made['id']}/deliveries")).body["total"] == 4
    for method, path in (("GET", "deliveries"), ("POST", "replay")):
        assert (await ask(method, f"/none/{path}")).status == 404


def _dead() -> Any:
    yield Sql("UPDATE deliveries SET state = 'dead', attempts = 10, next_at = NULL, last_error = 'no connection'", ())
