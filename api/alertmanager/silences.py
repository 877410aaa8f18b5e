"""Silences, as Alertmanager tells and takes them."""

from aiohttp import web
from pydantic import Field

from alerting.silence import Silence, SilenceDraft
from alerting.silences import UnknownSilenceError
from alerting.toggles import DefinedInConfigError
from api.alertmanager.wire import (
    Filter,
    PostedSilence,
    SilenceAnswer,
    SilenceMade,
    matcher_of,
    matchers_of,
    shown_by,
    silence_json,
)
from api.errors import ApiError, InvalidError, json_response
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope


class SilenceFilter(Query):
    """Which silences to list."""

    filter: tuple[Filter, ...] = Field(default=(), max_length=10)
    """A matcher on the silences' own matchers, such as `kind="prompt_size"`; may be repeated, and all must match."""


async def list_silences(ask: Ask) -> web.Response:
    """Answer `GET /alertmanager/api/v2/silences`: the active, the pending, the expired."""
    try:
        filters = matchers_of(ask.query_as(SilenceFilter).filter)
    except ValueError as error:
        raise InvalidError(str(error), param="filter") from error
    now = ask.services.now()
    shown = [silence for silence in ask.services.silences.all() if shown_by(filters, {one.name: one.value for one in silence.matchers})]
    return json_response([silence_json(silence, now) for silence in shown])


async def get_silence(ask: Ask) -> web.Response:
    """Answer `GET /alertmanager/api/v2/silence/{id}`."""
    silence = ask.services.silences.get(ask.request.match_info["id"])
    if silence is None:
        raise ApiError(404, "silence not found")
    return json_response(silence_json(silence, ask.services.now()))


async def post_silence(ask: Ask) -> web.Response:
    """Answer `POST /alertmanager/api/v2/silences`: make one, or change the one of an id."""
    posted = ask.body_as(PostedSilence)
    draft = SilenceDraft(
        matchers=tuple(map(matcher_of, posted.matchers)),
        starts_at=posted.startsAt,
        ends_at=posted.endsAt,
        created_by=posted.createdBy,
        comment=posted.comment,
    )
    silence = await _put(ask, posted.id, draft)
    return json_response({"silenceID": silence.id})


async def _put(ask: Ask, silence_id: str | None, draft: SilenceDraft) -> Silence:
    silences, actor = ask.services.silences, ask.who.name
    try:
        return await (silences.change(silence_id, draft, actor=actor) if silence_id else silences.add(draft, actor=actor))
    except UnknownSilenceError as error:
        raise ApiError(404, str(error)) from error
    except DefinedInConfigError as error:
        raise ApiError(409, str(error)) from error
    except ValueError as error:
        raise InvalidError(str(error)) from error


async def expire_silence(ask: Ask) -> web.Response:
    """Answer `DELETE /alertmanager/api/v2/silence/{id}`: end it now; again is a success too."""
    try:
        await ask.services.silences.expire(ask.request.match_info["id"], actor=ask.who.name)
    except UnknownSilenceError as error:
        raise ApiError(404, str(error)) from error
    except DefinedInConfigError as error:
        raise ApiError(409, str(error)) from error
    return web.Response()


ROUTES = (
    Route(
        method="GET",
        path="/alertmanager/api/v2/silences",
        handler=list_silences,
        scope=Scope.ALERTS_READ,
        query=SilenceFilter,
        answers={200: list[SilenceAnswer]},
        summary="List silences: the active, the pending, the expired",
    ),
    Route(
        method="POST",
        path="/alertmanager/api/v2/silences",
        handler=post_silence,
        scope=Scope.ALERTS_WRITE,
        body=PostedSilence,
        answers={200: SilenceMade},
        errors=(404, 409),
        summary="Make a silence, or change the one of an id",
    ),
    Route(
        method="GET",
        path="/alertmanager/api/v2/silence/{id}",
        handler=get_silence,
        scope=Scope.ALERTS_READ,
        answers={200: SilenceAnswer},
        summary="One silence",
    ),
    Route(
        method="DELETE",
        path="/alertmanager/api/v2/silence/{id}",
        handler=expire_silence,
        scope=Scope.ALERTS_WRITE,
        answers={200: None},
        errors=(409,),
        summary="End a silence now; again is a success too",
    ),
)
