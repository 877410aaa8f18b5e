"""How the gateway is, as the wiring reports it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of the gateway at one moment.

    `doors` maps the name of each door to the address it listens on, None while it does not. `problems` are further reasons not to be ready.
    """

    version: str
    mode: str
    instance: str
    started_at: datetime
    store_writable: bool
    canary_held: bool
    doors: Mapping[str, str | None]
    problems: tuple[str, ...] = field(default=())

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the gateway is not ready; empty when it is."""
        reasons = [] if self.store_writable else ["the store cannot be written"]
        if not self.canary_held:
            reasons.append("the start-up canary was not blocked and recorded")
        reasons += [f"the {name} door does not listen" for name, address in self.doors.items() if address is None]
        return (*reasons, *self.problems)

    @property
    def ready(self) -> bool:
        """Whether calls may be sent through this gateway."""
        return not self.reasons
