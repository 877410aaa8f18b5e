"""The config file as plain values, each with the line it stands on; nothing here imports a model, so that `env` and `exec` start fast."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import yaml

DEFAULT_DATA_DIR: Final = "~/.local/state/tollwatch"
DEFAULT_FORWARD: Final = "127.0.0.1:8080"
DEFAULT_BASE_URL: Final = "127.0.0.1:8081"
DEFAULT_API: Final = "127.0.0.1:3100"

type KeyPath = tuple[str | int, ...]
type Values = dict[str, Any]

_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_OVERRIDE = "TOLLWATCH_"
_NOT_OVERRIDES = frozenset({"TOLLWATCH_CONFIG"})


class ConfigError(Exception):
    """The config cannot be used. The message names the file, the line, the key, the value and the remedy, one sentence a fault."""


@dataclass(slots=True)
class RawConfig:
    """What the file and the environment say, before it is validated."""

    path: Path | None
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    lines: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    origins: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    """The variable that set a value."""
    references: dict[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    """What a value was before its `${…}` were put in: this is printed, since what they stand for may be a secret."""

    def get(self, *keys: str, default: str) -> str:
        """Return the text at `keys`, or the default where the config says nothing (or something that validation will refuse)."""
        value: object = self.values
        for key in keys:
            value = _inside(value, key)
        return value if isinstance(value, str) else default

    @property
    def data_dir(self) -> Path:
        """The data directory, absolute."""
        return absolute(self.get("data_dir", default=DEFAULT_DATA_DIR))

    def where(self, path: KeyPath) -> str:
        """Return how to find a key: `config.yaml:12`, the variable that set it, or just the file."""
        for length in range(len(path), 0, -1):
            if origin := self.origins.get(path[:length]):
                return origin
            if line := self.lines.get(path[:length]):
                return f"{self.path}:{line}"
        return str(self.path) if self.path else "config"


def _inside(value: object, key: str) -> object:
    return cast("Values", value).get(key) if isinstance(value, dict) else None


def absolute(path: str) -> Path:
    """Return `path` with `~` and relative parts resolved; links are kept."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  # Path.resolve would follow links


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the config file: --config, $TOLLWATCH_CONFIG, ./config.yaml, ~/.config/tollwatch/config.yaml; None when there is none."""
    for named, by in ((explicit, "--config"), (environ.get("TOLLWATCH_CONFIG"), "TOLLWATCH_CONFIG")):
        if named:
            path = absolute(str(named))
            if not path.is_file():
                raise ConfigError(f"{path}, named by {by}, is not a file: correct the path, or leave it out to use the defaults")
            return path
    for candidate in (Path("config.yaml"), user_config(environ)):
        if candidate.is_file():
            return absolute(str(candidate))
    return None


def user_config(environ: Mapping[str, str]) -> Path:
    """Return where the user's own config file is looked for."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / "tollwatch" / "config.yaml"


def read_config(explicit: Path | None = None, environ: Mapping[str, str] | None = None) -> RawConfig:
    """Read the file that applies, then the overriding variables, then put in what `${env:…}` and `${file:…}` name."""
    environ = os.environ if environ is None else environ
    raw = RawConfig(find_config(explicit, environ))
    if raw.path:
        _read_file(raw, raw.path)
    _override(raw, environ)
    raw.values = _substituted(raw, raw.values, (), environ)
    return raw


def suggestion(word: str, known: Iterator[str] | list[str]) -> str:
    """Return `; did you mean 'x'?` when a known word is near, else the known words."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known here: {', '.join(words)}" if words else ""


def _read_file(raw: RawConfig, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}: {error}. Make it a readable UTF-8 file") from error
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            values: Any = _value(raw, loader, node, ()) if node else {}
        finally:
            loader.dispose()  # pyright: ignore[reportUnknownMemberType]  # PyYAML's stubs give it no type
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(
            f"{path}:{line}: not valid YAML: {error.problem}. Correct the line; text with special signs needs quotes"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: a config file holds `key: value` lines, not {values!r}; config.example.yaml shows each key")
    raw.values = cast("Values", values)


def _value(raw: RawConfig, loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401  # values of a YAML file
    raw.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(raw, loader, node, path)
    if isinstance(node, yaml.SequenceNode):
        return [_value(raw, loader, child, (*path, index)) for index, child in enumerate(node.value)]
    try:
        return loader.construct_object(node, deep=True)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]  # the same
    except (ValueError, OverflowError):
        return node.value  # a date of month 13, say: it stays text, which validation names


def _mapping(raw: RawConfig, loader: yaml.SafeLoader, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{raw.path}:{line}: a key is plain text, not a list or a mapping")
        if key in values:
            first = raw.lines[*path, key]
            raise ConfigError(f"{raw.path}:{line}: {dotted((*path, key))} stands twice, first on line {first}; keep one of the two")
        raw.lines[*path, key] = line
        values[key] = _value(raw, loader, value_node, (*path, key))
    return values


def _override(raw: RawConfig, environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if not name.startswith(_OVERRIDE) or name in _NOT_OVERRIDES:
            continue
        path = tuple(part.lower() for part in name.removeprefix(_OVERRIDE).split("__"))
        try:
            value = yaml.safe_load(environ[name])
        except yaml.YAMLError:
            value = environ[name]
        inside = raw.values
        for key in path[:-1]:
            child: object = inside.get(key)
            inside[key] = inside = dict(cast("Values", child)) if isinstance(child, dict) else {}
        inside[path[-1]] = value
        raw.origins[path] = f"variable {name}"


def _substituted(raw: RawConfig, value: Any, path: KeyPath, environ: Mapping[str, str]) -> Any:  # noqa: ANN401  # values of a YAML file
    if isinstance(value, dict):
        return {key: _substituted(raw, child, (*path, key), environ) for key, child in cast("Values", value).items()}
    if isinstance(value, list):
        return [_substituted(raw, child, (*path, index), environ) for index, child in enumerate(cast("Sequence[Any]", value))]
    if not isinstance(value, str) or "${" not in value:
        return value

    def put_in(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind == "env":
            if name not in environ:
                raise ConfigError(
                    f"{raw.where(path)}: {dotted(path)} names the variable {name}, which is not set; set it, or write the value here"
                )
            return environ[name]
        try:
            return absolute(name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{raw.where(path)}: {dotted(path)} names the file {name}, which cannot be read: {error}") from error

    raw.references[path] = value
    return _REFERENCE.sub(put_in, value)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: `rules.0.match.model`."""
    return ".".join(map(str, path)) or "config"
