"""Query parameters as models: a field a parameter, read from text with its limits; a refusal names the parameter and what it accepts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict, ValidationError

from api.errors import InvalidError
from api.times import parse_moment

LONGEST = 200
"""How many characters a text has at most where its field says no other number."""
MOST_REPEATED = 50
"""How often a parameter that may be repeated may be given where its field says no other number."""
UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Characters that no parameter has: controls, and halves of characters, which no store keeps."""

_WHOLE = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_MOMENT = "use RFC 3339, for example 2025-01-15T10:30:00Z, a date or unix seconds"


class Query(BaseModel):
    """The query parameters of a route. A docstring under a field describes it; what no field names is not read.

    Fields may be `str`, `int`, `float`, `bool`, `datetime` (see `parse_moment`), literals and enumerations of strings, or a tuple of
    these for a parameter that may be repeated.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter: its name in the URL, and what it accepts as JSON schema."""

    name: str
    required: bool
    most: int
    """How often it may be given."""
    schema: Mapping[str, Any]
    """Of one value."""
    described: str

    def read(self, text: str) -> object:
        """Return a value of this parameter. Raises InvalidError."""
        most = self.schema.get("maxLength", LONGEST)
        if UNFIT.search(text):
            raise self.refuse("it has control characters or is not UTF-8")
        if not text or len(text) > most:
            raise self.refuse(f"it has 1 to {most} characters")
        try:
            return _READERS[_kind(self.schema)](text)
        except ValueError as error:
            raise self.refuse() from error

    def refuse(self, why: str | None = None) -> InvalidError:
        """Return the error that says why a value will not do, or else what would."""
        return InvalidError(f"invalid {self.name}: {why or _accepted(self.schema)}", param=self.name)


@cache
def parameters(model: type[Query]) -> tuple[Parameter, ...]:
    """Return the parameters of a model, in the order of its fields."""
    whole = model.model_json_schema()
    required, definitions = whole.get("required", ()), whole.get("$defs", {})
    return tuple(_parameter(name, schema, name in required, definitions) for name, schema in whole.get("properties", {}).items())


def read_query[T: Query](given: MultiMapping[str], model: type[T]) -> T:
    """Return the parameters of a URL, or the fields of a form, as `model`. Raises InvalidError."""
    known = {parameter.name: parameter for parameter in parameters(model)}
    values: dict[str, object] = {}
    for name, parameter in known.items():
        texts = given.getall(name, [])
        if len(texts) > parameter.most:
            raise parameter.refuse(f"it is given {len(texts)} times")
        read = [parameter.read(text) for text in texts]
        if read:
            values[name] = tuple(read) if parameter.most > 1 else read[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _refusal(error, known) from error


def _refusal(error: ValidationError, known: Mapping[str, Parameter]) -> InvalidError:
    first = error.errors(include_input=False, include_url=False)[0]
    said = str(first["ctx"]["error"]) if first["type"] == "value_error" and "ctx" in first else None
    if not first["loc"]:
        return InvalidError(said or first["msg"])
    parameter = known[str(first["loc"][0])]
    if first["type"] == "missing":
        return InvalidError(f"missing {parameter.name}", param=parameter.name)
    return parameter.refuse(said)


def _parameter(name: str, schema: Mapping[str, Any], required: bool, definitions: Mapping[str, Any]) -> Parameter:  # noqa: FBT001 - private
    described = str(schema.get("description", ""))
    one = _resolved(schema, definitions)
    most = 1
    if one.get("type") == "array":
        most = one.get("maxItems", MOST_REPEATED)
        one = _resolved(one["items"], definitions)
    bounds = {"minLength": 1, "maxLength": 40 if one.get("format") == "date-time" else LONGEST}
    if one.get("type") == "string" and "enum" not in one and "const" not in one:
        one = {**bounds, **one}
    return Parameter(name=name, required=required, most=most, schema=one, described=described)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references and without null: a URL cannot say null."""
    kept = {key: value for key, value in schema.items() if key not in {"title", "description", "$ref", "anyOf"}}
    inner: Mapping[str, Any] = {}
    if "$ref" in schema:
        inner = _resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        others = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(others) != 1:
            raise TypeError(f"Cannot read a query parameter of several types: {schema['anyOf']}")
        inner = _resolved(others[0], definitions)
    merged = {**inner, **kept}
    if merged.get("default", ...) is None:
        del merged["default"]
    return merged


def _kind(schema: Mapping[str, Any]) -> str:
    return cast("str", schema.get("format") if schema.get("format") == "date-time" else schema.get("type", "string"))


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


_READERS: Mapping[str, Callable[[str], object]] = {
    "string": str,
    "integer": _whole,
    "number": _number,
    "boolean": _flag,
    "date-time": parse_moment,
}


def _accepted(schema: Mapping[str, Any]) -> str:
    match _kind(schema):
        case "boolean":
            return "use one of true, false"
        case "integer" | "number" as kind:
            noun = "a whole number" if kind == "integer" else "a number"
            least, most = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
            bounds = (f" from {least}" if least is not None else "") + (f" to {most}" if most is not None else "")
            return f"use {noun}{bounds}"
        case "date-time":
            return _MOMENT
        case _:
            words = schema.get("enum", [schema["const"]] if "const" in schema else ())
            return f"use one of {', '.join(words)}" if words else f"it must match {schema.get('pattern', 'what is documented')}"
