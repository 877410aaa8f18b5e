"""For all tests: what coverage's tracer does not follow, and what comes first.

The tracer takes half of the time of code that runs under it. Where a test's work is done by other processes, or repeats for thousands of
cases what others show, it would find nothing that is not found anyway.
"""

import contextlib
import sys
import threading
from collections.abc import Generator, Iterator

import pytest

UNTRACED = ("tests/bypass/", "tests/chaos/", "tests/end_to_end/")
"""Folders whose gateways are processes of their own, or which ask the same of one gateway again and again."""
LONG = (*UNTRACED, "tests/tollwatch/")
"""Folders with the longest files: they come first, so that the workers have short ones left to share at the end."""


def pytest_configure() -> None:
    """Import the price table untraced: it is one expression of 60,000 lines, which takes 20 seconds under coverage's tracer."""
    with _untraced():
        import genai_prices.data  # noqa: F401, PLC0415  # for its effect, here


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
