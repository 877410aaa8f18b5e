"""What a call asks for beside its own, as calls that rules can judge."""

from collections.abc import Iterator
from dataclasses import replace

from metering.call import Call


def calls(call: Call) -> Iterator[Call]:
    """Yield a call for each part: as the call itself, but for what the part says."""
    for part in call.parts:
        yield replace(
            call,
            model=call.model if part.model is None else part.model,
            prompt=call.prompt if part.prompt is None else part.prompt,
            tools=call.tools if part.tools is None else part.tools,
            max_output_tokens=call.max_output_tokens if part.max_output_tokens is None else part.max_output_tokens,
            parts=(),
        )
