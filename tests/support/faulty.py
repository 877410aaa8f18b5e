"""A gateway whose hooks fail on demand: `python -m tests.support.faulty run --config FILE`.

The file named by FORCED_HOOK_FAULT holds `HOOK EXCEPTION`; while it does, that hook raises inside its fence.
"""

import asyncio
import builtins
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from proxy.addon import TollwatchAddon
from proxy.fence import fenced, hooks_of
from storage.database import StoreError
from tollwatch.cli import main

VARIABLE = "FORCED_HOOK_FAULT"
_BEYOND_BUILTINS = {"CancelledError": asyncio.CancelledError, "OperationalError": sqlite3.OperationalError, "StoreError": StoreError}

type Hook = Callable[[Any, Any], Awaitable[None] | None]


class PanicError(BaseException):
    """What a native module raises when it panics: no Exception."""


def _fault(hook: str) -> type[BaseException] | None:
    named, _, kind = Path(os.environ[VARIABLE]).read_text().partition(" ")
    if named != hook:
        return None
    found: type[BaseException] = _BEYOND_BUILTINS.get(kind) or getattr(builtins, kind, PanicError)
    return found


def _failing(name: str, original: Hook) -> Hook:
    def hook(self: Any, data: Any) -> Awaitable[None] | None:
        if fault := _fault(name):
            raise fault("forced by a test")
        return original(self, data)

    hook.__name__ = name
    return fenced(hook)


if __name__ == "__main__":
    for each in hooks_of(TollwatchAddon):
        setattr(TollwatchAddon, each, _failing(each, vars(TollwatchAddon)[each].__wrapped__))
    sys.exit(main())
