"""The configs of the entries feed: what is grouped how, and what is silenced (`/api/v1/alerts/configs`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import Field, ValidationError

from alerting.entry_configs import EVERYWHERE, KeptConfig, NoConfigError, TooManyConfigsError
from alerting.entry_settings import LABELS, LONGEST_PLACE, LONGEST_TEXT, EntryConfigSettings
from alerting.places import Place, place
from alerting.toggles import DefinedInConfigError
from api.bodies import Answer, Body
from api.errors import ApiError, InvalidError, json_response
from api.feeds.entry_json import label_json, moment, moment_or_null, place_json
from api.route import Ask, Route
from api.scopes import Scope
from api.times import parse_moment
from metering.scope import compile_patterns
from storage.times import from_micros, to_micros

_USE_MOMENT = "use RFC 3339, for example 2025-01-15T10:30:00Z, or null to end a silence"


class TagBody(Body):
    """A text to choose."""

    tag_category: Literal["action", "root_cause"]
    text: str = Field(min_length=1, max_length=LONGEST_TEXT)


class Named(Body):
    """A place or a label as the feed shows it; its name counts."""

    name: str
    title: str | None = None
    api_name: str | None = None


class ConfigBody(Body):
    """What to set of a config; a new one needs a title, and what is not given of one that exists stays."""

    title: str | None = Field(default=None, min_length=1, max_length=200)
    time_window_seconds: int | None = Field(default=None, ge=1, le=604_800)
    """How far apart two events of an entry may be."""
    min_events: int | None = Field(default=None, ge=1, le=1000)
    """So many events within the window make an entry."""
    labels: list[str | Named] | None = Field(default=None, max_length=100)
    """The kinds of detection that it is for; empty: all."""
    rois: list[str | Named] | None = Field(default=None, max_length=100)
    """The places that it is for, as globs over names; empty: all."""
    preset_tags: list[TagBody] | None = Field(default=None, max_length=100)
    """Actions and root causes to choose from."""
    allow_custom_action: bool | None = None
    allow_custom_root_cause: bool | None = None
    ack_mechanisms: list[Literal["button", "view", "act", "set_root_cause"]] | None = Field(default=None, min_length=1, max_length=4)
    """What acknowledges an entry."""


class SilenceBody(Body):
    """Until when a config makes no entries; null: it makes them again."""

    until: str | None = Field(max_length=40)
    """RFC 3339, or a date; without an offset it is UTC."""
    roi: str | None = Field(default=None, min_length=1, max_length=LONGEST_PLACE)
    """Only at this place (its name)."""


class TagAnswer(Answer):
    """A text to choose."""

    tag_category: Literal["action", "root_cause"]
    text: str


class RoiAnswer(Answer):
    """A place in the traffic."""

    name: str
    title: str
    api_name: str


class RoiSilenceAnswer(RoiAnswer):
    """A place at which a config makes no entries."""

    silenced_until: datetime


class LabelAnswer(Answer):
    """A kind of detection."""

    name: str
    title: str


class ConfigAnswer(Answer):
    """A config."""

    id: str
    created_at: datetime
    updated_at: datetime
    title: str
    preset_tags: list[TagAnswer]
    allow_custom_root_cause: bool
    allow_custom_action: bool
    ack_mechanisms: list[Literal["button", "view", "act", "set_root_cause"]]
    silenced_until: datetime | None
    silenced_rois: list[RoiSilenceAnswer]
    time_window_seconds: int
    min_events: int
    rois: list[RoiAnswer]
    """What it is set up for (a name may be a glob), then the places seen so far that it takes."""
    labels: list[LabelAnswer]


async def list_configs(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/alerts/configs`: the file's in its order, then those made here."""
    seen = await ask.services.entries.places()
    return json_response([_as_json(config, ask, seen) for config in await ask.services.entries.configs.all()])


async def get_config(ask: Ask) -> web.Response:
    """Answer `GET /api/v1/alerts/configs/{id}`."""
    try:
        return await _answer(ask, await ask.services.entries.configs.get(_id(ask)))
    except NoConfigError as error:
        raise _missing() from error


async def create(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/configs` with the config that was made."""
    body = ask.body_as(ConfigBody)
    if body.title is None:
        raise InvalidError("missing title", param="title")
    try:
        made = await ask.services.entries.configs.create(_settings({}, body), actor=ask.who.name)
    except TooManyConfigsError as error:
        raise ApiError(409, str(error)) from error
    return await _answer(ask, made, status=201)


async def change(ask: Ask) -> web.Response:
    """Answer `PUT /api/v1/alerts/configs/{id}` with the config as it is then."""
    configs = ask.services.entries.configs
    try:
        before = await configs.get(_id(ask))
        settings = _settings(before.settings.model_dump(exclude={"id"}), ask.body_as(ConfigBody))
        return await _answer(ask, await configs.change(before.id, settings, actor=ask.who.name))
    except NoConfigError as error:
        raise _missing() from error
    except DefinedInConfigError as error:
        raise ApiError(409, str(error)) from error


async def remove(ask: Ask) -> web.Response:
    """Answer `DELETE /api/v1/alerts/configs/{id}`; its entries stay."""
    try:
        await ask.services.entries.configs.remove(_id(ask), actor=ask.who.name)
    except NoConfigError as error:
        raise _missing() from error
    except DefinedInConfigError as error:
        raise ApiError(409, str(error)) from error
    return web.Response(status=204)


async def silence(ask: Ask) -> web.Response:
    """Answer `POST /api/v1/alerts/configs/{id}/silence` with the config as it is then."""
    body = ask.body_as(SilenceBody)
    until = None if body.until is None else _until(body.until, now=ask.services.now())
    place_name = EVERYWHERE if body.roi is None else body.roi
    try:
        config = await ask.services.entries.configs.silence(_id(ask), place=place_name, until=until, actor=ask.who.name)
    except NoConfigError as error:
        raise _missing() from error
    return await _answer(ask, config)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/alerts/configs",
        handler=list_configs,
        scope=Scope.ALERTS_READ,
        feed="entries",
        answers={200: list[ConfigAnswer]},
        summary="List the configs by which detections become entries",
    ),
    Route(
        method="POST",
        path="/api/v1/alerts/configs",
        handler=create,
        scope=Scope.CONFIG_WRITE,
        feed="entries",
        body=ConfigBody,
        answers={201: ConfigAnswer},
        errors=(409,),
        summary="Make a config",
    ),
    Route(
        method="GET",
        path="/api/v1/alerts/configs/{id}",
        handler=get_config,
        scope=Scope.ALERTS_READ,
        feed="entries",
        answers={200: ConfigAnswer},
        summary="Show one config",
    ),
    Route(
        method="PUT",
        path="/api/v1/alerts/configs/{id}",
        handler=change,
        scope=Scope.CONFIG_WRITE,
        feed="entries",
        body=ConfigBody,
        answers={200: ConfigAnswer},
        errors=(409,),
        summary="Change a config that was made here; what is not given stays",
    ),
    Route(
        method="DELETE",
        path="/api/v1/alerts/configs/{id}",
        handler=remove,
        scope=Scope.CONFIG_WRITE,
        feed="entries",
        answers={204: None},
        errors=(409,),
        summary="Delete a config that was made here; its entries stay",
    ),
    Route(
        method="POST",
        path="/api/v1/alerts/configs/{id}/silence",
        handler=silence,
        scope=Scope.ALERTS_WRITE,
        feed="entries",
        body=SilenceBody,
        answers={200: ConfigAnswer},
        summary="Make no entries by a config until a moment, at one place or at all; null makes them again",
    ),
)


def _id(ask: Ask) -> str:
    return ask.request.match_info["id"]


def _missing() -> ApiError:
    return ApiError(404, "config not found")


def _until(text: str, *, now: datetime) -> datetime:
    try:
        until = parse_moment(text)
    except ValueError as error:
        raise InvalidError(f"invalid until: {_USE_MOMENT}", param="until") from error
    if until <= now:
        raise InvalidError(f"invalid until: it is over, now is {moment(now)}; use null to end a silence", param="until")
    return until


def _settings(before: Mapping[str, object], body: ConfigBody) -> EntryConfigSettings:
    """Return a config with what the body gives in the place of what it was. Raises InvalidError."""
    given = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
    try:
        return EntryConfigSettings.model_validate({**before, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        raise InvalidError(f"{key}: {first['msg'].removeprefix('Value error, ')}", param=key) from error


async def _answer(ask: Ask, config: KeptConfig, *, status: int = 200) -> web.Response:
    return json_response(_as_json(config, ask, await ask.services.entries.places()), status=status)


def _as_json(config: KeptConfig, ask: Ask, seen: Sequence[Place]) -> dict[str, object]:
    settings, now = config.settings, to_micros(ask.services.now())
    silences = {name: from_micros(one.until_at) for name, one in config.silences.items() if one.until_at > now}
    return {
        "id": config.id,
        "created_at": moment(config.created_at),
        "updated_at": moment(config.updated_at),
        "title": settings.title,
        "preset_tags": [{"tag_category": tag.tag_category.value, "text": tag.text} for tag in settings.preset_tags],
        "allow_custom_root_cause": settings.allow_custom_root_cause,
        "allow_custom_action": settings.allow_custom_action,
        "ack_mechanisms": [one.value for one in settings.ack_mechanisms],
        "silenced_until": moment_or_null(silences.get(EVERYWHERE)),
        "silenced_rois": [{**place_json(place(name)), "silenced_until": moment(at)} for name, at in silences.items() if name != EVERYWHERE],
        "time_window_seconds": settings.time_window_seconds,
        "min_events": settings.min_events,
        "rois": [place_json(one) for one in _places(settings, seen)],
        "labels": [label_json(label) for label in settings.labels or LABELS],
    }


def _places(settings: EntryConfigSettings, seen: Sequence[Place]) -> list[Place]:
    """Return the places that a config is set up for, then those seen so far that it takes."""
    named = [place(name) for name in settings.rois]
    takes = compile_patterns(settings.rois or "*")
    return [*named, *(one for one in seen if one.name not in settings.rois and takes(one.name))]
