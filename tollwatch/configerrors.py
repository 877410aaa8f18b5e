"""What is wrong with a config, said in sentences: where, which key, which value, what to do."""

import difflib
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, TypeAliasType, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tollwatch.rawconfig import KeyPath, RawConfig, dotted, suggestion

_SECRET_LENGTH = 4
"""A shorter one is also part of common words; it is masked where it stands in quotes."""
_RANK = {"extra_forbidden": 0, "value_error": 1, "missing": 2}
_SHAPES = {
    "string_type": "is not text; put it in quotes",
    "int_type": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "decimal_parsing": "is not a number",
    "decimal_type": "is not a number",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "tuple_type": "is not a list; write [a, b] or lines that begin with '- '",
    "model_type": "is not a section; write its keys on the lines below, or {key: value}",
    "dict_type": "is not a mapping; write {name: value}",
    "mapping_type": "is not a mapping; write {name: value}",
    "path_type": "is not a path",
    "uuid_parsing": "is not a UUID",
    "uuid_type": "is not a UUID",
    "date_from_datetime_parsing": "is not a date; write 2026-12-31",
    "date_type": "is not a date; write 2026-12-31",
    "date_parsing": "is not a date; write 2026-12-31",
}


def sentences(error: ValidationError, raw: RawConfig, model: type[BaseModel]) -> list[str]:
    """Return one sentence for each faulty key, in the order of the file."""
    best: dict[KeyPath, ErrorDetails] = {}
    for detail in error.errors(include_url=False):
        path = _path_in_file(detail, raw)
        if path not in best or _rank(detail) < _rank(best[path]):
            best[path] = detail
    meant = {(*path[:-1], near) for path, detail in best.items() if (near := _meant(path, detail, model))}
    best = {path: detail for path, detail in best.items() if not (detail["type"] == "missing" and path in meant)}
    nested = [path for path in best if any(other != path and other[: len(path)] == path for other in best)]
    kept = {path: detail for path, detail in best.items() if path not in nested}
    return [
        f"{raw.where(path)}: {_sentence(path, detail, raw, model)}"
        for path, detail in sorted(kept.items(), key=lambda item: _order(item[0], raw))
    ]


def fields_at(model: type[BaseModel], path: KeyPath) -> dict[str, str]:
    """Return the keys (as written in the file) and their field names of the section at `path`; empty when there is none."""
    section: type[BaseModel] | None = model
    for key in path:
        if isinstance(key, int) or section is None:
            continue
        name = _keys(section).get(key)
        section = _section_in(section.model_fields[name].annotation) if name else None
    return _keys(section) if section else {}


def _meant(path: KeyPath, detail: ErrorDetails, model: type[BaseModel]) -> str | None:
    """Return the key that an unknown one is a slip of."""
    if detail["type"] != "extra_forbidden":
        return None
    return next(iter(difflib.get_close_matches(str(path[-1]), fields_at(model, path[:-1]), n=1)), None)


def _keys(section: type[BaseModel]) -> dict[str, str]:
    return {field.alias or name: name for name, field in section.model_fields.items()}


def _section_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401  # any type annotation
    if isinstance(annotation, TypeAliasType):
        return _section_in(annotation.__value__)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        return next((section for part in get_args(annotation) if (section := _section_in(part))), None)
    return None


def _rank(detail: ErrorDetails) -> int:
    return _RANK.get(detail["type"], 3)


def _order(path: KeyPath, raw: RawConfig) -> int:
    return next((line for length in range(len(path), 0, -1) if (line := raw.lines.get(path[:length]))), 0)


def _path_in_file(detail: ErrorDetails, raw: RawConfig) -> KeyPath:
    """Drop the names of union members, which pydantic puts into its paths, and keep what stands in the file."""
    value: Any = raw.values
    path: list[str | int] = []
    last = detail["loc"][-1] if detail["loc"] else None
    for part in detail["loc"]:
        if isinstance(value, Mapping) and part in value:
            value = value[part]  # pyright: ignore[reportUnknownVariableType]  # values of a YAML file
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]  # pyright: ignore[reportUnknownVariableType]  # the same
        elif not (part == last and detail["type"] == "missing"):
            continue
        path.append(part)
    return tuple(path)


def _sentence(path: KeyPath, detail: ErrorDetails, raw: RawConfig, model: type[BaseModel]) -> str:
    kind, name = detail["type"], dotted(path)
    if kind == "extra_forbidden":
        return f"unknown key {name}{suggestion(str(path[-1]), list(fields_at(model, path[:-1])))}"
    if kind == "missing":
        return f"{name} is missing; add it"
    if kind == "value_error":
        return f"{name}: {_without_secrets(detail['msg'].removeprefix('Value error, '), raw)}"
    return f"{name}: {_cut(raw.references.get(path) or repr(detail['input']))} {_wrong(detail)}"


def _without_secrets(message: str, raw: RawConfig) -> str:
    """Return what a validator says, with each value that a `${…}` stood for put back to the reference."""
    for path, reference in raw.references.items():
        value: Any = raw.values
        for key in path:
            value = value[key]
        message = message.replace(repr(value), reference)
        message = message.replace(value, reference) if len(value) >= _SECRET_LENGTH else message
    return message


def _wrong(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in {"literal_error", "enum"}:
        words = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"is not one of {', '.join(words)}{_near(str(detail['input']), words)}"
    if kind in {"greater_than_equal", "less_than_equal"}:
        return f"is too {'small; at least' if kind[0] == 'g' else 'large; at most'} {next(iter(context.values()))}"
    if kind in {"string_too_short", "string_too_long"}:
        bound = "least" if kind.endswith("short") else "most"
        return f"is too {kind.removeprefix('string_too_')}; {next(iter(context.values()))} characters are the {bound}"
    return _SHAPES.get(kind) or f"does not fit: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _near(word: str, words: list[str]) -> str:
    hint = suggestion(word, words)
    return hint if "did you mean" in hint else ""


def _cut(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def section_keys(model: type[BaseModel], prefix: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of each key of `model`, those inside sections and lists of sections included."""
    for key, name in _keys(model).items():
        yield (*prefix, key)
        if section := _section_in(model.model_fields[name].annotation):
            yield from section_keys(section, (*prefix, key))
