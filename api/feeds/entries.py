"""The entries feed: what was detected, and groups of it that are close in time, at one place (`/api/v1/alerts/entries`, `…/detections`)."""

from datetime import datetime, timedelta
from urllib.parse import quote

from aiohttp import web
from pydantic import Field

from alerting.entries import EntryBook
from alerting.entry_answers import Answer as Answered
from alerting.entry_answers import NoEntryError, NotAllowedError
from alerting.entry_settings import LONGEST_TEXT
from api.bodies import Body
from api.errors import ApiError, json_response
from api.feeds import entry_configs
from api.feeds.entry_json import DetectionAnswer, EntryAnswer, detection_json, entry_json, moment
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope

RECENT = timedelta(days=10)
"""How far back an answer goes that is asked for without `since`."""


class Since(Query):
    """From when on."""

    since: datetime | None = None
    """Only what was created after this moment: RFC 3339, or a date; without an offset it is UTC. Left out: the last 10 days."""


class DetectionQuery(Since):
    """Which detections."""

    updated_at: datetime | None = None
    """Only what changed after this moment, in the order of changes."""


class Text(Body):
    """What was done, or why it came to it."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT, pattern=r"\S")


async def list_entries(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/alerts/entries`: the first made first. Whoever asks again with the last `created_at` misses none."""
    since = ask.query_as(Since).since or ask.services.now() - RECENT
    page = await ask.services.entries.page(since=since)
    following = {"since": page.entries[-1].created_at} if page.more else None
    return json_response([entry_json(one) for one in page.entries], headers=_next(ask, following))


async def list_detections(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/detections`: in the order of time, or with `updated_at` in that of changes."""
    query = ask.query_as(DetectionQuery)
    since = query.since or ask.services.now() - RECENT
    page = await ask.services.entries.detections(since=since, updated_at=query.updated_at)
    following = None
    if page.more:
        last = page.detections[-1]
        following = {"since": last.detected_at} if query.updated_at is None else {"since": since, "updated_at": last.updated_at}
    return json_response([detection_json(one) for one in page.detections], headers=_next(ask, following))


async def get_entry(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/alerts/entries/{id}`."""
    try:
        return json_response(entry_json(await ask.services.entries.get(ask.request.match_info["id"])))
    except NoEntryError as error:
        raise _missing() from error


async def view(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/entries/{id}/view`."""
    return await _answer(ask, Answered.VIEW)


async def acknowledge(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/entries/{id}/acknowledge`."""
    return await _answer(ask, Answered.ACKNOWLEDGE)


async def act(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/entries/{id}/act`."""
    return await _answer(ask, Answered.ACT, text=ask.body_as(Text).text)


async def root_cause(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/entries/{id}/root_cause`."""
    return await _answer(ask, Answered.ROOT_CAUSE, text=ask.body_as(Text).text)


async def dismiss(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/entries/{id}/dismiss`."""
    return await _answer(ask, Answered.DISMISS)


async def _answer(ask: Ask, answer: Answered, *, text: str | None = None) -> web.Response:
    entries: EntryBook = ask.services.entries
    try:
        entry = await entries.answer(ask.request.match_info["id"], answer, actor=ask.who.name, text=text)
    except NoEntryError as error:
        raise _missing() from error
    except NotAllowedError as error:
        raise ApiError(422, str(error), param="text" if text else None) from error
    return json_response(entry_json(entry))


def _missing() -> ApiError:
    return ApiError(404, "entry not found")


def _next(ask: Ask, following: dict[str, datetime] | None) -> dict[str, str]:
    """Return the header that says where the next page is."""
    if following is None:
        return {}
    query = "&".join(f"{name}={quote(moment(at))}" for name, at in following.items())
    return {"Link": f'<{ask.request.path}?{query}>; rel="next"'}


_ENTRIES = "/api/v1/alerts/entries"

ROUTES = (
    Route(
        method="GET",
        path=_ENTRIES,
        handler=list_entries,
        scope=Scope.ALERTS_READ,
        feed="entries",
        query=Since,
        answers={200: list[EntryAnswer]},
        summary="List entries, the first made first, at most 1,000; a Link header says where the next are",
    ),
    Route(
        method="GET",
        path=f"{_ENTRIES}/{{id}}",
        handler=get_entry,
        scope=Scope.ALERTS_READ,
        feed="entries",
        answers={200: EntryAnswer},
        summary="Show one entry",
    ),
    *(
        Route(
            method="POST",
            path=f"{_ENTRIES}/{{id}}/{answer}",
            handler=handler,
            scope=Scope.ALERTS_WRITE,
            feed="entries",
            body=body,
            answers={200: EntryAnswer},
            errors=(422,),
            summary=summary,
        )
        for answer, handler, body, summary in (
            (Answered.VIEW, view, None, "Note that somebody opened an entry; the first time stays"),
            (Answered.ACKNOWLEDGE, acknowledge, None, "Acknowledge an entry and its alerts; the first time stays"),
            (Answered.ACT, act, Text, "Note what was done about an entry; the first stays"),
            (Answered.ROOT_CAUSE, root_cause, Text, "Note why it came to an entry; the first stays"),
            (Answered.DISMISS, dismiss, None, "Dismiss an entry and its alerts; the first time stays"),
        )
    ),
    *entry_configs.ROUTES,
    Route(
        method="GET",
        path="/api/v1/detections",
        handler=list_detections,
        scope=Scope.ALERTS_READ,
        feed="entries",
        query=DetectionQuery,
        answers={200: list[DetectionAnswer]},
        summary="List detections in the order of time, or with `updated_at` in that of changes; a Link header says where the next are",
    ),
)
