"""What a ledger did, in numbers."""

from dataclasses import dataclass


@dataclass(slots=True)
class LedgerStats:
    """What the ledger did since it was made."""

    batches: int = 0
    granted: int = 0
    denied: int = 0
    topped_up: int = 0
    settled: int = 0
    ignored_settlements: int = 0
    """Second settlements of one call, and settlements of calls that were never admitted."""
    lost_settlements: int = 0
    store_failures: int = 0
