"""In which order the steps of the ledger came: a number for each, ever larger, whatever the clock does."""

_LOOKED_AT = 1_000
LAST_NUMBERS = (
    "SELECT MAX(admitted_seq), MAX(settled_seq) FROM "  # noqa: S608 - made of the constant above
    f"(SELECT admitted_seq, settled_seq FROM calls ORDER BY id DESC LIMIT {_LOOKED_AT}) AS latest"
)
"""The largest numbers of the calls that began last."""


class EventOrder:
    """Gives numbers: the microseconds of the clock where it goes on, the next number where it stands or is set back.

    So numbers of one run, of the next and of calls from before there were any can be compared.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def take(self, count: int, *, at: int) -> int:
        """Return the first of `count` numbers that follow each other; `at` is now in microseconds."""
        first = max(self._last + 1, at)
        self._last = first + count - 1
        return first

    def follow(self, last: int) -> None:
        """Give only numbers beyond this one."""
        self._last = max(self._last, last)
