"""What the proxy asks of those that judge and count: a few methods, so that any data plane can ask the same."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from alerting.finding import Refusal, Verdict
from metering.call import Call, Ending, Reply
from metering.providers.wire import ReplyReader
from metering.reading import Reading, ReplyFacts
from metering.usage import NO_USAGE, Usage

type Clock = Callable[[], datetime]


class Gate(Protocol):
    """Judges a call before it is sent, follows it while it runs, and settles it after."""

    on_cut: Callable[[str, Verdict], None] | None
    """Called with the id of a running call, and why, when a hard budget has nothing left for it: end it at the client and upstream."""

    on_hold_up: Callable[[str], bool] | None
    """Called with the id of a running call when a hard budget has nothing left for it now and may have again: hold its answer up.
    False where that cannot be done."""
    on_go_on: Callable[[str], None] | None
    """Called with the id of a running call whose answer may go on."""

    async def admit(self, call: Call) -> Verdict:
        """Decide; when it allows, the intent is durable; when it refuses, the refusal is."""
        ...

    def leave(self, call_id: str) -> None:
        """Say that the client of a call which is still being decided on is gone: it need not wait for a budget any longer."""
        ...

    async def refuse(self, call: Call, *, refusal: Refusal, message: str) -> Verdict:
        """Record a request that has no single meaning or breaks a limit; in monitor mode the verdict may allow it."""
        ...

    def progress(self, call_id: str, *, output_tokens: int) -> None:
        """Say how many tokens of output have passed so far (about), as they pass: budgets are topped up ahead of need. Cheap."""
        ...

    def give_up(self, call_id: str) -> None:
        """Say that an answer can be held up no longer: it is to be ended."""
        ...

    def may_cut(self, call_id: str) -> bool:
        """Say whether an admitted call may come to be ended while it runs: only then is it followed."""
        ...

    def settle(self, call: Call, reply: Reply, facts: ReplyFacts | None) -> Reading:
        """Record the end of an admitted call, once."""
        ...

    def reader(self, call: Call, *, content_type: str | None, headers: Mapping[str, str] | None = None) -> ReplyReader | None:
        """Return a reader for the answer with these headers (looked up by lower-case name), or None for what is not read."""
        ...


class Telemetry(Protocol):
    """Counters."""

    def call(self, provider: str, verdict: str, ending: str, seconds: float, usage: Usage = NO_USAGE, cost_nano: int | None = None) -> None:
        """Count an ended call, with the tokens and nano-dollars that it came to."""
        ...

    def hook_failure(self, hook: str) -> None:
        """Count a failure of the gateway's own code, by hook."""
        ...


type Record = Callable[[Call, Verdict, Ending, Reply | None, Reading | None], None]
"""Told of each ended call, for the log's one line; a refused one has neither reply nor reading."""
