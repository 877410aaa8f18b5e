"""More requests or tokens than a limit allows in any window of its length."""

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from alerting.finding import Action, AlertKind, Finding
from alerting.kinds import KINDS
from alerting.settings import RateLimitSettings
from alerting.subjects import NOBODY, shown, subject_of
from alerting.windows import Entry, Window
from metering.call import Call
from metering.scope import compile_scope

type Nanoseconds = Callable[[], int]

_SPANS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_BY: dict[str | None, Callable[[Call], str | None]] = {
    None: lambda _call: "all",
    "user": lambda call: call.caller.user,
    "service": lambda call: call.service,
    "model": lambda call: call.model,
    "key_id": lambda call: call.caller.key_id,
    "agent": lambda call: call.caller.agent,
}
_AT_STAKE = 8
"""Beyond this share of a token limit (an eighth) prompts are counted exactly."""
_MANY_WINDOWS = 1_024


class RateLimit:
    """One limit and its windows, one for each value of the field that it counts by."""

    def __init__(self, settings: RateLimitSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.matches = compile_scope(settings.scope)
        self._by = _BY[settings.by]
        self._span = _SPANS[settings.per] * 1_000_000_000
        self._windows: dict[str, Window] = {}
        self._sweep_at = _MANY_WINDOWS

    def counts_as(self, other: "RateLimit") -> bool:
        """Whether both count the same calls over the same span, however many they allow."""
        mine, its = self.settings, other.settings
        return (mine.scope, mine.per, mine.by) == (its.scope, its.per, its.by)

    def go_on_from(self, earlier: "RateLimit") -> None:
        """Share the windows of a limit that counts the same: calls which it still judges and settles count here too."""
        self._windows = earlier._windows  # noqa: SLF001 - another of this class

    def value(self, call: Call) -> str:
        """Return the value that this call is counted under."""
        return self._by(call) or NOBODY

    def window(self, call: Call, now: int) -> Window:
        """Return the window of this call's value as it stands now."""
        value = self.value(call)
        window = self._windows.get(value)
        if window is None:
            self._sweep(now)
            window = self._windows[value] = Window(self._span)
        window.move_to(now)
        return window

    def _sweep(self, now: int) -> None:
        if len(self._windows) < self._sweep_at:
            return
        for window in self._windows.values():
            window.move_to(now)
        for value in [value for value, window in self._windows.items() if not len(window)]:
            del self._windows[value]  # in place: a limit from before a reload may share them
        self._sweep_at = max(_MANY_WINDOWS, 2 * len(self._windows))

    def check(self, call: Call, window: Window, *, tokens: int, now: int) -> Finding | None:
        """Return the finding when one more call with so many tokens is over the limit; of two that which lasts longer."""
        limit = self.settings
        wait = 0 if limit.requests is None else window.wait_for_request(limit.requests, now)
        delay = 0 if limit.tokens is None else window.wait_for_tokens(limit.tokens, tokens, now)
        if limit.tokens is not None and (delay is None or delay > wait):
            return self._finding(call, used=window.tokens, limit=limit.tokens, unit="tokens", needed=tokens, wait=delay)
        if limit.requests is not None and wait:
            return self._finding(call, used=len(window), limit=limit.requests, unit="requests", needed=1, wait=wait)
        return None

    def _finding(self, call: Call, *, used: int, limit: int, unit: str, needed: int, wait: int | None) -> Finding:
        value = self.value(call)
        whose = f" of {self.settings.by} {shown(value)!r}" if self.settings.by else ""
        retry_after = None if wait is None else timedelta(microseconds=-(-wait // 1_000))
        size = "" if unit == "requests" else f"; this call needs about {needed:,}"
        return Finding(
            kind=AlertKind.RATE_LIMIT_HIT,
            action=self.settings.action,
            severity=KINDS[AlertKind.RATE_LIMIT_HIT].severity_of(blocked=self.settings.action is Action.BLOCK),
            title=f"Rate limit {self.name} reached",
            message=f"Rate limit {self.name!r} allows {limit:,} {unit} per {self.settings.per}{whose}; {used:,} are used{size}.",
            episode=(self.name, value),
            subject=subject_of(call),
            evidence={"limit": limit, "used": used, "needed": needed, "unit": unit, "per": self.settings.per, "by": self.settings.by},
            remedy=_remedy(retry_after),
            retry_after=retry_after,
        )


def _remedy(retry_after: timedelta | None) -> str:
    if retry_after is None:
        return "It is larger than the whole limit: make the prompt smaller or raise detectors.rate_limits."
    return f"Try again in {math.ceil(retry_after.total_seconds())} s."


class RateLimits:
    """All rate limits. `take` decides and counts in one step, so that no call slips between the two.

    `earlier` are those in force until now: what they counted goes on counting under each limit that counts the same calls.
    """

    def __init__(
        self, limits: Sequence[RateLimitSettings], *, clock: Nanoseconds = time.monotonic_ns, earlier: "RateLimits | None" = None
    ) -> None:
        self._limits = tuple(RateLimit(settings, _name(settings, number)) for number, settings in enumerate(limits, 1))
        names = [limit.name for limit in self._limits]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rate limits are called {twice[0]!r}: give each its own name under detectors.rate_limits")
        self._of_tokens = tuple((limit, limit.settings.tokens) for limit in self._limits if limit.settings.tokens is not None)
        self._clock = clock
        self._open: dict[str, list[tuple[Window, Entry]]] = {}
        if earlier is not None:
            self._go_on_from(earlier)

    def _go_on_from(self, earlier: "RateLimits") -> None:
        left = list(earlier._limits)  # noqa: SLF001 - as above
        for limit in self._limits:
            same = [other for other in left if limit.counts_as(other)]
            if same:
                found = next((other for other in same if other.name == limit.name), same[0])
                left.remove(found)  # two limits that count the same have a window each
                limit.go_on_from(found)

    def __len__(self) -> int:
        return len(self._limits)

    def exact_matters(self, call: Call, *, bound: int) -> bool:
        """Whether a prompt of at most `bound` tokens is worth counting exactly for a token limit."""
        if not self._of_tokens:
            return False
        now = self._clock()
        for limit, most in self._of_tokens:  # noqa: SIM110 - `any` makes a generator of it, which takes twice as long
            if limit.matches(call) and (limit.window(call, now).tokens + bound) * _AT_STAKE > most:
                return True
        return False

    def take(self, call: Call, *, input_tokens: int, enforce: bool) -> tuple[Finding, ...]:
        """Count the call under each limit of its scope; return the limits it is over.

        Where one of them blocks and `enforce` is set, nothing is counted: the call is not sent. Output counts as far as the
        call caps it; `settle` corrects both.
        """
        if not self._limits:
            return ()
        now = self._clock()
        tokens = input_tokens + (call.max_output_tokens or 0) * call.choices
        windows: list[Window] = []
        found: list[Finding] = []
        for limit in self._limits:
            if limit.matches(call):
                windows.append(window := limit.window(call, now))
                if finding := limit.check(call, window, tokens=tokens, now=now):
                    found.append(finding)
        if found and enforce and any(finding.action is Action.BLOCK for finding in found):
            return tuple(found)
        if windows:
            self._open[call.id] = [(window, window.add(now, tokens)) for window in windows]
        return tuple(found)

    def give_back(self, call_id: str) -> None:
        """Count a call out that was not sent after all."""
        for window, entry in self._open.pop(call_id, ()):
            window.remove(entry)

    def settle(self, call_id: str, tokens: int | None) -> None:
        """Replace the estimate of a call by the tokens it used; None keeps the estimate."""
        for window, entry in self._open.pop(call_id, ()):
            if tokens is not None:
                window.correct(entry, tokens)


def _name(settings: RateLimitSettings, number: int) -> str:
    return settings.name or f"rate-limit-{number}"
