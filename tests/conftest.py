"""For all tests: what coverage's tracer does not follow, and what comes first.

The tracer takes half of the time of code that runs under it. Where a test's work is done by other processes, or repeats for thousands of
cases what others show, it would find nothing that is not found anyway.
"""

import contextlib
import sys
import threading
from collections.abc import Generator, Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest

UNTRACED = ("tests/bypass/", "tests/chaos/", "tests/end_to_end/")
"""Folders whose gateways are processes of their own, or which ask the same of one gateway again and again."""
OTHERS = ("genai_prices.data", "mitmproxy.master", "mitmproxy.addons", "aiohttp.web", "pydantic", "tiktoken", "hypothesis")
"""The largest of what our own modules import."""
OWN = ("tollwatch", "proxy", "api", "alerting", "metering", "storage")
LONG = (*UNTRACED, "tests/tollwatch/")
"""Folders with the longest files: they come first, so that the workers have short ones left to share at the end."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Where coverage is measured, import our own modules under the tracer, and what others wrote without it.

    The price table alone takes 20 seconds there; and what is collected imports every SDK, and nothing of our own that is not imported yet.
    """
    if sys.gettrace() is None:
        return (yield)
    with _untraced():
        for name in OTHERS:
            import_module(name)
    for package in OWN:
        for found in walk_packages(import_module(package).__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                import_module(found.name)
    with _untraced():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in the folders that are not traced; put the long files first."""
    for item in items:
        if item.nodeid.startswith(UNTRACED):
            item.add_marker("untraced")
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that is marked so, with its fixtures, without the tracer."""
    with _untraced() if item.get_closest_marker("untraced") else contextlib.nullcontext():
        return (yield)


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    here, threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]  # None is what ends it
    try:
        yield
    finally:
        sys.settrace(here)
        threading.settrace(threads)  # type: ignore[arg-type]  # the same
