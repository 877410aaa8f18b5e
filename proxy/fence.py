"""What happens when the gateway's own code fails: the configured mode decides, never an accident."""

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Protocol, cast


class Fenced(Protocol):
    """Who has hooks."""

    def hook_failed(self, hook: str, data: Any, error: BaseException) -> None:  # noqa: ANN401  # each hook has its own data
        """Deal with a failure; must not raise."""
        ...


def fenced[S: Fenced, D](hook: Callable[[S, D], Awaitable[None] | None]) -> Callable[[S, D], Awaitable[None] | None]:
    """Wrap a hook so that whatever it raises goes to `hook_failed`.

    mitmproxy forwards a request whose hook raised an Exception, and leaves its client hanging on any other BaseException.
    """
    name = hook.__name__

    @wraps(hook)
    def guarded(self: S, data: D) -> Awaitable[None] | None:
        try:
            result = hook(self, data)
        except BaseException as error:  # noqa: BLE001 - RecursionError, MemoryError, a panic of a native module, a cancellation
            self.hook_failed(name, data, error)
            return None
        return None if result is None else _rest(self, name, data, result)

    return guarded


async def _rest(addon: Fenced, name: str, data: object, result: Awaitable[None]) -> None:
    try:
        await result
    except BaseException as error:  # noqa: BLE001 - as above
        addon.hook_failed(name, data, error)


def hooks_of(addon: type) -> tuple[str, ...]:
    """Return the names of an addon's fenced hooks."""
    return tuple(name for name, member in vars(addon).items() if inspect.isfunction(member) and hasattr(cast("Any", member), "__wrapped__"))
