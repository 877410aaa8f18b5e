"""Whether anybody is told of an alert now, and if not, what holds that back: a silence, or an alert that says it all.

The alert itself stays as it is: it opens, counts and ends, and every feed shows it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerting.alert import COLUMNS, Alert, from_row
from alerting.finding import AlertKind
from alerting.labels import labels_of
from alerting.silence import Silence
from alerting.silences import SilenceBook
from storage.database import Database, Row, Sql, Work
from storage.times import to_micros

type Clock = Callable[[], datetime]
type Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhibition:
    """While an alert of kind `source` is open, alerts of the `targets` (None: every other kind) are held back that are about the same."""

    source: AlertKind
    targets: frozenset[AlertKind] | None
    same: tuple[str, ...]
    """Labels; the first that the source has must be equal."""

    def holds_back(self, source: Labels, target: Labels) -> bool:
        """Whether an open alert with the labels `source` holds back one with the labels `target`."""
        kind = target.get("kind")
        if source.get("kind") != self.source or kind == self.source or (self.targets is not None and kind not in self.targets):
            return False
        name = next((name for name in self.same if name in source), None)
        return name is not None and target.get(name) == source[name]


INHIBITIONS = (
    Inhibition(source=AlertKind.BUDGET_EXCEEDED, targets=frozenset({AlertKind.BUDGET_WARNING}), same=("budget_id",)),
    Inhibition(source=AlertKind.USER_LOCKED_OUT, targets=None, same=("user", "key_id")),
)

_INHIBITING = f"""
SELECT {COLUMNS} FROM alerts WHERE seq IN (
    SELECT MAX(seq) FROM alerts
    WHERE resolved_at IS NULL AND kind IN ('budget_exceeded', 'user_locked_out') AND (expires_at IS NULL OR expires_at > ?)
    GROUP BY kind, subject)
"""  # noqa: S608  # only constants are put together
"""The sources of `INHIBITIONS` that are open, of those about the same the newest; served by the index `alerts_inhibiting`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """What holds an alert back now; false when nothing does."""

    silenced_by: tuple[str, ...] = ()
    """Ids of silences."""
    inhibited_by: tuple[Alert, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.silenced_by or self.inhibited_by)


class Suppressors:
    """All that holds alerts back, as of one moment."""

    def __init__(self, active: Sequence[Silence], inhibiting: Sequence[Alert]) -> None:
        self._active = active
        self._inhibiting = [(alert, labels_of(alert)) for alert in inhibiting]

    def of(self, alert: Alert) -> HeldBack:
        """Return what holds back an alert; nothing holds back one that is resolved."""
        return HeldBack() if alert.resolved_at else self.of_labels(labels_of(alert))

    def of_labels(self, labels: Labels) -> HeldBack:
        """Return what holds back an alert with these labels (`alerting.labels`)."""
        return HeldBack(
            silenced_by=tuple(silence.id for silence in self._active if silence.covers(labels)),
            inhibited_by=tuple(alert for alert, source in self._inhibiting if any(rule.holds_back(source, labels) for rule in INHIBITIONS)),
        )


class Suppression:
    """Answers whether somebody is told of an alert now."""

    def __init__(self, database: Database, silences: SilenceBook, *, now: Clock) -> None:
        self._database = database
        self._silences = silences
        self._now = now

    async def now(self) -> Suppressors:
        """Return what holds alerts back, as last committed."""
        return self._suppressors(await self._database.read(_INHIBITING, (to_micros(self._now()),)))

    def work(self) -> Work[Suppressors]:
        """Return the unit of work that answers with the same inside another's transaction, what it has written included."""
        return self._suppressors((yield Sql(_INHIBITING, (to_micros(self._now()),))))

    def _suppressors(self, rows: Sequence[Row]) -> Suppressors:
        return Suppressors(self._silences.active(), [from_row(row) for row in rows])
