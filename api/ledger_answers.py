"""What the answers about calls, spending and budgets look like."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from api.bodies import Answer

type Usd = str
"""Money as decimal text with all its digits."""


class Models(Answer):
    """The model that was asked for, and the one that answered."""

    request: str | None
    response: str | None


class CallTokens(Answer):
    """What a call used; null is unknown."""

    input: int | None
    """With those read from and written to the provider's cache."""
    output: int | None
    """With reasoning."""
    cache_read: int | None
    cache_write: int | None
    cache_write_1h: int | None
    reasoning: int | None
    estimated_input: int | None
    """As counted before the call was sent."""


class PriceSource(Answer):
    """The table that the price is from."""

    source: str | None
    version: str | None


class Caller(Answer):
    """Who called, as far as identity tells. `key_id` is a fingerprint of the provider key, never the key."""

    user: str | None
    department: str | None
    agent: str | None
    key_id: str | None


class Sizes(Answer):
    """Bytes of the bodies."""

    request: int
    response: int | None


class CallAnswer(Answer):
    """A row of the ledger. Unknown is null, never 0."""

    id: str
    started_at: datetime
    first_byte_at: datetime | None
    ended_at: datetime | None
    provider: str
    service: str
    operation: str
    endpoint: str
    wire_format: str | None
    model: Models
    streamed: bool
    door: str
    method: str
    host: str
    path: str
    status: int | None
    state: Literal["intent", "settled", "refused", "unknown"]
    ending: str | None
    verdict: str
    rule_id: str | None
    tokens: CallTokens
    cost_usd: Usd | None
    cost_floor_usd: Usd | None
    cost_ceiling_usd: Usd | None
    our_cost_usd: Usd | None
    """By our prices, where the provider told its own."""
    hold_usd: Usd | None
    overshoot_usd: Usd | None
    source: str
    """Where the cost is known from."""
    price: PriceSource
    units: Mapping[str, int | float | str | None] | None
    """What is not priced by tokens."""
    job: str | None
    caller: Caller
    bytes: Sizes
    instance: str


class CallsAnswer(Answer):
    """One page of calls."""

    calls: list[CallAnswer]
    next_after: str | None
    """Asks for the next page as `after`; null on the last."""


class UnknownCost(Answer):
    """Calls whose cost is not known."""

    calls: int
    at_most_usd: Usd | None


class SpendTokens(Answer):
    """Sums of tokens."""

    input: int
    output: int
    cache_read: int
    cache_write: int


class SpendTotal(Answer):
    """What was spent, at least, probably and at most."""

    calls: int
    refused_calls: int
    cost_usd: Usd | None
    cost_floor_usd: Usd | None
    cost_ceiling_usd: Usd | None
    unknown_cost: UnknownCost
    tokens: SpendTokens


class SpendBucket(SpendTotal):
    """What was spent on one key of an axis; null is what has none."""

    key: str | None


class SpendAnswer(Answer):
    """What was spent, in all and along each axis that was asked for."""

    days: int
    since: datetime
    until: datetime | None
    total: SpendTotal
    by_day: tuple[SpendBucket, ...] = ()
    by_provider: tuple[SpendBucket, ...] = ()
    by_model: tuple[SpendBucket, ...] = ()
    by_user: tuple[SpendBucket, ...] = ()
    by_service: tuple[SpendBucket, ...] = ()
    by_department: tuple[SpendBucket, ...] = ()
    by_source: tuple[SpendBucket, ...] = ()


class ThresholdAnswer(Answer):
    """One share of a budget that is told of."""

    share: float
    amount: Usd | int | None
    reached: bool


class ForecastAnswer(Answer):
    """What to expect at the period's end."""

    method: str
    expected: Usd | int | None
    low: Usd | int | None
    high: Usd | int | None
    exceeds_at: datetime | None
    observed_hours: int


class ResetAnswer(Answer):
    """Spending that was taken off a budget by hand."""

    at: datetime
    actor: str
    amount: Usd | int | None


class BudgetAnswer(Answer):
    """A budget in its current period. Dollars are decimal text, tokens are numbers."""

    name: str
    scope: Mapping[str, object]
    unit: str
    limit: Usd | int | None
    period: str
    timezone: str
    period_start: datetime
    period_end: datetime
    spent: Usd | int | None
    held: Usd | int | None
    overshoot: Usd | int | None
    left: Usd | int | None
    used: float
    """The share of the limit that is spent."""
    status: Literal["ok", "warning", "exceeded"]
    on_exceed: str
    thresholds: list[ThresholdAnswer]
    forecast: ForecastAnswer | None
    resets: list[ResetAnswer]


class BudgetsAnswer(Answer):
    """All budgets."""

    budgets: list[BudgetAnswer]


class BudgetStanding(Answer):
    """A budget in short; times in Unix seconds."""

    name: str
    unit: str
    limit: Usd | int | None
    spent: Usd | int | None
    held: Usd | int | None
    on_exceed: str
    period: str
    period_start: int
    period_end: int


class StatusAnswer(Answer):
    """How the gateway is; times in Unix seconds."""

    status: Literal["ready", "degraded"]
    reasons: list[str]
    """Why it is degraded."""
    version: str
    mode: str
    instance: str
    started_at: int
    uptime_seconds: int
    doors: Mapping[str, str | None]
    """The address of each door, null while it does not listen."""
    budgets: list[BudgetStanding]
