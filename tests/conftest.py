"""For all tests."""

import sys


def pytest_configure() -> None:
    """Import the price table untraced: it is one expression of 60,000 lines, which takes 20 seconds under coverage's tracer."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        import genai_prices.data  # noqa: F401, PLC0415  # for its effect, here
    finally:
        sys.settrace(tracer)
