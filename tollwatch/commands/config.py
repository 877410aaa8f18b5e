"""`config show|validate|schema|explain`."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import PlainValidatorFunctionSchema

from metering.units import NANO, Limit
from tollwatch.config import Config, validate
from tollwatch.configerrors import fields_at, section_keys
from tollwatch.exits import CommandError, Exit
from tollwatch.output import counted, json_value, line
from tollwatch.rawconfig import RawConfig, dotted, read_config, suggestion
from tollwatch.reference import explanation


class _Schema(GenerateJsonSchema):
    """Amounts that people write (`50 USD`) are text."""

    def function_plain_schema(self, schema: PlainValidatorFunctionSchema) -> JsonSchemaValue:  # noqa: ARG002  # all of ours read text
        return {"type": "string"}


def show(arguments: Namespace) -> int:
    """Print the config in force."""
    raw = read_config(arguments.config)
    shown = _shown(raw)
    if arguments.json:
        json_value(shown)
        return Exit.OK
    line(f"# {raw.path or 'no config file: all defaults'}")
    line(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).rstrip())
    return Exit.OK


def _shown(raw: RawConfig) -> dict[str, Any]:
    plain = cast("dict[str, Any]", _written(validate(raw)))
    for path, reference in raw.references.items():
        _put(plain, path, reference)  # what stands behind a reference may be a secret
    return plain


def _written(value: object) -> object:
    """Return a value as it is written in a config file."""
    if isinstance(value, BaseModel):
        return {field.alias or name: _written(getattr(value, name)) for name, field in type(value).model_fields.items()}
    if isinstance(value, Mapping):
        return {key: _written(child) for key, child in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_written(child) for child in cast("Sequence[object]", value)]
    if isinstance(value, Limit):
        return f"{Decimal(value.amount) / NANO:f} USD" if value.unit == "usd" else f"{value.amount} tokens"
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
    plain = float(value) if isinstance(value, Decimal) else value
    return plain if plain is None or isinstance(plain, bool | int | float) else str(plain)


def _at(shown: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401  # values of a config
    for key in path:
        if not isinstance(shown, dict):
            return None
        shown = cast("dict[str, Any]", shown).get(key)
    return shown


def _put(shown: Any, path: tuple[str | int, ...], value: str) -> None:  # noqa: ANN401  # values of a config
    for key in path[:-1]:
        shown = shown[key]
    shown[path[-1]] = value


def validate_command(arguments: Namespace) -> int:
    """Say whether the config can be used."""
    raw = read_config(arguments.config)
    config = validate(raw)
    if arguments.json:
        json_value({"valid": True, "file": str(raw.path) if raw.path else None})
        return Exit.OK
    name = raw.path or "No config file (all defaults)"
    line(f"{name}: valid; mode {config.mode}, {counted(len(config.rules), 'rule')}, {counted(len(config.budgets), 'budget')}")
    return Exit.OK


def schema(_arguments: Namespace) -> int:
    """Print the JSON schema."""
    json_value(Config.model_json_schema(by_alias=True, schema_generator=_Schema))
    return Exit.OK


def explain(arguments: Namespace) -> int:
    """Say what a key means, what it is now and what it is by default."""
    path = tuple(part for part in arguments.key.split(".") if not part.isdecimal())
    known = {dotted(key) for key in section_keys(Config)}
    if dotted(path) not in known:
        near = list(fields_at(Config, path[:-1]))
        hint = suggestion(path[-1], near) if near else suggestion(dotted(path), list(known))
        raise CommandError(f"There is no key {arguments.key}{hint}", Exit.USAGE)
    now = _at(_shown(read_config(arguments.config)), path)
    text = explanation(path)
    if arguments.json:
        json_value({"key": dotted(path), "now": now, "explanation": text})
        return Exit.OK
    line(f"{dotted(path)}\n  {text.replace(chr(10), chr(10) + '  ')}\n  now: {now}")
    return Exit.OK
