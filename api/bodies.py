"""JSON bodies of requests, read under a deadline and checked against a model."""

import asyncio
from typing import cast

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from api.errors import ApiError

DEADLINE_SECONDS = 10.0
MAX_BYTES = 1 << 20


class Body(BaseModel):
    """A request body: types are not converted, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


async def read_body[T: Body](request: web.Request, model: type[T]) -> T:
    """Return the body as `model`. Raises ApiError: 400 names what is wrong, 408 a body that does not come, 413 one that is too large."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            raw = await request.read()
    except TimeoutError as error:
        raise ApiError(408, f"the body did not arrive within {DEADLINE_SECONDS:g} seconds", headers={"Connection": "close"}) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise ApiError(400, "the body broke off or is not encoded as declared") from error
    value = _object(raw)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ApiError(400, _explain(error)) from error


def _object(raw: bytes) -> dict[str, object]:
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object")
    return cast("dict[str, object]", value)


def _explain(error: ValidationError) -> str:
    """Say which key is wrong and why. Never the value: it may be a password."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"])) or "body"
    if first["type"] == "missing":
        return f"missing {where}"
    if first["type"] == "extra_forbidden":
        return f"unknown key {where}"
    return f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
