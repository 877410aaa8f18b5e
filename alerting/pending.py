"""Findings that wait to be written, identical ones merged."""

from collections.abc import Sequence
from dataclasses import dataclass

from alerting.episodes import Group, detection
from alerting.finding import Occurrence

MOST_DETECTIONS = 50_000
"""Beyond so many waiting findings (the store is down) only their number is kept."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """The condition of an episode is over."""

    fingerprint: str


type Step = Group | Cleared


class Pending:
    """What is to be written, in the order in which it came; a finding joins the group of its episode that waits already."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._groups: dict[str, Group] = {}
        self._detections = 0

    def __bool__(self) -> bool:
        return bool(self._steps)

    def add(self, occurrence: Occurrence, fingerprint: str) -> None:
        """Add one finding."""
        row = detection(occurrence)
        group = self._groups.get(fingerprint)
        if group is None:
            group = self._groups[fingerprint] = Group(fingerprint=fingerprint, first_at=row.at, latest=occurrence, count=0, detections=[])
            self._steps.append(group)
        group.latest = occurrence
        group.count += 1
        if self._detections < MOST_DETECTIONS:
            group.detections.append(row)
            self._detections += 1

    def clear(self, fingerprint: str) -> None:
        """Add the end of a condition; a finding after it starts a new group."""
        self._groups.pop(fingerprint, None)
        self._steps.append(Cleared(fingerprint))

    def take(self) -> Sequence[Step]:
        """Return all that waits, and wait for new."""
        steps, self._steps, self._groups, self._detections = self._steps, [], {}, 0
        return steps

    def put_back(self, steps: Sequence[Step]) -> None:
        """Return what could not be written to the front; groups of one episode with nothing between them are merged."""
        later, self._steps, self._groups, self._detections = self._steps, [], {}, 0
        for step in (*steps, *later):
            self._put(step)

    def _put(self, step: Step) -> None:
        if isinstance(step, Cleared):
            self.clear(step.fingerprint)
            return
        self._detections += len(step.detections)
        earlier = self._groups.setdefault(step.fingerprint, step)
        if earlier is step:
            self._steps.append(step)
            return
        earlier.latest = step.latest
        earlier.count += step.count
        earlier.detections += step.detections
