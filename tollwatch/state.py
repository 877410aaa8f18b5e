"""What a running gateway says of itself: once to the person who starts it, and to whoever asks how it is."""

from dataclasses import dataclass, field
from datetime import datetime

from api.status import Status
from metering.ledger import Ledger
from tollwatch import __version__
from tollwatch.config import Config
from tollwatch.first_start import Installation


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What the person at the terminal is told when the gateway is ready."""

    config: Config
    installation: Installation
    forward: str
    base_url: str
    api: str
    recovered: int


@dataclass(slots=True, kw_only=True)
class State:
    """What /readyz and /api/status are made of."""

    instance: str
    mode: str
    started_at: datetime
    canary_held: bool = False
    ending: bool = False
    doors: dict[str, str | None] = field(default_factory=lambda: dict[str, str | None].fromkeys(("forward", "base_url", "api")))

    def status(self, ledger: Ledger) -> Status:
        """Return how the gateway is now."""
        return Status(
            version=__version__,
            mode=self.mode,
            instance=self.instance,
            started_at=self.started_at,
            store_writable=ledger.healthy,
            canary_held=self.canary_held,
            doors=dict(self.doors),
            problems=("the gateway is ending",) if self.ending else (),
        )
