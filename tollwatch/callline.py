"""The one canonical log line of each call."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, TextIO, cast

import orjson
import structlog

from alerting.finding import Refusal, Verdict
from alerting.trial import STATUS
from metering.call import Call, Ending, Reply
from metering.ledger_rows import usd
from metering.reading import Reading, Source
from tollwatch.config import LogSettings
from tollwatch.log import on_terminal, scrubbed

WRITES_WITHIN: Final = timedelta(milliseconds=50)
_AS_LINE: Final = orjson.OPT_APPEND_NEWLINE

type Fields = Mapping[str, Any]
type _Ended = tuple[Call, Verdict, Ending, Reply | None, Reading | None]


class CallLine:
    """Told of each ended call; writes names and numbers, never a prompt, a key or a token.

    With `within`, the lines of calls that end together are made and written together: made one after the other a line costs half, and
    each write is a system call. Loop thread only.
    """

    def __init__(self, write: Callable[[Iterable[Fields]], None], *, within: timedelta = timedelta(0)) -> None:
        self._write = write
        self._within = within.total_seconds()
        self._ended: list[_Ended] = []

    def __call__(self, call: Call, verdict: Verdict, ending: Ending, reply: Reply | None, reading: Reading | None) -> None:
        """Hear of a call: what its line says of a refused one is what the ledger says of it."""
        self._ended.append((call, verdict, ending, reply, reading))
        if not self._within:
            self.flush()
        elif len(self._ended) == 1:
            asyncio.get_running_loop().call_later(self._within, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        ended, self._ended = self._ended, []
        if ended:
            self._write(_fields(*each) for each in ended)


def _fields(call: Call, verdict: Verdict, ending: Ending, reply: Reply | None, reading: Reading | None) -> Fields:
    refused = ending is Ending.REFUSED
    usage = reading.usage if reading else None
    return {
        "event": "call",
        "level": "info",
        "call": call.id,
        "timestamp": call.started_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),  # as all lines have it
        "provider": call.provider,
        "service": call.service,
        "operation": call.operation,
        "model": (reading.model if reading else None) or call.model,
        "door": call.door,
        "verdict": verdict.action,
        "rule": verdict.rule_id,
        "ending": ending,
        "status": STATUS[verdict.refusal or Refusal.POLICY] if refused else (reply.status if reply else None),
        "milliseconds": round((reply.ended_at - call.started_at).total_seconds() * 1000, 1) if reply else None,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost_usd": "0" if refused else (usd(reading.cost_nano) if reading else None),
        "source": Source.NONE if refused else (reading.source if reading else None),
        "user": call.caller.user,
    }


def call_lines(settings: LogSettings, stream: TextIO | None = None) -> CallLine | None:
    """Return what writes the lines of calls, or None where they are not asked for.

    Where JSON is the format they go straight to the stream (1 µs, not 10); on a terminal at once, the way of all lines.
    """
    stream = stream or cast("TextIO", sys.stderr)
    if settings.level in {"warning", "error"}:
        return None
    if on_terminal(settings, stream):
        logger = structlog.get_logger("call")  # made once: it remembers how it is to write

        def tell(lines: Iterable[Fields]) -> None:
            for line in lines:
                shown = {name: value for name, value in line.items() if value is not None and name not in {"event", "level"}}
                logger.info("call", **shown)

        return CallLine(tell)

    def write(lines: Iterable[Fields]) -> None:
        text = b"".join(map(_as_json, lines))
        safe = text.isascii() and b"\x7f" not in text  # in JSON all that is below a space is escaped
        stream.write(text.decode() if safe else scrubbed(text.decode()))
        stream.flush()

    return CallLine(write, within=WRITES_WITHIN)


def _as_json(line: Fields) -> bytes:
    try:
        return orjson.dumps(line, option=_AS_LINE)
    except TypeError:  # a lone surrogate; the lines beside it are written all the same
        return orjson.dumps({name: _plain(value) for name, value in line.items()}, option=_AS_LINE)


def _plain(value: object) -> object:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
