"""The one canonical log line of each call."""

from collections.abc import Callable, Mapping
from typing import Any

from alerting.finding import Verdict
from metering.call import Call, Ending, Reply
from metering.ledger_rows import usd
from metering.reading import Reading
from tollwatch.config import LogSettings
from tollwatch.log import call_lines


class CallLine:
    """Told of each ended call; writes names and numbers, never a prompt, a key or a token."""

    def __init__(self, settings: LogSettings, write: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self._write = write or call_lines(settings)

    def __call__(self, call: Call, verdict: Verdict, ending: Ending, reply: Reply | None, reading: Reading | None) -> None:
        """Write the line."""
        usage = reading.usage if reading else None
        milliseconds = round((reply.ended_at - call.started_at).total_seconds() * 1000, 1) if reply else None
        self._write(
            {
                "call": call.id,
                "timestamp": call.started_at,
                "provider": call.provider,
                "service": call.service,
                "operation": call.operation,
                "model": (reading.model if reading else None) or call.model,
                "door": call.door,
                "verdict": verdict.action,
                "rule": verdict.rule_id,
                "ending": ending,
                "status": reply.status if reply else None,
                "milliseconds": milliseconds,
                "input_tokens": usage.input_tokens if usage else None,
                "output_tokens": usage.output_tokens if usage else None,
                "cost_usd": usd(reading.cost_nano) if reading else None,
                "source": reading.source if reading else None,
                "user": call.caller.user,
            }
        )
