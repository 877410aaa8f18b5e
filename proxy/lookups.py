"""Header fields and options are looked up dozens of times a call: here without the copies that mitmproxy makes each time.

`Headers.get` folds a list of decoded values through four methods; an option is deep-copied at each look, though most are a
number or a text. Both answer the same as before (tests/proxy/test_lookups.py holds them against mitmproxy's own).
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateUsage=false
# ruff: noqa: SLF001
# (both are mitmproxy's inner parts, and typed in part only)

import copy
from functools import lru_cache
from typing import Any, cast

from mitmproxy import optmanager
from mitmproxy.http import Headers

_PLAIN = frozenset({bool, int, str, type(None)})


@lru_cache(512)
def _raw(name: str | bytes) -> bytes:
    return (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()


def _get(self: Headers, key: str | bytes, default: Any = None) -> Any:  # noqa: ANN401  # as a mapping's `get`
    name = _raw(key)
    length = len(name)
    found = [value for field, value in self.fields if len(field) == length and field.lower() == name]
    if not found:
        return default
    return b", ".join(found).decode("utf-8", "surrogateescape")


def _contains(self: Headers, key: object) -> bool:
    if not isinstance(key, str | bytes):
        return False
    name = _raw(key)
    length = len(name)
    for field, _value in self.fields:  # noqa: SIM110 - `any` makes a generator of it, which takes twice as long
        if len(field) == length and field.lower() == name:
            return True
    return False


def _option(self: Any, name: str) -> Any:  # noqa: ANN401  # an option of any type
    option = self._options.get(name)
    if option is None:
        raise AttributeError(f"No such option: {name}")
    value = option.value
    if value is optmanager.unset:
        value = option._default
    return value if type(value) in _PLAIN else copy.deepcopy(value)


def install() -> None:
    """Look up headers and options of this process the short way."""
    headers = cast("Any", Headers)
    headers.get, headers.__contains__ = _get, _contains
    cast("Any", optmanager.OptManager).__getattr__ = _option
