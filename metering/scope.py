"""Which calls a scope means: globs, compiled once."""

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache

from metering.call import Call
from metering.settings import Patterns, Scope

type Test = Callable[[str | None], bool]

_READ: dict[str, Callable[[Call], str | None]] = {
    "provider": lambda call: call.provider,
    "service": lambda call: call.service,
    "model": lambda call: call.model,
    "user": lambda call: call.caller.user,
    "department": lambda call: call.caller.department,
    "agent": lambda call: call.caller.agent,
    "key_id": lambda call: call.caller.key_id,
}


@lru_cache(maxsize=16_384)
def compile_patterns(patterns: Patterns) -> Test:
    """Return the test of one glob or several (`*`, `?`, `[abc]`; any may match, case does not matter). An unknown value matches none.

    Case is ignored because some providers ignore it in names of models and deployments: a rule must not be dodged by writing GPT-4.
    """
    globs = (patterns,) if isinstance(patterns, str) else patterns
    match = re.compile("|".join(map(fnmatch.translate, globs)) if globs else r"(?!)", re.IGNORECASE).match
    return lambda value: value is not None and match(value) is not None


@lru_cache(maxsize=1024)
def compile_scope(scope: Scope) -> Callable[[Call], bool]:
    """Return the test of a scope: every field given must match. An empty scope is every call."""
    tests = [(read, compile_patterns(patterns)) for name, read in _READ.items() if (patterns := getattr(scope, name)) is not None]
    if not tests:
        return lambda _call: True
    return lambda call: all(test(read(call)) for read, test in tests)


def matches(scope: Scope, call: Call) -> bool:
    """Return whether the scope means this call."""
    return compile_scope(scope)(call)
