"""What a rule would have done to the calls of the ledger, told by the matcher that judges live calls."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from alerting.finding import Action
from alerting.policy import Policy
from alerting.rule import READ, Rule
from alerting.rule_settings import RESERVED, RuleSettings
from metering.call import Call
from metering.ledger_rows import LedgerRow
from metering.recall import call_of

_NEVER_JUDGED = frozenset({400, 413, 415, 503})
"""The statuses of calls that were refused before any rule: without one meaning, too large, or by a gateway that could not do its work."""


class Outcome(StrEnum):
    """What a rule would have made of one call."""

    DECIDES = "decides"
    """It would have decided."""
    ELSEWHERE = "elsewhere"
    """It matches, and a rule before it decides."""
    NO = "no"
    """It does not match."""
    UNKNOWN = "unknown"
    """The row does not keep what would tell."""
    NOT_JUDGED = "not_judged"
    """The call was refused before the rules were asked, or is the gateway's own."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The outcome for one row; `lacks` are the fields that would have told where it is unknown."""

    row: LedgerRow
    outcome: Outcome
    lacks: tuple[str, ...] = ()


class RuleBacktest:
    """One rule among those in force, in whose place it stands where one of them has its id. Raises ValueError as Policy does."""

    def __init__(self, rule: RuleSettings, others: Sequence[RuleSettings] = ()) -> None:
        self.rule = rule.model_copy(update={"enabled": True})
        ids = [other.id for other in others]
        rules = [self.rule if other.id == rule.id else other for other in others]
        self._policy = Policy(rules if rule.id in ids else [*rules, self.rule])

    def judge(self, row: LedgerRow) -> Judged:
        """Return what the rule would have made of a call."""
        if _never_judged(row):
            return Judged(row, Outcome.NOT_JUDGED)
        call = call_of(row)
        lacking: dict[str, None] = {}
        for each in self._policy.rules:
            held, lacks = holds(each, call, row)
            if each.id == self.rule.id:
                return self._own(row, held=held, lacks=lacks, lacking=lacking)
            if held is True:
                return self._decided_before(row, call)
            if held is None:
                lacking |= dict.fromkeys(lacks)
        raise AssertionError("the rule is among those of its own policy")

    def _own(self, row: LedgerRow, *, held: bool | None, lacks: Sequence[str], lacking: Mapping[str, None]) -> Judged:
        if held is False:
            return Judged(row, Outcome.NO)
        if held is None or lacking:
            return Judged(row, Outcome.UNKNOWN, tuple(dict.fromkeys([*lacking, *lacks])))
        return Judged(row, Outcome.DECIDES)

    def _decided_before(self, row: LedgerRow, call: Call) -> Judged:
        own = next(each for each in self._policy.rules if each.id == self.rule.id)
        held, _lacks = holds(own, call, row)
        return Judged(row, Outcome.NO if held is False else Outcome.ELSEWHERE)


def _never_judged(row: LedgerRow) -> bool:
    if row.state != "refused":
        return False
    return row.status in _NEVER_JUDGED or (row.rule_id or "").startswith(RESERVED)


def holds(rule: Rule, call: Call, row: LedgerRow) -> tuple[bool | None, tuple[str, ...]]:
    """Return whether a rule matches a call of the ledger; None where it cannot be told, with the fields that the row lacks.

    A row keeps no tools, no text and no secrets of a prompt. Its size is known where it was counted, else an upper bound of it is.
    """
    lacks: list[str] = []
    for name, test in rule.tests.items():
        if name == "tools" and row.wire_format is not None:
            lacks.append(name)
        elif not test(READ[name](call)):
            return False, ()
    counted = row.estimated_input_tokens is not None and row.input_tokens_bound is None
    tokens = row.estimated_input_tokens if counted else row.input_tokens_bound
    # A refusal before its prompt was measured leaves no size; no prompt is larger than this.
    found = rule.matches(call, tokens=_NO_SIZE if tokens is None else tokens, exact=counted, scan=None)
    if found is False:
        return False, ()
    if found is not True:
        lacks.append(found.value)
    return (None, tuple(lacks)) if lacks else (True, ())


_NO_SIZE = 1 << 62


@dataclass(slots=True, kw_only=True)
class Summary:
    """Back-tested calls, counted. `fired` are those that the rule would have decided on."""

    action: Action
    most_samples: int = 10
    calls: int = 0
    fired: int = 0
    fired_live: int = 0
    """Of these, how many the gateway recorded under a rule of this id then."""
    outcomes: Counter[Outcome] = field(default_factory=Counter[Outcome])
    lacks: Counter[str] = field(default_factory=Counter[str])
    by: Mapping[str, Counter[str]] = field(
        default_factory=lambda: MappingProxyType({name: Counter[str]() for name in ("day", "user", "model")})
    )
    samples: list[LedgerRow] = field(default_factory=list[LedgerRow])

    @property
    def blocked(self) -> int:
        """How many calls enforce mode would have refused."""
        return self.fired if self.action is Action.BLOCK else 0

    def add(self, judged: Iterable[Judged], *, rule_id: str) -> None:
        """Count some calls."""
        for one in judged:
            self.calls += 1
            self.outcomes[one.outcome] += 1
            self.lacks.update(one.lacks)
            if one.outcome is Outcome.DECIDES:
                self._fired(one.row, rule_id)

    def _fired(self, row: LedgerRow, rule_id: str) -> None:
        self.fired += 1
        self.fired_live += row.rule_id == rule_id
        self.by["day"][f"{row.started_at:%Y-%m-%d}"] += 1
        self.by["user"][row.user or "-"] += 1
        self.by["model"][row.request_model or "-"] += 1
        if len(self.samples) < self.most_samples:
            self.samples.append(row)
