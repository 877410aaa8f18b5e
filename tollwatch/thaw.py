"""Under `python -O`, in which the gateway runs, value objects are made without the checks that keep them from being changed.

A frozen dataclass sets each field by a call that goes round its own refusal; a call makes some twenty such objects, which is 3 % of its
cost. Type checkers and every test, which runs without `-O`, see the frozen classes.
"""

import sys
from collections.abc import Iterator
from dataclasses import Field, field, fields, is_dataclass, make_dataclass
from typing import Any

_PACKAGES = ("alerting", "metering", "proxy", "storage")


def thaw_all() -> int:
    """Thaw every frozen dataclass of the packages that are imported so far; return how many they are."""
    found = {each for name in list(sys.modules) if name.partition(".")[0] in _PACKAGES for each in _frozen(name)}
    for each in found:
        thaw(each)
    return len(found)


def thaw(cls: type) -> None:
    """Make instances of a frozen dataclass as those of one that is not frozen are made. They stay equal, hashable and printed the same."""
    post: dict[str, Any] = {name: getattr(cls, name) for name in ("__post_init__",) if hasattr(cls, name)}
    twin = make_dataclass(cls.__name__, [(each.name, object, _again(each)) for each in fields(cls)], namespace=post)
    cls.__init__ = twin.__init__  # type: ignore[misc]  # the same parameters, assigned plainly
    for name in ("__setattr__", "__delattr__"):
        if name in vars(cls):
            delattr(cls, name)


def _again(one: Field[Any]) -> Any:  # noqa: ANN401 - as `field` is typed
    """Return the same field for another class."""
    return field(default=one.default, default_factory=one.default_factory, init=one.init, kw_only=one.kw_only)


def _frozen(module: str) -> Iterator[type]:
    for each in vars(sys.modules[module]).values():
        if isinstance(each, type) and each.__module__ == module and is_dataclass(each) and each.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            yield each
