"""Log lines are one line each, clean, and in the format of their reader."""

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog

from tollwatch.config import LogSettings
from tollwatch.log import JoinedWrites, call_lines, clean, configure

HOSTILE = ['\r\n{"level":"info"}', "\x1b]0;owned\x07", "\u202egnp.exe", "\x9b31m", "a\u2028b"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _back_to_defaults() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def logger() -> "structlog.stdlib.BoundLogger":
    made: structlog.stdlib.BoundLogger = structlog.get_logger("test")
    return made


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_is_one_clean_json_line(text: str) -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)

    logger().info("event", value=text)

    (line,) = stream.getvalue().splitlines()
    value = json.loads(line)["value"]
    assert not set(value) & set("\r\x1b\x07\x9b\u202e\u2028")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_cannot_steer_a_terminal(text: str) -> None:
    stream = Terminal()
    configure(LogSettings(), stream, {"NO_COLOR": "1"})

    logger().warning("event", value=text)

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


def test_a_terminal_gets_colours_unless_they_are_not_wanted() -> None:
    shown = []
    for environ in ({}, {"NO_COLOR": "1"}):
        stream = Terminal()
        configure(LogSettings(), stream, environ)
        structlog.reset_defaults()
        configure(LogSettings(), stream, environ)
        logger().info("event")
        shown.append("\x1b" in stream.getvalue())

    assert shown == [True, False]


def test_lines_of_libraries_have_the_same_format_and_are_quiet() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)

    logging.getLogger("aiohttp.server").info("noise")
    logging.getLogger("mitmproxy.net").warning("noise")
    logging.getLogger("aiohttp.server").error("trouble \x1b[31m")

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "trouble \ufffd[31m"


def test_the_level_is_obeyed() -> None:
    stream = io.StringIO()
    configure(LogSettings(level="warning", format="json"), stream)

    logger().info("quiet")
    logger().warning("loud")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_an_exception_is_told_in_full() -> None:
    stream = Terminal()
    configure(LogSettings(), stream, {"NO_COLOR": "1"})

    try:
        int("because")
    except ValueError:
        logger().exception("failed")

    assert "ValueError: invalid literal" in stream.getvalue()
    assert "\n  File" in stream.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_call_is_one_json_line(text: str) -> None:
    stream = io.StringIO()

    call_lines(LogSettings(format="json"), stream)({"model": text, "cost_usd": "0.1"})

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "call"


def test_a_call_on_a_terminal_goes_the_way_of_all_lines() -> None:
    stream = Terminal()
    configure(LogSettings(), stream, {"NO_COLOR": "1"})

    call_lines(LogSettings(), stream)({"model": "m"})

    assert "call" in stream.getvalue()
    assert "model=m" in stream.getvalue()


def test_what_is_not_known_of_a_call_is_not_shown_on_a_terminal() -> None:
    stream = Terminal()
    configure(LogSettings(), stream, {"NO_COLOR": "1"})

    call_lines(LogSettings(), stream)({"verdict": "allow", "cost_usd": None, "model": "m"})

    assert "cost_usd" not in stream.getvalue()
    assert re.search("verdict=allow +model=m", stream.getvalue())


def test_moments_are_written_the_same_in_every_line() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)

    logger().info("event")
    call_lines(LogSettings(format="json"), stream)({"timestamp": datetime(2026, 1, 31, 10, 0, 0, 5, tzinfo=UTC)})

    shapes = [re.sub("[0-9]", "0", json.loads(line)["timestamp"]) for line in stream.getvalue().splitlines()]
    assert shapes == ["0000-00-00T00:00:00.000000Z"] * 2


async def test_lines_of_calls_that_end_together_are_one_write() -> None:
    stream = io.StringIO()
    joined = JoinedWrites(stream)
    line = call_lines(LogSettings(format="json"), joined)

    line({"model": "a"})
    line({"model": "b"})

    assert stream.getvalue() == ""
    joined.flush()
    assert [json.loads(text)["model"] for text in stream.getvalue().splitlines()] == ["a", "b"]


def test_calls_are_no_warnings() -> None:
    stream = io.StringIO()

    call_lines(LogSettings(level="warning"), stream)({"model": "m"})

    assert stream.getvalue() == ""


def test_containers_are_cleaned_too() -> None:
    assert clean({"a\x1b": ["b\x1b", 1]}) == {"a\ufffd": ["b\ufffd", 1]}
