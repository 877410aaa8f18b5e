"""A call of the ledger with the steps that budgets saw of it: let through, topped up as it ran, settled."""

from dataclasses import dataclass
from typing import Self, cast

from metering.ledger_batch import UNHEARD
from metering.ledger_rows import COLUMNS, LedgerRow
from metering.quote import Quote
from metering.terms import Terms, counted_quote
from storage.database import Row

STEP_COLUMNS = "admitted_seq, settled_seq, terms, counted, top_ups, charged_tokens"
RECORDED_COLUMNS = f"{COLUMNS}, {STEP_COLUMNS}"
_STEPS = len(STEP_COLUMNS.split(","))


@dataclass(frozen=True, slots=True)
class Step:
    """Output tokens that a running call asked to hold beside what it held, and those that it was granted.

    Where it asked for none it gave back what the bound of its prompt held too much. Where it was granted none, its answer was ended.
    """

    number: int
    asked: int
    granted: int
    least: int = 0
    """Where it was granted none: the tokens that would have been of use."""
    heard: bool = True
    """Whether its call lived to hear of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A row and its steps. Their numbers are the order of all steps of the ledger; calls from before there were any have none."""

    row: LedgerRow
    admitted: int | None = None
    settled: int | None = None
    terms: Terms | None = None
    """None also for calls that cost nothing, or are charged as they were ordered."""
    counted: Quote | None = None
    """What the call was quoted by the exact count, where the bound that it held had no room and somebody asked."""
    top_ups: tuple[Step, ...] = ()
    charged_tokens: int | None = None
    """The tokens that it was charged, where the counts of the row do not tell."""

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return the row of a SELECT of `RECORDED_COLUMNS`."""
        ledger = LedgerRow.from_row(row[:-_STEPS])
        steps = cast("tuple[int | None, int | None, str | None, str | None, str | None, int | None]", row[-_STEPS:])
        admitted, settled, terms_text, counted, top_ups, charged = steps
        terms = None if terms_text is None else Terms.parse(terms_text, started_at=ledger.started_at)
        return cls(
            row=ledger,
            admitted=admitted,
            settled=settled,
            terms=terms,
            counted=None if counted is None or terms is None else counted_quote(counted, terms.quote),
            top_ups=tuple(_step(one) for one in (top_ups or "").split(",") if one),
            charged_tokens=charged,
        )


def _step(text: str) -> Step:
    number, asked, granted, *least = map(int, text.removesuffix(UNHEARD).split(":"))
    return Step(number, asked, granted, least[0] if least else 0, heard=not text.endswith(UNHEARD))
