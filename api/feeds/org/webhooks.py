"""Webhooks of the organisation: made, changed, tried, and what became of what they were sent (`/v1/webhooks`)."""

import time
from datetime import timedelta

from aiohttp import web

from alerting.notify.addresses import ForbiddenAddressError, UrlError
from alerting.notify.webhooks import ReadOnlyWebhookError, TooManyWebhooksError, Webhook
from alerting.org_view import Json
from api.errors import ApiError, InvalidError, json_response
from api.feeds.org.alerts import FEED
from api.feeds.org.webhook_models import (
    DeliveriesAnswer,
    DeliveriesQuery,
    NewWebhook,
    NewWebhookAnswer,
    ReplayAnswer,
    Rotation,
    TestAnswer,
    WebhookAnswer,
    WebhookChange,
    WebhooksAnswer,
    delivery_json,
    webhook_json,
)
from api.paging import cursor_after, filters_hash, read_cursor
from api.route import Ask, Route
from api.scopes import Scope


async def list_webhooks(ask: Ask) -> web.Response:
    """Answer `GET /v1/webhooks`: all of them on one page, those of the config file first."""
    items = [await _as_json(ask, hook) for hook in ask.services.webhooks.book.all()]
    return json_response({"items": items, "next_cursor": None, "has_more": False, "total_count": len(items)})


async def make_webhook(ask: Ask) -> web.Response:
    """Answer `POST /v1/webhooks`. The secret is shown this once."""
    body = ask.body_as(NewWebhook)
    try:
        hook = await ask.services.webhooks.book.add(
            url=body.url, events=body.events, description=body.description, enabled=body.enabled, actor=ask.who.name
        )
    except TooManyWebhooksError as error:
        raise ApiError(409, str(error)) from error
    except (UrlError, ForbiddenAddressError) as error:
        raise InvalidError(f"invalid url: {error}", param="url") from error
    except ValueError as error:
        raise InvalidError(f"invalid events: {error}", param="events") from error
    return json_response({**await _as_json(ask, hook), "secret": hook.live_secrets[0]}, status=201)


async def get_webhook(ask: Ask) -> web.Response:
    """Answer `GET /v1/webhooks/{id}`."""
    return json_response(await _as_json(ask, _found(ask)))


async def change_webhook(ask: Ask) -> web.Response:
    """Answer `PATCH /v1/webhooks/{id}` with the webhook as it is then; what is not given stays."""
    body, hook = ask.body_as(WebhookChange), _found(ask)
    try:
        changed = await ask.services.webhooks.book.change(
            hook.id, url=body.url, events=body.events, description=body.description, enabled=body.enabled, actor=ask.who.name
        )
    except (UrlError, ForbiddenAddressError) as error:
        raise InvalidError(f"invalid url: {error}", param="url") from error
    except ReadOnlyWebhookError as error:
        raise ApiError(409, str(error)) from error
    except ValueError as error:
        raise InvalidError(f"invalid events: {error}", param="events") from error
    return json_response(await _as_json(ask, changed))


async def delete_webhook(ask: Ask) -> web.Response:
    """Answer `DELETE /v1/webhooks/{id}`: what waits for it goes with it."""
    hook = _found(ask)
    try:
        await ask.services.webhooks.book.remove(hook.id, actor=ask.who.name)
    except ReadOnlyWebhookError as error:
        raise ApiError(409, str(error)) from error
    return web.Response(status=204)


async def test_webhook(ask: Ask) -> web.Response:
    """Answer `POST /v1/webhooks/{id}/test`: an event `webhook.test` is really sent, at once and without retries."""
    begun = time.perf_counter()
    event_id, result = await ask.services.webhooks.channel.test(_found(ask))
    return json_response(
        {
            "success": result.error is None,
            "event_id": event_id,
            "status_code": result.status,
            "error": result.error,
            "duration_ms": round((time.perf_counter() - begun) * 1_000),
        }
    )


async def rotate_secret(ask: Ask) -> web.Response:
    """Answer `POST /v1/webhooks/{id}/rotate` with a fresh secret, shown this once; the earlier one signs too for a while."""
    body, hook = ask.body_as(Rotation), _found(ask)
    try:
        rotated = await ask.services.webhooks.book.rotate(hook.id, overlap=timedelta(hours=body.overlap_hours), actor=ask.who.name)
    except ReadOnlyWebhookError as error:
        raise ApiError(409, str(error)) from error
    return json_response({**await _as_json(ask, rotated), "secret": rotated.live_secrets[0]})


async def list_deliveries(ask: Ask) -> web.Response:
    """Answer `GET /v1/webhooks/{id}/deliveries`: newest first; `state=dead` are the dead letters."""
    query, hook = ask.query_as(DeliveriesQuery), _found(ask)
    filters = filters_hash("deliveries", hook.id, query.state)
    after = None if query.cursor is None else _number(read_cursor(query.cursor, filters=filters))
    found = await ask.services.webhooks.deliveries.page(hook.id, state=query.state, limit=query.limit + 1, after=after)
    page, has_more = found[: query.limit], len(found) > query.limit
    counts = await ask.services.webhooks.deliveries.counts(hook.id)
    return json_response(
        {
            "items": [delivery_json(delivery) for delivery in page],
            "next_cursor": cursor_after(str(page[-1].seq), filters=filters) if has_more else None,
            "has_more": has_more,
            "total_count": sum(counts.values()) if query.state is None else counts[query.state],
        }
    )


async def replay_delivery(ask: Ask) -> web.Response:
    """Answer `POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay`: it is sent again, with the same event and fresh attempts."""
    hook = _found(ask)
    seq = _number(ask.request.match_info["delivery_id"])
    if not await ask.services.webhooks.deliveries.replay(hook.id, seq=seq, actor=ask.who.name):
        raise ApiError(404, "there is no such delivery that is over: one that is pending or held back is under way already")
    ask.services.webhooks.wake()
    return json_response({"replayed": 1})


async def replay_dead(ask: Ask) -> web.Response:
    """Answer `POST /v1/webhooks/{id}/replay`: all dead letters are sent again."""
    hook = _found(ask)
    number = await ask.services.webhooks.deliveries.replay(hook.id, actor=ask.who.name)
    ask.services.webhooks.wake()
    return json_response({"replayed": number})


def _found(ask: Ask) -> Webhook:
    hook = ask.services.webhooks.book.get(ask.request.match_info["id"].lower())
    if hook is None:
        raise ApiError(404, "there is no such webhook")
    return hook


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


async def _as_json(ask: Ask, hook: Webhook) -> Json:
    return webhook_json(hook, last=await ask.services.webhooks.deliveries.last(hook.id), org_id=ask.services.alerts.org_id)


_ONE = "/v1/webhooks/{id}"

ROUTES = (
    Route(
        method="GET",
        path="/v1/webhooks",
        handler=list_webhooks,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        answers={200: WebhooksAnswer},
        summary="List webhooks",
    ),
    Route(
        method="POST",
        path="/v1/webhooks",
        handler=make_webhook,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        body=NewWebhook,
        answers={201: NewWebhookAnswer},
        errors=(409,),
        summary="Make a webhook",
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=get_webhook,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        answers={200: WebhookAnswer},
        summary="Show one webhook",
    ),
    Route(
        method="PATCH",
        path=_ONE,
        handler=change_webhook,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        body=WebhookChange,
        answers={200: WebhookAnswer},
        errors=(409,),
        summary="Change a webhook",
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete_webhook,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        answers={204: None},
        errors=(409,),
        summary="Delete a webhook",
    ),
    Route(
        method="POST",
        path=f"{_ONE}/test",
        handler=test_webhook,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        answers={200: TestAnswer},
        summary="Send a test to a webhook",
    ),
    Route(
        method="POST",
        path=f"{_ONE}/rotate",
        handler=rotate_secret,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        body=Rotation,
        body_optional=True,
        answers={200: NewWebhookAnswer},
        errors=(409,),
        summary="Give a webhook a fresh secret",
    ),
    Route(
        method="GET",
        path=f"{_ONE}/deliveries",
        handler=list_deliveries,
        scope=Scope.ALERTS_READ,
        feed=FEED,
        query=DeliveriesQuery,
        answers={200: DeliveriesAnswer},
        summary="List what a webhook was sent or is to be sent",
    ),
    Route(
        method="POST",
        path=f"{_ONE}/replay",
        handler=replay_dead,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        answers={200: ReplayAnswer},
        summary="Send all dead letters of a webhook again",
    ),
    Route(
        method="POST",
        path=f"{_ONE}/deliveries/{{delivery_id}}/replay",
        handler=replay_delivery,
        scope=Scope.CONFIG_WRITE,
        feed=FEED,
        answers={200: ReplayAnswer},
        summary="Send one delivery again",
    ),
)
