"""How far apart the least and the most lie that a provider's calls of one day cost."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from metering.holds import Settlement

_KEPT = 1024
"""Days of providers; the oldest go."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What one provider's calls of one day (UTC) cost, in nano-dollars."""

    provider: str
    day: date
    floor_nano: int = 0
    ceiling_nano: int = 0

    @property
    def share(self) -> float:
        """The part of the most that is not certain: 0 is a point."""
        return (self.ceiling_nano - self.floor_nano) / self.ceiling_nano if self.ceiling_nano > 0 else 0.0


class Spreads:
    """The spreads of the days that calls settle in."""

    def __init__(self) -> None:
        self._days: OrderedDict[tuple[str, date], Spread] = OrderedDict()

    def settled(self, settlements: Iterable[tuple[Settlement, int]]) -> None:
        """Add what calls came to, each with its hold."""
        sums: dict[tuple[str, date], tuple[int, int]] = {}
        for settlement, hold_nano in settlements:
            call, (floor, ceiling) = settlement.call, settlement.reading.interval
            key = call.provider, call.started_at.date()
            least, most = sums.get(key, (0, 0))
            sums[key] = least + (floor or 0), most + (hold_nano if ceiling is None else ceiling)
        for (provider, day), (least, most) in sums.items():
            self.add(Spread(provider, day, least, most))

    def add(self, spread: Spread) -> None:
        """Add what some calls came to."""
        key = spread.provider, spread.day
        before = self._days.get(key)
        if before is not None:
            spread = Spread(*key, before.floor_nano + spread.floor_nano, before.ceiling_nano + spread.ceiling_nano)
        self._days[key] = spread
        while len(self._days) > _KEPT:
            self._days.popitem(last=False)

    def of(self, provider: str, day: date) -> Spread:
        """Return the spread of a provider's day."""
        return self._days.get((provider, day)) or Spread(provider, day)
