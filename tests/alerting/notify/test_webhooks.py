"""Webhooks from their making to a receiver that verifies what it gets."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from alerting.finding import AlertKind, Occurrence, Severity
from alerting.notify.addresses import ForbiddenAddressError, UrlError
from alerting.notify.deliveries import DeliveryState, prune_deliveries
from alerting.notify.settings import WebhookSettings
from alerting.notify.webhooks import MOST, NoWebhookError, ReadOnlyWebhookError, TooManyWebhooksError

type Maker = Callable[..., Occurrence]
SECRET = "whsec_dG9sbHdhdGNoLWV4YW1wbGUtc2VjcmV0LWNoYW5nZS1pdCE="


def of_file(receiver: Any, **more: Any) -> WebhookSettings:
    return WebhookSettings.model_validate({"name": "siem", "url": receiver.url, "secret": SECRET, **more})


async def test_an_alert_reaches_the_receiver_signed_and_in_its_envelope(hooks: Any, occur: Maker, running: Any) -> None:
    hooks.house.clock.time = datetime.now(UTC)  # receivers hold the timestamp against their own clock
    hook = await hooks.add()
    async with running(hooks.house.sender()) as sender:
        (recorded,) = await hooks.house.book.record([occur()])
        (got,) = await hooks.receiver.gets(1)
        await hooks.house.turned(sender)

    told = Verifier(hook.live_secrets[0]).verify(got.body, got.headers)
    assert set(told) == {"id", "type", "timestamp", "created_at", "org_id", "data"}
    assert (told["type"], told["id"]) == ("alert.created", got.headers["webhook-id"])
    assert told["id"].startswith("evt_")
    assert told["data"]["id"] == recorded.id
    assert (told["data"]["type"], told["data"]["severity"], told["data"]["status"]) == ("policy_violation", "high", "open")
    assert told["data"]["metadata"]["user"] == "jane.smith@acme.com"
    assert got.headers["Content-Type"] == "application/json"
    last = await hooks.deliveries.last(hook.id)
    assert (last.state, last.last_status, last.attempts) == (DeliveryState.DELIVERED, 204, 1)


async def test_only_what_is_asked_for_and_in_the_org_feed_is_told(hooks: Any, occur: Maker) -> None:
    ends = await hooks.add(events=("alert.resolved",))
    await hooks.add(enabled=False)
    (alert,) = await hooks.house.book.record([occur()])
    rule = occur(kind=AlertKind.RULE_DORMANT, severity=Severity.LOW)
    warning = occur(kind=AlertKind.BUDGET_WARNING)
    for other in await hooks.house.book.record([rule, warning]):
        await hooks.house.book.resolve(other.seq, actor="jane", feed=None)
    await hooks.house.book.resolve(alert.seq, actor="jane", feed=None)

    assert [row[:2] for row in await hooks.house.rows()] == [("alert.resolved", ends.id)]


async def test_a_redirect_is_not_followed_and_not_a_success(hooks: Any, occur: Maker, running: Any) -> None:
    hook = await hooks.add()
    hooks.receiver.answers = [(302, {"Location": "/elsewhere"})]
    async with running(hooks.house.sender()) as sender:
        await hooks.house.book.record([occur()])
        await hooks.receiver.gets(1)
        await hooks.house.turned(sender)

    last = await hooks.deliveries.last(hook.id)
    assert [got.path for got in hooks.receiver.got] == ["/hook"]
    assert (last.state, last.last_error) == (
        DeliveryState.PENDING,
        "the receiver answered 302: redirects are not followed, set the final URL",
    )


async def test_the_pause_that_a_receiver_asks_for_is_kept(hooks: Any, occur: Maker, running: Any) -> None:
    hook = await hooks.add()
    hooks.receiver.answers = [(429, {"Retry-After": "3600"})]
    async with running(hooks.house.sender()) as sender:
        await hooks.house.book.record([occur()])
        await hooks.receiver.gets(1)
        await hooks.house.turned(sender)

    last = await hooks.deliveries.last(hook.id)
    assert last.next_at - hooks.house.clock() == timedelta(hours=1)


async def test_a_receiver_that_answers_410_is_told_nothing_more(hooks: Any, occur: Maker, running: Any) -> None:
    hook = await hooks.add()
    hooks.receiver.answers = [410]
    for number in range(2):
        await hooks.house.book.record([occur(episode=(str(number),))])
    async with running(hooks.house.sender()) as sender:
        await hooks.receiver.gets(1)
        await hooks.house.turned(sender)
    await hooks.house.book.record([occur(episode=("3",))])

    kept = hooks.webhooks.get(hook.id)
    assert (kept.enabled, kept.disabled_reason) == (False, "the receiver answered 410: it wants no more")
    assert [row[3] for row in await hooks.house.rows()] == ["dead", "dead"]
    assert len(hooks.receiver.got) == 1
    await (again := hooks.again()).load()
    assert again.get(hook.id).disabled_reason == kept.disabled_reason


async def test_dead_letters_are_listed_and_replayed_when_the_webhook_is_on_again(hooks: Any, occur: Maker, running: Any) -> None:
    hook = await hooks.add()
    hooks.receiver.answers = [410]
    await hooks.house.book.record([occur()])
    async with running(hooks.house.sender()) as sender:
        await hooks.receiver.gets(1)
        await hooks.house.turned(sender)
        (dead,) = await hooks.deliveries.page(hook.id, state=DeliveryState.DEAD, limit=10)

        await hooks.webhooks.change(hook.id, enabled=True, actor="jane")
        assert await hooks.deliveries.replay(hook.id, actor="jane") == 1
        sender.wake()
        first, second = await hooks.receiver.gets(1)
        await hooks.house.turned(sender)

    assert first.headers["webhook-id"] == second.headers["webhook-id"] == dead.event_id
    assert (await hooks.deliveries.counts(hook.id))[DeliveryState.DELIVERED] == 1
    assert await hooks.deliveries.replay(hook.id, seq=dead.seq, actor="jane") == 1
    assert await hooks.deliveries.replay(hook.id, seq=dead.seq, actor="jane") == 0  # it is under way
    assert await hooks.deliveries.replay("another", seq=dead.seq, actor="jane") == 0
    assert (await hooks.deliveries.page(hook.id, limit=10, after=dead.seq)) == []


async def test_a_test_is_really_sent_even_to_a_webhook_that_is_off(hooks: Any) -> None:
    hook = await hooks.add(enabled=False)

    event_id, result = await hooks.channel.test(hook)

    assert result.status == 204
    body = json.loads(hooks.receiver.got[0].body)
    assert (body["type"], body["id"]) == ("webhook.test", event_id)
    assert await hooks.house.rows() == []


async def test_while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone(hooks: Any) -> None:
    hook = await hooks.add()

    rotated = await hooks.webhooks.rotate(hook.id, overlap=timedelta(hours=1), actor="jane")

    new, old = rotated.live_secrets
    assert old == hook.live_secrets[0] != new
    assert rotated.secrets_at(hooks.house.clock()) == (new, old)
    hooks.house.clock.pass_by(hours=1)
    assert rotated.secrets_at(hooks.house.clock()) == (new,)
    await (again := hooks.again()).load()
    assert again.get(hook.id) == rotated


async def test_a_webhook_outlives_a_restart_and_its_secret_is_not_in_the_store(hooks: Any) -> None:
    hook = await hooks.add()
    await hooks.webhooks.change(hook.id, description="pager", events=("alert.created",), actor="jane")

    await (again := hooks.again()).load()

    assert again.get(hook.id) == hooks.webhooks.get(hook.id)
    rows = await hooks.house.database.read("SELECT secret FROM webhooks")
    assert hook.live_secrets[0] not in rows[0][0]
    assert hook.live_secrets[0].removeprefix("whsec_") not in rows[0][0]


async def test_under_another_key_a_webhook_is_off_and_says_why(hooks: Any) -> None:
    hook = await hooks.add()

    await (again := hooks.again(key=b"x" * 32)).load()

    kept = again.get(hook.id)
    assert (kept.enabled, again.listening) == (False, ())
    assert "rotate it" in kept.disabled_reason
    await again.rotate(hook.id, actor="jane")
    await again.change(hook.id, enabled=True, actor="jane")
    assert again.get(hook.id).enabled


async def test_each_change_leaves_its_row_of_audit_without_a_secret(hooks: Any) -> None:
    hook = await hooks.add()
    await hooks.webhooks.change(hook.id, description="pager", actor="jane")
    await hooks.webhooks.rotate(hook.id, actor="jane")
    await hooks.webhooks.disable(hook.id, reason="410", actor="system")
    await hooks.webhooks.disable(hook.id, reason="410", actor="system")  # it is off already
    await hooks.webhooks.disable("nothing", reason="410", actor="system")
    await hooks.webhooks.remove(hook.id, actor="jane")

    rows = await hooks.house.database.read("SELECT action, actor, subject, detail FROM audit ORDER BY seq")
    done = ["created", "changed", "rotated", "disabled", "deleted"]
    assert [row[:3] for row in rows] == [(f"webhook.{what}", "system" if what == "disabled" else "jane", hook.id) for what in done]
    assert "whsec_" not in str(rows)


async def test_what_waits_for_a_webhook_goes_with_it(hooks: Any, occur: Maker) -> None:
    hook = await hooks.add()
    await hooks.house.book.record([occur()])

    await hooks.webhooks.remove(hook.id, actor="jane")

    assert await hooks.house.rows() == []
    assert hooks.webhooks.all() == []


async def test_a_delivery_whose_webhook_is_gone_or_off_is_a_dead_letter(hooks: Any, occur: Maker, running: Any) -> None:
    gone, off = await hooks.add(), await hooks.add()
    await hooks.house.book.record([occur()])
    await hooks.webhooks.change(off.id, enabled=False, actor="jane")
    await (other := hooks.again()).load()
    del other
    hooks.webhooks._stored.pop(gone.id)  # noqa: SLF001 - as when another gateway of the same store removed it
    async with running(hooks.house.sender()) as sender:
        await sender._release()  # noqa: SLF001 - nothing is held
        while {row[3] for row in await hooks.house.rows()} != {"dead"}:
            await hooks.house.turned(sender)

    assert sorted(str(row[6]) for row in await hooks.house.rows()) == [
        "the webhook is disabled: enable it and replay the delivery",
        "the webhook was deleted",
    ]
    assert hooks.receiver.got == []


async def test_what_the_config_defines_is_told_and_cannot_be_changed_here(hooks: Any, receiver: Any) -> None:
    book = hooks.again(file=(of_file(receiver),))

    (hook,) = book.all()
    assert (hook.origin, hook.description, hook.live_secrets, book.listening) == ("file", "siem", (SECRET,), (hook,))
    for attempt in (book.change(hook.id, enabled=False, actor="jane"), book.rotate(hook.id, actor="j"), book.remove(hook.id, actor="j")):
        with pytest.raises(ReadOnlyWebhookError, match=r"its `notify.webhooks` section"):
            await attempt
    await book.disable(hook.id, reason="the receiver answered 410", actor="system")
    assert (book.listening, book.get(hook.id).disabled_reason) == ((), "the receiver answered 410")


async def test_faults_are_refused_before_anything_is_written(hooks: Any) -> None:
    hook = await hooks.add()
    for url, fault in (("http://10.0.0.1/", ForbiddenAddressError), ("nowhere", UrlError)):
        with pytest.raises(fault):
            await hooks.webhooks.add(url=url, events=("alert.*",), description=None, actor="jane")
        with pytest.raises(fault):
            await hooks.webhooks.change(hook.id, url=url, actor="jane")
    for events, said in ((("alert.opened",), "'alert.opened' is no event: use one or more of"), ((), "no event is named")):
        with pytest.raises(ValueError, match=said):
            await hooks.webhooks.change(hook.id, events=events, actor="jane")
    for attempt in (hooks.webhooks.change("x", actor="j"), hooks.webhooks.rotate("x", actor="j"), hooks.webhooks.remove("x", actor="j")):
        with pytest.raises(NoWebhookError, match="no webhook 'x'"):
            await attempt

    assert hooks.webhooks.all() == [hook]


async def test_there_are_a_hundred_webhooks_at_most(hooks: Any) -> None:
    for _ in range(MOST):
        await hooks.add()

    with pytest.raises(TooManyWebhooksError, match="the most"):
        await hooks.add()


async def test_deliveries_are_forgotten_in_time(hooks: Any, occur: Maker) -> None:
    await hooks.add()
    for number, state in enumerate(("delivered", "dead", "pending", "dropped")):
        await hooks.house.book.record([occur(episode=(str(number),))])
        await hooks.house.database.write(lambda state=state, number=number: _set(state, number + 1))

    kept = []
    for days in (6, 8, 31):
        await prune_deliveries(hooks.house.database, now=hooks.house.clock() + timedelta(days=days))
        kept.append([row[3] for row in await hooks.house.rows()])

    assert kept == [["delivered", "dead", "pending", "dropped"], ["dead", "pending"], ["pending"]]


def _set(state: str, seq: int) -> Any:
    from storage.database import Sql  # noqa: PLC0415 - used here alone

    yield Sql("UPDATE deliveries SET state = ? WHERE seq = ?", (state, seq))
