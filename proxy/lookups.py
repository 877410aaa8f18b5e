"""Header fields and options are looked up dozens of times a call: here without the copies that mitmproxy makes each time.

`Headers.get` folds a list of decoded values through four methods; an option is deep-copied at each look, though most are a
number or a text. Both answer the same as before (tests/proxy/test_lookups.py holds them against mitmproxy's own).
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateUsage=false
# ruff: noqa: SLF001
# (both are mitmproxy's inner parts, and typed in part only)

import copy
from typing import Any, cast

from mitmproxy import optmanager
from mitmproxy.http import Headers

_PLAIN = (bool, int, str, type(None))


def _raw(name: str | bytes) -> bytes:
    return (name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name).lower()


def _get(self: Headers, key: str | bytes, default: Any = None) -> Any:  # noqa: ANN401  # as a mapping's `get`
    name = _raw(key)
    found = [value for field, value in self.fields if field.lower() == name]
    if not found:
        return default
    return b", ".join(found).decode("utf-8", "surrogateescape")


def _contains(self: Headers, key: object) -> bool:
    if not isinstance(key, str | bytes):
        return False
    name = _raw(key)
    for field, _value in self.fields:  # noqa: SIM110 - `any` makes a generator of it, which takes twice as long
        if field.lower() == name:
            return True
    return False


def _current(self: Any) -> Any:  # noqa: ANN401  # an option of any type
    value = self._default if self.value is optmanager.unset else self.value
    return value if isinstance(value, _PLAIN) else copy.deepcopy(value)


def install() -> None:
    """Look up headers and options of this process the short way."""
    headers = cast("Any", Headers)
    headers.get, headers.__contains__ = _get, _contains
    cast("Any", optmanager._Option).current = _current
