"""What a back-test tells of one budget."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from metering.budgets import Budget
from metering.ledger_rows import LedgerRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A settlement that carried a period over a share of the limit."""

    at: datetime
    starts_at: datetime
    call_id: str
    share: float
    spent: int


@dataclass(slots=True, kw_only=True)
class Told:
    """What one budget would have done to the calls since a moment."""

    budget: Budget
    since: datetime
    most_samples: int
    calls: int = 0
    refused: int = 0
    """Calls that it would certainly have refused before they were sent."""
    cut: int = 0
    """Others, streams, that it would certainly have ended."""
    unknown: int = 0
    """Calls of which neither can be told."""
    refused_live: int = 0
    """Calls that were refused by a budget then and are not told above: what they would have cost is not known."""
    uncertain: int = 0
    """Calls whose charge is not known, since they are charged what they held and that is not kept."""
    crossings: list[Crossing] = field(default_factory=list[Crossing])
    samples: list[LedgerRow] = field(default_factory=list[LedgerRow])
    by: Mapping[str, Counter[str]] = field(
        default_factory=lambda: MappingProxyType({name: Counter[str]() for name in ("day", "user", "model")})
    )

    def refuses(self, row: LedgerRow, *, cut: bool) -> None:
        """Take in a call that is refused, or whose answer is ended."""
        if row.started_at < self.since:
            return
        if cut:
            self.cut += 1
        else:
            self.refused += 1
        self.by["day"][f"{row.started_at:%Y-%m-%d}"] += 1
        self.by["user"][row.user or "-"] += 1
        self.by["model"][row.request_model or "-"] += 1
        if len(self.samples) < self.most_samples:
            self.samples.append(row)

    def settled(self, row: LedgerRow, *, at: datetime, starts_at: datetime, before: int, after: int) -> None:
        """Take in what a settlement carried the spending of a period over."""
        if at < self.since:
            return
        for share, threshold in self.budget.thresholds:
            if before < threshold <= after:
                self.crossings.append(Crossing(at=at, starts_at=starts_at, call_id=row.id, share=share, spent=after))
