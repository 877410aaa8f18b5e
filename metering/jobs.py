"""The results that were counted, so that asking for one again costs nothing."""

from collections import OrderedDict
from collections.abc import Iterable

KEPT = 8192


class Jobs:
    """Remembers ids of background responses, runs and batches by provider: the last ones, in memory."""

    def __init__(self) -> None:
        self._counted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def remember(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Take providers and ids that were counted before this process began, the oldest first."""
        for provider, job in jobs:
            self.count(provider, job)

    def count(self, provider: str, job: str) -> bool:
        """Return whether the result counts now: the first time that it is seen."""
        first = (provider, job) not in self._counted
        self._counted[provider, job] = None
        self._counted.move_to_end((provider, job))
        if len(self._counted) > KEPT:
            self._counted.popitem(last=False)
        return first
