"""Log lines: for people on a terminal, JSON elsewhere; never a control character, a prompt, a key or a token."""

import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tollwatch.config import LogSettings

_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""C0 and C1 (ESC among them) but tab and newline, and the marks that reorder text."""
_QUIET: Final = {"mitmproxy": logging.ERROR, "aiohttp": logging.WARNING, "asyncio": logging.WARNING, "httpx": logging.WARNING}


def scrubbed(text: str) -> str:
    """Return a text with what could forge a line or steer a terminal replaced."""
    return _UNSAFE.sub("\ufffd", text)


def clean(value: object) -> object:
    """Return `value` with what could forge a line or steer a terminal replaced, wherever in it."""
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, Mapping):
        return {clean(key): clean(child) for key, child in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [clean(child) for child in cast("Sequence[object]", value)]
    return value


def _cleaned(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {key: clean(value) for key, value in event.items()}


def _one_line(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {key: value.replace("\n", "\\n") if isinstance(value, str) and key != "exception" else value for key, value in event.items()}


def on_terminal(settings: LogSettings, stream: TextIO) -> bool:
    """Whether lines are to be written for people."""
    return settings.format == "console" or (settings.format == "auto" and stream.isatty())


def configure(settings: LogSettings, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Send every log line, those of the libraries included, to `stream` (stderr) in one format."""
    stream = stream or cast("TextIO", sys.stderr)
    terminal = on_terminal(settings, stream)
    level = getattr(logging, settings.level.upper())
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _cleaned,
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if terminal:
        colors = stream.isatty() and not environ.get("NO_COLOR")
        last += [
            _one_line,
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False),
        ]
    else:
        last.append(structlog.processors.JSONRenderer(sort_keys=False))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=last))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
