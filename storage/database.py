"""The one way to the store: portable SQL text, reads that do not block, writes that are durable when they return."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

type Value = int | float | str | bytes | None
type Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Sql:
    """One statement with `?` placeholders; run inside a work, it answers with the rows it returned (RETURNING included)."""

    text: str
    params: Sequence[Value] = ()


@dataclass(frozen=True, slots=True)
class Many:
    """One statement run once for each row of parameters; it answers with no rows."""

    text: str
    rows: Sequence[Sequence[Value]]


type Work[T] = Generator[Sql | Many, list[Row], T]
"""A unit of work: a generator that yields statements, receives their rows and returns its result. It holds no driver, so the
same work runs on every engine. All of it commits, or none of it does. It may be run again from the start (a retried
conflict), so it must have no effect but its statements."""


class Database(Protocol):
    """What every store needs of an engine."""

    async def read(self, text: str, params: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a SELECT, as last committed."""
        ...

    async def write[T](self, work: Callable[[], Work[T]]) -> T:
        """Run a unit of work in a transaction (many works may share one) and return its result once it is durable.

        Raises what the work raised (its own statements are then rolled back, others' are not), or StoreError.
        """
        ...

    def submit[T](self, work: Callable[[], Work[T]], done: "Callable[[Outcome[T]], None]", *, quick: bool = False) -> None:
        """Queue a unit of work without waiting: `done` is called once, in the event loop, with what became of it.

        `quick` promises that its statements take some milliseconds at most: the store may then run them in the event loop.
        Raises StoreError when the store is closed. For batches on the hot path, where a future a row would cost more than the row.
        """
        ...


@dataclass(frozen=True, slots=True)
class Done[T]:
    """A unit of work is durable; this is its result."""

    result: T


@dataclass(frozen=True, slots=True)
class Failed:
    """A unit of work left nothing; this is why."""

    error: Exception


type Outcome[T] = Done[T] | Failed


class StoreError(Exception):
    """The store could not do what was asked: disk full, locked, corrupt, closed. The message says which, and the remedy."""


class ConstraintError(StoreError):
    """A row contradicts what is kept already (its id exists, say). The store itself is well."""
