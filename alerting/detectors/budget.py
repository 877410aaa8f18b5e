"""Budgets that are nearly spent, spent, or too small for a call."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from alerting.finding import Action, AlertKind, Finding, Subject
from alerting.kinds import KINDS
from alerting.subjects import subject_of
from metering.call import Call
from metering.holds import BudgetMove, BudgetState, Denied
from metering.units import Limit

_FULL = 1.0


def crossings(call: Call, move: BudgetMove) -> Iterator[Finding]:
    """Return a finding for each threshold that a settlement carried the budget over, 100 % included."""
    budget = move.state.budget
    for share in (*budget.settings.warn_at, _FULL):
        threshold = Decimal(str(share)) * budget.limit.amount  # as written in the config: 0.55 of 100 is 55
        if move.spent_before < threshold <= move.spent_after:
            yield _reached(call, move.state, share=share)


def refused(call: Call, denied: Denied) -> Finding:
    """Return the finding on a call whose hold did not fit."""
    return too_small(call, denied.state, needed=denied.needed)


def too_small(call: Call, state: BudgetState, *, needed: int) -> Finding:
    """Return the finding on a call that needs more than is left; `state` is the one before it."""
    budget = state.budget
    return _finding(
        call,
        state,
        kind=AlertKind.BUDGET_EXCEEDED,
        action=Action.BLOCK,
        share=_FULL,
        title=f"Budget {budget.id} exceeded",
        message=(
            f"Budget {budget.id!r} allows {budget.limit} per {budget.settings.period}: {_amount(budget.limit, state.spent)} spent, "
            f"{_amount(budget.limit, state.held)} held by open calls, and this call may need {_amount(budget.limit, needed)}. "
            f"The period ends at {_clock(state.period.ends_at)}."
        ),
        needed=needed,
    )


def _reached(call: Call, state: BudgetState, *, share: float) -> Finding:
    budget = state.budget
    kind = AlertKind.BUDGET_EXCEEDED if share >= _FULL else AlertKind.BUDGET_WARNING
    verb = "exceeded" if share >= _FULL else f"at {share:.0%}"
    return _finding(
        call,
        state,
        kind=kind,
        action=Action.ALERT,
        share=share,
        title=f"Budget {budget.id} {verb}",
        message=(
            f"Budget {budget.id!r} threshold reached: {share:.0%}. {_amount(budget.limit, state.spent)} of {budget.limit} per "
            f"{budget.settings.period} are spent; the period ends at {_clock(state.period.ends_at)}."
        ),
    )


def _finding(  # noqa: PLR0913 - all keyword-only but the first two: what the two kinds of message differ in
    call: Call,
    state: BudgetState,
    *,
    kind: AlertKind,
    action: Action,
    share: float,
    title: str,
    message: str,
    needed: int | None = None,
) -> Finding:
    budget = state.budget
    return Finding(
        kind=kind,
        action=action,
        severity=KINDS[kind].severity_of(blocked=action is Action.BLOCK),
        title=title,
        message=message,
        episode=episode(state, share=share),
        subject=_subject(call, budget.id),
        evidence={
            "budget": budget.id,
            "unit": "nano_usd" if budget.limit.unit == "usd" else "tokens",
            "limit": budget.limit.amount,
            "spent": state.spent,
            "held": state.held,
            "needed": needed,
            "threshold": share,
        },
        remedy="Wait for the next period, raise the budget under `budgets`, or ask for fewer output tokens.",
        ends_at=state.period.ends_at,
    )


def episode(state: BudgetState, *, share: float) -> tuple[str, ...]:
    """Return what makes two findings on a budget one alert: the budget, its period, the threshold."""
    return (state.budget.id, state.period.starts_at.isoformat(), f"{share:g}")


def _subject(call: Call, budget_id: str) -> Subject:
    """Return the service that met the budget; who else spends from it is not this call's to say."""
    return Subject(service=subject_of(call).service, budget_id=budget_id)


def _amount(limit: Limit, amount: int) -> str:
    return str(Limit(amount, limit.unit))


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
