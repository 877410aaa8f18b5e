"""Log lines: for people on a terminal, JSON elsewhere; never a control character, a prompt, a key or a token."""

import asyncio
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TextIO, cast, override

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tollwatch.config import LogSettings

_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""C0 and C1 (ESC among them) but tab and newline, and the marks that reorder text."""
WRITES_WITHIN: Final = timedelta(milliseconds=50)
_QUIET: Final = {"mitmproxy": logging.ERROR, "aiohttp": logging.WARNING, "asyncio": logging.WARNING, "httpx": logging.WARNING}


def clean(value: object) -> object:
    """Return `value` with what could forge a line or steer a terminal replaced."""
    if isinstance(value, str):
        return _UNSAFE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {clean(key): clean(child) for key, child in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [clean(child) for child in cast("Sequence[object]", value)]
    return value


def _cleaned(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {key: clean(value) for key, value in event.items()}


def _one_line(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {key: value.replace("\n", "\\n") if isinstance(value, str) and key != "exception" else value for key, value in event.items()}


def configure(settings: LogSettings, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Send every log line, those of the libraries included, to `stream` (stderr) in one format."""
    stream = stream or cast("TextIO", sys.stderr)
    terminal = settings.format == "console" or (settings.format == "auto" and stream.isatty())
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


class JoinedWrites(io.TextIOBase):
    """A stream before another: what is written within WRITES_WITHIN goes out in one write, each being a system call. Loop thread only."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._waiting: list[str] = []

    @override
    def write(self, text: str, /) -> int:
        self._waiting.append(text)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(WRITES_WITHIN.total_seconds(), self.flush)
        return len(text)

    @override
    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._stream.write("".join(waiting))
            self._stream.flush()

    @override
    def isatty(self) -> bool:
        return self._stream.isatty()


def call_lines(settings: LogSettings, stream: TextIO | io.TextIOBase | None = None) -> Callable[[Mapping[str, Any]], None]:
    """Return what writes the one canonical line of a call: straight to the stream as JSON where that is the format (1 µs, not 10)."""
    stream = stream or cast("TextIO", sys.stderr)
    if settings.level in {"warning", "error"}:
        return lambda _fields: None
    if settings.format == "console" or (settings.format == "auto" and stream.isatty()):
        logger = structlog.get_logger("call")
        return lambda fields: logger.info("call", **{name: value for name, value in fields.items() if value is not None})
    import orjson  # noqa: PLC0415  # only the gateway writes call lines

    write = stream.write

    def line(fields: Mapping[str, Any]) -> None:
        write(_UNSAFE.sub("\ufffd", orjson.dumps({"event": "call", "level": "info", **fields}, option=orjson.OPT_UTC_Z).decode()) + "\n")

    return line
