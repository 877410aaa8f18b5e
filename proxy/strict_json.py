"""JSON that can be read in one way only: what two parsers could read differently is refused."""

import json
from typing import NoReturn, cast

import orjson

MAX_DEPTH = 64
MAX_NODES = 200_000

_POLICY_KEYS = frozenset(
    {
        "model",
        "messages",
        "input",
        "prompt",
        "system",
        "instructions",
        "stream",
        "tools",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
    }
)
"""Some servers match the names of members without regard to case (Go's encoding/json): a twin of these would be read there."""


class UnreadableError(ValueError):
    """The body has no single meaning. The message says where it has two."""


def parse(data: bytes) -> dict[str, object]:
    """Return the object in `data`.

    Refused: what is no UTF-8 JSON object; a byte order mark, NaN, Infinity, lone surrogates; a name twice in one object; nesting
    beyond 64 levels; more than 200,000 values; the members that policies read in another case.
    """
    try:
        value = cast("object", orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the body is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UnreadableError("the body is not a JSON object")
    body = cast("dict[str, object]", value)
    _bound_size(data, body)
    _refuse_twins(data, body)
    for name in body:
        if name not in _POLICY_KEYS and name.casefold() in _POLICY_KEYS:
            raise UnreadableError(f"the member {name[:40]!r} differs from {name.casefold()!r} by case only")
    return body


def _bound_size(data: bytes, body: dict[str, object]) -> None:
    openers = _up_to(MAX_DEPTH + 1, data, b"{") + _up_to(MAX_DEPTH + 1, data, b"[")
    few = len(data) <= 2 * MAX_NODES  # a value takes at least one byte, and one to part it from the next
    if openers <= MAX_DEPTH and (few or openers + data.count(b",") <= MAX_NODES):
        return
    depth, nodes = 0, 1
    level: list[object] = [body]
    while level:
        depth += 1
        children: list[object] = []
        for node in level:
            values = cast("dict[str, object]", node).values() if isinstance(node, dict) else cast("list[object]", node)
            nodes += len(values)
            children.extend(cast("object", value) for value in values if isinstance(value, dict | list))
        if depth > MAX_DEPTH:
            raise UnreadableError(f"the body is nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            raise UnreadableError(f"the body has more than {MAX_NODES:,} values")
        level = children


def _up_to(most: int, data: bytes, byte: bytes) -> int:
    """Count a byte, but not further than `most`: looking for the next one is ten times as fast as `bytes.count`."""
    at = -1
    for found in range(most):
        at = data.find(byte, at + 1)
        if at < 0:
            return found
    return most


def _refuse_twins(data: bytes, body: dict[str, object]) -> None:
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
