"""JSON that can be read in one way only: what two parsers could read differently is refused."""

import json
from typing import NoReturn, cast

import orjson

from proxy import json_scan
from proxy.spelling import refuse_twins


class UnreadableError(ValueError):
    """The body has no single meaning. The message says where it has two."""


def parse(data: bytes) -> dict[str, object]:
    """Return the object in `data`.

    Refused: what is no UTF-8 JSON object; a byte order mark, NaN, Infinity, lone surrogates; a name twice in one object; nesting
    beyond 64 levels; more than 200,000 values; the members that policies read in another case or with odd signs.
    """
    if (much := json_scan.too_much(data)) is not None:
        raise UnreadableError(much)
    try:
        value = cast("object", orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the body is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UnreadableError("the body is not a JSON object")
    body = cast("dict[str, object]", value)
    _refuse_repeated(data, body)
    try:
        refuse_twins(body)
    except ValueError as error:
        raise UnreadableError(str(error)) from None
    return body


def _refuse_repeated(data: bytes, body: dict[str, object]) -> None:
    """Most clients write what orjson writes: equal bytes prove that no member got lost. Any other body is parsed once more, looking."""
    if orjson.dumps(body) == data:
        return
    json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise UnreadableError(f"the member {twin[:40]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise UnreadableError(f"{name} is not JSON")
