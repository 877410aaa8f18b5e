"""The store beside a running gateway: read here, written only by who holds the lock."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from storage.database import Outcome, Row, StoreError, Value, Work
from storage.sqlite import ReadOnly, open_readonly


def now() -> datetime:
    """Return the moment, in UTC: the one clock of commands and gateway."""
    return datetime.now(UTC)


class Beside:
    """A `Database` that reads and refuses to write."""

    def __init__(self, reader: ReadOnly) -> None:
        self._reader = reader

    async def read(self, text: str, params: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a SELECT, as last committed."""
        return self._reader.read(text, params)

    async def write[T](self, work: Callable[[], Work[T]]) -> T:
        """Refuse: what writes goes through the control socket or takes the lock."""
        raise StoreError(f"Cannot write beside the gateway ({work!r})")

    def submit[T](self, work: Callable[[], Work[T]], done: Callable[[Outcome[T]], None], *, quick: bool = False) -> None:
        """Refuse, as write does."""
        raise StoreError(f"Cannot write beside the gateway ({work!r}, {quick=}, for {done!r})")


@contextmanager
def beside(path: Path) -> Generator[Beside]:
    """Open the store for reading; raise StoreError with the remedy when there is none."""
    with open_readonly(path) as reader:
        yield Beside(reader)
