"""Whether an answer is as the description of the API says."""

import re
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from api.app import ROUTES
from api.error_answers import ERROR_MODELS
from api.errors import feed_of, in_texts
from api.openapi import refusals
from api.route import Route

_ALWAYS = frozenset({403, 421})
"""What the guards say before anyone knows the route."""


@cache
def _table() -> list[tuple[re.Pattern[str], dict[str, Route]]]:
    found: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        pattern = re.sub(r"\{(\w+)\}", "[^/]+", re.sub(r"\{\w+:((?:[^{}]|\{[^{}]*\})+)\}", r"(?:\1)", route.path))
        found.setdefault(pattern, {})[route.method] = route
    return [(re.compile(pattern), routes) for pattern, routes in found.items()]


@cache
def _answered(method: str, path: str, status: int) -> TypeAdapter[Any] | None:
    """Return what reads the body of an answer of the route at `path`; None where there is no body."""
    route = next(route for route in ROUTES if (route.method, route.path) == (method, path))
    if status in route.answers:
        return None if route.answers[status] is None else TypeAdapter(route.answers[status])
    return TypeAdapter(str if in_texts(path) else ERROR_MODELS[feed_of(path) or "local"])


def check_answer(method: str, path: str, status: int, raw: bytes) -> None:
    """Raise AssertionError for an answer with JSON that its route does not describe; routes of tests alone are none of ours."""
    routes = next((routes for pattern, routes in _table() if pattern.fullmatch(path)), None)
    route = routes.get(method) if routes else None
    if route is None:
        return
    allowed = {*route.answers, *refusals(route), *_ALWAYS}
    assert status in allowed, f"{method} {path} answers {status}, and describes {sorted(allowed)}: add it to `errors` of the route"
    adapter = _answered(route.method, route.path, status)
    if adapter is not None:
        adapter.validate_json(raw)
