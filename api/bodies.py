"""JSON bodies of requests, read under a deadline and checked against a model."""

import asyncio
import re
from collections.abc import Collection, Iterator, Sequence
from typing import cast
from urllib.parse import parse_qsl

import orjson
from aiohttp import web
from multidict import MultiDict
from pydantic import BaseModel, ConfigDict, ValidationError

from api.errors import ApiError, InvalidError
from api.params import Query, read_query

DEADLINE_SECONDS = 10.0
MAX_BYTES = 1 << 20
DEEPEST = 64
"""How deep a body may be nested where it has to be walked."""

_EXACT = 1 << 53
"""Below it a float is exactly one integer."""
_ODD = re.compile(rb"\\u0000|[0-9]\.0|[0-9][eE]")
"""What `_plain` is for."""


class Body(BaseModel):
    """A request body: types are not converted, and an unknown key is an error. A docstring under a field describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Answer(BaseModel):
    """What a route answers, for its description and the tests; handlers need not build it. A docstring under a field describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def without(value: object, keys: Collection[str]) -> object:
    """Return what is to be checked without keys that answers have: so that an answer, changed, may be sent back."""
    return {key: one for key, one in cast("dict[str, object]", value).items() if key not in keys} if isinstance(value, dict) else value


async def read_raw(request: web.Request) -> bytes:
    """Return the body. Raises ApiError: 408 when it does not come, 400 when it breaks off; aiohttp's own 413 when it is too large."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise ApiError(408, f"the body did not arrive within {DEADLINE_SECONDS:g} seconds", headers={"Connection": "close"}) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise ApiError(400, "the body broke off or is not encoded as declared") from error


def parse_body[T: BaseModel](raw: bytes, model: type[T]) -> T:
    """Return JSON as `model`. Raises InvalidError, which says what is wrong but never the value: it may be a password."""
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    if not isinstance(value, dict):
        raise InvalidError("the body must be a JSON object")
    if _ODD.search(raw):
        raw = orjson.dumps(_plain(cast("object", value)))
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(error, cast("object", value)) from error


def parse_form[T: Query](raw: bytes, model: type[T]) -> T:
    """Return a form as `model`; a field that is not named there, or has no value, is not read. Raises InvalidError."""
    try:
        pairs = parse_qsl(raw.decode(), max_num_fields=100)
    except ValueError as error:
        raise InvalidError("the body is no form in UTF-8 of at most 100 fields") from error
    return read_query(MultiDict(pairs), model)


def _keys(path: Sequence[int | str], given: object, *, named: bool) -> Iterator[str]:
    """Yield the keys that lead to what is wrong, without what pydantic calls the sides of a union; `named`: one may be missing."""
    for part in path:
        if isinstance(given, dict) and part in given:
            given = cast("dict[object, object]", given)[part]
        elif isinstance(given, list) and isinstance(part, int):
            given = cast("list[object]", given)[part]
        elif not (named and isinstance(given, dict)):
            continue
        yield str(part)


def _plain(value: object, depth: int = 0) -> object:
    """Return JSON whose whole numbers are integers however they were written (5.0 is one to JSON schema). Raises InvalidError."""
    if depth > DEEPEST:
        raise InvalidError(f"the body is nested deeper than {DEEPEST} levels")
    if isinstance(value, str) and "\0" in value:
        raise InvalidError("the body has a NUL character, which no text here may have")
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return {cast("str", _plain(key)): _plain(part, depth + 1) for key, part in pairs}
    return [_plain(part, depth + 1) for part in cast("list[object]", value)] if isinstance(value, list) else value


def _refusal(error: ValidationError, given: object) -> InvalidError:
    """Say which key is wrong and why."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(_keys(first["loc"], given, named=first["type"] == "missing")) or None
    if first["type"] == "missing":
        return InvalidError(f"missing {where}", param=where)
    if first["type"] == "extra_forbidden":
        return InvalidError(f"unknown key {where}", param=where)
    said = str(first["ctx"]["error"]) if first["type"] == "value_error" and "ctx" in first else first["msg"]
    return InvalidError(f"{where or 'body'}: {said[:1].lower()}{said[1:]}", param=where)
