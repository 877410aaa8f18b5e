"""The one canonical log line of each call."""

from collections.abc import Callable, Mapping
from typing import Any

from alerting.finding import Refusal, Verdict
from alerting.trial import STATUS
from metering.call import Call, Ending, Reply
from metering.ledger_rows import usd
from metering.reading import Reading, Source


class CallLine:
    """Told of each ended call; writes names and numbers, never a prompt, a key or a token."""

    def __init__(self, write: Callable[[Mapping[str, Any]], None]) -> None:
        self._write = write

    def __call__(self, call: Call, verdict: Verdict, ending: Ending, reply: Reply | None, reading: Reading | None) -> None:
        """Write the line: what it says of a refused call is what the ledger says of it."""
        refused = ending is Ending.REFUSED
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
                "status": STATUS[verdict.refusal or Refusal.POLICY] if refused else (reply.status if reply else None),
                "milliseconds": milliseconds,
                "input_tokens": usage.input_tokens if usage else None,
                "output_tokens": usage.output_tokens if usage else None,
                "cost_usd": "0" if refused else (usd(reading.cost_nano) if reading else None),
                "source": Source.NONE if refused else (reading.source if reading else None),
                "user": call.caller.user,
            }
        )
