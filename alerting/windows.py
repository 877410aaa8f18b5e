"""An exact sliding window: what was taken in the last so many nanoseconds."""

from collections import deque


class Entry:
    """One call in a window. Its tokens are an estimate until it is settled."""

    __slots__ = ("at", "is_inside", "tokens")

    def __init__(self, at: int, tokens: int) -> None:
        self.at = at
        self.tokens = tokens
        self.is_inside = True


class Window:
    """The calls of the last `span` nanoseconds. A call leaves at exactly `at + span`."""

    __slots__ = ("_entries", "_span", "tokens")

    def __init__(self, span: int) -> None:
        self._span = span
        self._entries: deque[Entry] = deque()
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._entries)

    def move_to(self, now: int) -> None:
        """Let the calls leave whose time is over."""
        entries, gone_at = self._entries, now - self._span
        while entries and entries[0].at <= gone_at:
            self.tokens -= self._leave().tokens

    def _leave(self) -> Entry:
        entry = self._entries.popleft()
        entry.is_inside = False
        return entry

    def add(self, now: int, tokens: int) -> Entry:
        """Count one call in."""
        entry = Entry(now, tokens)
        self._entries.append(entry)
        self.tokens += tokens
        return entry

    def correct(self, entry: Entry, tokens: int) -> None:
        """Replace the estimate of a call by what it used."""
        if entry.is_inside:
            self.tokens += tokens - entry.tokens
        entry.tokens = tokens

    def remove(self, entry: Entry) -> None:
        """Count a call out: it was not sent after all."""
        if entry.is_inside:
            self._entries.remove(entry)
            self.tokens -= entry.tokens
            entry.is_inside = False

    def wait_for_request(self, limit: int, now: int) -> int:
        """Return the nanoseconds until one more call is within `limit`; 0 when it is now."""
        surplus = len(self._entries) - limit
        return 0 if surplus < 0 else self._entries[surplus].at + self._span - now

    def wait_for_tokens(self, limit: int, needed: int, now: int) -> int | None:
        """Return the nanoseconds until `needed` more tokens are within `limit`; 0 when they are now, None when they never are."""
        if needed > limit:
            return None
        surplus = self.tokens + needed - limit
        if surplus <= 0:
            return 0
        leaves_at = now
        for entry in self._entries:
            surplus -= entry.tokens
            leaves_at = entry.at + self._span
            if surplus <= 0:
                break
        return leaves_at - now
