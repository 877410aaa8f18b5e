"""Log lines are one line each, clean, and in the format of their reader."""

import io
import json
import logging

import pytest
import structlog

from tests.support.terminal import HOSTILE, Terminal
from tollwatch.config import LogSettings
from tollwatch.log import clean, configure

pytestmark = pytest.mark.usefixtures("logging_restored")


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
    shown: list[bool] = []
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


def test_containers_are_cleaned_too() -> None:
    assert clean({"a\x1b": ["b\x1b", 1]}) == {"a\ufffd": ["b\ufffd", 1]}
