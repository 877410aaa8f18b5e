"""What a running stream holds of its budgets: a quantum of output at a time, topped up ahead of need."""

from dataclasses import dataclass


@dataclass(slots=True)
class Lease:
    """The output that one stream may still write before its budgets are asked again."""

    call_id: str
    level: int
    """Output tokens that are held."""
    due_at: int
    """Output tokens from which more is asked for."""
