"""The `detectors.onchain` section of the config: what may be sent to a blockchain."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from alerting.finding import Action, Severity
from metering.settings import Scope, Section
from metering.units import Span

_UNITS = {"wei": 1, "gwei": 10**9, "eth": 10**18}
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_SELECTOR = re.compile(r"0x[0-9a-fA-F]{8}")


def parse_wei(value: object) -> object:
    """Return the wei in `0.5 ETH`, `100 gwei`, `7 wei`; pass on integers; raise ValueError with the accepted units otherwise."""
    if not isinstance(value, str):
        return value
    amount, _, unit = value.strip().partition(" ")
    factor = _UNITS.get(unit.strip().lower())
    try:
        wei = Decimal(amount) * (factor or 0)
    except InvalidOperation:
        wei = Decimal(-1)
    if factor is None or not wei.is_finite() or wei < 0 or wei != wei.to_integral_value():
        msg = f"{value!r} is not an amount: write for example '0.5 ETH' (units: ETH or what the chain's coin is, gwei, wei)"
        raise ValueError(msg)
    return int(wei)


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        msg = f"{value!r} is not an address: write 0x and 40 hexadecimal digits, in quotes"
        raise ValueError(msg)
    return value.lower()


def _selector(value: str) -> str:
    if not _SELECTOR.fullmatch(value):
        msg = f"{value!r} is not a function selector: write 0x and 8 hexadecimal digits, in quotes ('0xa9059cbb' is a token's transfer)"
        raise ValueError(msg)
    return value.lower()


type Wei = Annotated[int, BeforeValidator(parse_wei), Field(ge=0)]
type ChainAddress = Annotated[str, AfterValidator(_address)]
type Selector = Annotated[str, AfterValidator(_selector)]


class OnchainRuleSettings(Section):
    """What the calls of a scope may send; what is not given is not limited."""

    id: str = Field(min_length=1, max_length=100)
    scope: Scope = Scope()
    chains: tuple[int, ...] | None = None
    """Chain ids."""
    recipients: tuple[ChainAddress, ...] | None = None
    """Accounts and contracts that may get anything: coins, calls, tokens, or the code of an account."""
    selectors: tuple[Selector, ...] | None = None
    """Functions that may be called; a transfer of coins alone calls none."""
    max_value: Wei | None = None
    """Of one transaction."""
    daily_value: Wei | None = None
    """Of all in a day (UTC)."""
    cooldown: Span | None = None
    """Between two transactions."""
    create_contracts: bool = False
    action: Literal[Action.ALERT, Action.BLOCK] = Action.BLOCK
    severity: Severity = Severity.HIGH


class OnchainSettings(Section):
    """Off, it costs nothing: its code is not even imported."""

    enabled: bool = False
    rules: tuple[OnchainRuleSettings, ...] = ()
    tools: tuple[str, ...] = ("*send*transaction*", "*transfer*")
    """Globs of MCP tools whose arguments are a transaction."""

    @model_validator(mode="after")
    def _has_rules(self) -> "OnchainSettings":
        names = [rule.id for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            msg = f"two on-chain rules are called {twice[0]!r}: give each its own id, what was sent is kept by it"
            raise ValueError(msg)
        if self.enabled and not self.rules:
            msg = "detectors.onchain is enabled and has no rules, so that it would allow everything: add one under `rules`"
            raise ValueError(msg)
        return self
