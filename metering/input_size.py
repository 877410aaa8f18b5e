"""How many tokens a prompt has: a bound at once, the count when somebody asks."""

from metering.call import Call
from metering.quote import Quote
from metering.tokens import LONG, TokenCounter


class InputSize:
    """The tokens of a prompt: an upper bound at once, the exact count only when somebody asks. It lives no longer than its call."""

    __slots__ = ("_call", "_counter", "best", "counted", "exact")

    def __init__(self, call: Call, counter: TokenCounter) -> None:
        self._call = call
        self._counter = counter
        self.best = counter.bound(call.prompt, model=call.model, provider=call.provider, tools=len(call.tools))
        """The count where it was taken, else the bound."""
        self.exact: int | None = None
        self.counted: Quote | None = None
        """The quote by the exact count, where the call had been let through by the bound."""

    @property
    def call(self) -> Call:
        """The call whose prompt it is."""
        return self._call

    @property
    def estimate(self) -> int:
        """About how many tokens the prompt has: the count where it was taken, else what its length tells (counting would cost the most)."""
        if self.exact is not None:
            return self.exact
        return self._counter.glance(self._call.prompt, model=self._call.model, provider=self._call.provider)

    @property
    def bound(self) -> int | None:
        """The most that the prompt can have; None where it was counted."""
        return self.best if self.exact is None else None

    @property
    def takes_long(self) -> bool:
        """Whether counting would hold the loop up."""
        return self._call.prompt.chars + len(self._call.prompt.tools) > LONG

    async def count(self) -> int:
        """Return the exact count."""
        if self.exact is None:
            call = self._call
            self.best = self.exact = await self._counter.count(call.prompt, model=call.model, provider=call.provider)
        return self.exact

    def count_now(self) -> int:
        """Return the exact count without leaving this thread; see `takes_long`."""
        if self.exact is None:
            call = self._call
            self.best = self.exact = self._counter.count_now(call.prompt, model=call.model, provider=call.provider)
        return self.exact
