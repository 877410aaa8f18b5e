"""The most that a call can cost, and the rates that it is reckoned by."""

from dataclasses import dataclass, field
from decimal import Decimal

from metering.units import NANO

_ATTO_PER_NANO = 10**18 // NANO


@dataclass(frozen=True, slots=True)
class Rates:
    """The most that a token of input and of output costs, and what each request costs beside them, in atto-dollars."""

    input: int
    output: int
    requests: int = 0
    flat: bool = field(default=False, compare=False)
    """Whether they are the same for a prompt of any length."""

    def cost(self, *, input_tokens: int, output_tokens: int) -> int:
        """Return nano-dollars."""
        return rounded(self.input * input_tokens + self.output * output_tokens + self.requests)

    def marked(self, mark: Decimal) -> "Rates":
        """Return the rates times a mark, rounded up."""
        above, below = mark.as_integer_ratio()
        read, wrote, asked = (-(-rate * above // below) for rate in (self.input, self.output, self.requests))
        return Rates(read, wrote, asked, flat=self.flat)


def fixed(cost_nano: int) -> Rates:
    """Return the rates of a call that costs the same whatever it reads and writes."""
    return Rates(0, 0, cost_nano * _ATTO_PER_NANO, flat=True)


def rounded(atto: int) -> int:
    """Return atto-dollars as nano-dollars, rounded half to even."""
    nanos, rest = divmod(atto, _ATTO_PER_NANO)
    return nanos + (rest * 2 > _ATTO_PER_NANO or (rest * 2 == _ATTO_PER_NANO and nanos & 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The most that a call can cost, as far as its request tells. Hidden reasoning and server tools can exceed it."""

    input_tokens: int
    output_tokens: int
    cost_nano: int
    rates: Rates
    priced: bool
    """Whether the model has a price; without one the cost is at the dearest price of the provider."""

    def with_output(self, output_tokens: int) -> int:
        """Return what the call costs with so much output, in nano-dollars."""
        return self.rates.cost(input_tokens=self.input_tokens, output_tokens=output_tokens)


def quoted(rates: Rates, *, input_tokens: int, output_tokens: int, priced: bool) -> Quote:
    """Return what a usage costs by some rates."""
    cost = rates.cost(input_tokens=input_tokens, output_tokens=output_tokens)
    return Quote(input_tokens=input_tokens, output_tokens=output_tokens, cost_nano=cost, rates=rates, priced=priced)


NO_COST = Quote(input_tokens=0, output_tokens=0, cost_nano=0, rates=Rates(0, 0), priced=True)
