"""What a route must not take: made from its models, one flaw at a time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator

from api.params import Parameter, Query, parameters
from api.route import Route

type Json = Any

WRONG_TYPES: tuple[Json, ...] = (None, True, 1.5, -7, 10**30, "\u202e no such word", "", [1], {"no": "such"}, [], {})
DEEP = b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}"
WHOLE: tuple[tuple[str, bytes], ...] = (
    ("no JSON", b"{"),
    ("a list", b"[]"),
    ("null", b"null"),
    ("a number", b"1"),
    ("two values", b"{}{}"),
    ("no number", b'{"x": NaN}'),
    ("no UTF-8", b'{"x": "\xff"}'),
    ("half a character", b'{"x": "\\ud800"}'),
    ("a byte order mark", b"\xef\xbb\xbf{}"),
    ("too deep", DEEP),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing that is wrong, and the parameter or key that a refusal must name."""

    what: str
    query: str = ""
    body: bytes | None = None
    names: str | None = None


def query_flaws(route: Route) -> Iterator[Flaw]:
    """Yield each way in which one parameter of a route can be wrong."""
    assert route.query
    needed = "&".join(f"{one.name}={quote(fitting(one))}" for one in parameters(route.query) if one.required)
    for one in parameters(route.query):
        others = "&".join(pair for pair in needed.split("&") if pair and not pair.startswith(f"{one.name}="))
        for what, texts in _texts(one):
            pairs = "&".join(f"{one.name}={text}" for text in texts)
            yield Flaw(what=f"{one.name} {what}", query="&".join(filter(None, (pairs, others))), names=one.name)


def _texts(one: Parameter) -> Iterator[tuple[str, list[str]]]:
    good = quote(fitting(one))
    yield "is empty", [""]
    yield "has a NUL", ["a%00b"]
    yield "has a control character", ["a%1bb"]
    yield "is too long", ["x" * (one.schema.get("maxLength", 200) + 1)]
    yield "is given too often", [good] * (one.most + 1)
    if one.required:
        yield "is missing", []
    for text in _unfit(one):
        yield f"is {text}", [quote(text)]


def _unfit(one: Parameter) -> list[str]:
    schema = one.schema
    least, most = schema.get("minimum", 0), schema.get("maximum", 0)
    match schema.get("format") or schema.get("type"):
        case "integer":
            return ["x", str(least - 1), str(most + 1), "1.0", "1e1", "0x1", " 1", "+1", "1_0", "٣", "9" * 40]
        case "number":
            return ["x", str(least - 1), "nan", "inf", "1e3", "٣"]
        case "boolean":
            return ["1", "True", "yes", "truefalse"]
        case "date-time":
            return ["yesterday", "2025-13-01", "2025-01-15T25:00:00Z", "12", "-1", "2025-01-15T10:30:00Zx", "0001-01-01T00:00:00+23:59"]
        case _:
            return ["no such word", "\u202eword", "😀"] if "enum" in schema or "const" in schema else []


def fitting(one: Parameter) -> str:
    """Return a text that a parameter takes."""
    schema = one.schema
    match schema.get("format") or schema.get("type"):
        case "integer" | "number":
            return str(schema.get("minimum", 1))
        case "boolean":
            return "true"
        case "date-time":
            return "2025-01-15T10:30:00Z"
        case _:
            return str(schema.get("enum", [schema.get("const", "a")])[0])


def body_flaws(route: Route) -> Iterator[Flaw]:
    """Yield each way in which a JSON body can be wrong: as a whole, and key by key of a body that fits its schema."""
    assert route.body
    assert not issubclass(route.body, Query)
    schema = route.body.model_json_schema()
    validator = Draft202012Validator(schema)
    for what, raw in WHOLE:
        yield Flaw(what=f"the body is {what}", body=raw)
    base = _sample(schema, schema)
    fits = validator.is_valid(base)
    for key, inner in schema.get("properties", {}).items():
        for what, value in (*_values(inner, schema), ("has a NUL", "a\0b")):
            changed = {**base, key: value}
            if what == "has a NUL" or not validator.is_valid(changed):
                named = key if fits and what != "has a NUL" else None
                yield Flaw(what=f"{key} {what}", body=json.dumps(changed).encode(), names=named)
    for key in schema.get("required", ()):
        yield Flaw(what=f"{key} is missing", body=json.dumps({name: base[name] for name in base if name != key}).encode(), names=key)
    if schema.get("additionalProperties") is False:
        yield Flaw(what="there is an unknown key", body=json.dumps({**base, "nonsense": 1}).encode(), names="nonsense" if fits else None)


def _values(inner: Json, whole: Json) -> Iterator[tuple[str, Json]]:
    for value in WRONG_TYPES:
        yield f"is {value!r}", value
    for option in _options(inner, whole):
        for bound, beyond in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0), ("exclusiveMaximum", 0)):
            if bound in option:
                yield f"is beyond its {bound}", option[bound] + beyond
        if "maxLength" in option:
            yield "is too long", "x" * (option["maxLength"] + 1)
        if "maxItems" in option:
            yield "has too many", [_sample(option.get("items", {}), whole)] * (option["maxItems"] + 1)
        for name, part in option.get("properties", {}).items():
            for value in WRONG_TYPES:
                yield f".{name} is {value!r}", {**_sample(option, whole), name: value}
            del part


def _options(schema: Json, whole: Json) -> list[Json]:
    schema = _resolved(schema, whole)
    return [_resolved(option, whole) for option in schema.get("anyOf", [schema])]


def _resolved(schema: Json, whole: Json) -> Json:
    while "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _sample(schema: Json, whole: Json) -> Json:
    """Return a small value of a schema."""
    schema = _options(schema, whole)[0]
    if "enum" in schema or "const" in schema:
        return schema.get("enum", [schema.get("const")])[0]
    makers: dict[str | None, Callable[[], Json]] = {
        "object": lambda: {key: _sample(schema["properties"][key], whole) for key in schema.get("required", ())},
        "array": lambda: [_sample(schema.get("items", {}), whole)] * schema.get("minItems", 0),
        "integer": lambda: max(schema.get("minimum", 1), 1),
        "number": lambda: max(schema.get("minimum", 1), 1),
        "boolean": lambda: True,
    }
    text = "2025-01-15T10:30:00Z" if schema.get("format") == "date-time" else "a" * max(1, schema.get("minLength", 1))
    return makers.get(schema.get("type"), lambda: text)()
