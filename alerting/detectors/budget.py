"""Budgets that are nearly spent, spent, or too small for a call."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from alerting.finding import Action, AlertKind, Finding, Subject
from alerting.kinds import KINDS
from alerting.subjects import shown, subject_of
from metering.budgets import Budget
from metering.call import Call, Consumption
from metering.holds import BudgetMove, BudgetState, Denied
from metering.units import Limit

_FULL = 1.0
_ENDS_HERE, _GOES_ON = ": it ends here, after about", ". It goes on after about"
_WOULD_CUT = "In enforce mode it would have been ended there."


def crossings(call: Call, move: BudgetMove) -> Iterator[Finding]:
    """Return a finding for each threshold that a settlement carried the budget over, 100 % included."""
    for share, threshold in move.state.budget.thresholds:
        if move.spent_before < threshold <= move.spent_after:
            yield _reached(call, move.state, share=share)


def refused(call: Call, denied: Denied, *, waited: bool) -> Finding:
    """Return the finding on a call that needs more than is left; the state of `denied` is the one before it.

    Monitor mode waits for nothing (`waited` false), and says for how long enforce would.
    """
    state, budget = denied.state, denied.budget
    about_waiting = ""
    if not denied.hopeless and (seconds := budget.settings.wait.total_seconds()):
        about_waiting = (
            f" What open calls hold did not come back within {seconds:g} s."
            if waited
            else f" It would have waited {seconds:g} s for what open calls hold, and passed if that had come back."
        )
    return _finding(
        call,
        state,
        kind=AlertKind.BUDGET_EXCEEDED,
        action=Action.BLOCK,
        share=_FULL,
        title=f"Budget {budget.id} exceeded",
        message=(
            f"{_standing(state)}, and this call may need {_amount(budget.limit, denied.needed)}.{about_waiting} "
            f"The period ends at {_clock(state.period.ends_at)}."
        ),
        needed=denied.needed,
    )


def used_up(call: Call, state: BudgetState, *, needed: int, passed: int) -> Finding:
    """Return the finding on a running answer that a budget has nothing left for; about `passed` tokens of it came through."""
    budget = state.budget
    return _finding(
        call,
        state,
        kind=AlertKind.BUDGET_EXCEEDED,
        action=Action.BLOCK,
        share=_FULL,
        title=f"Budget {budget.id} exceeded",
        message=(
            f"{_standing(state)}, and the rest of this answer may need {_amount(budget.limit, needed)}: it ends here, after about "
            f"{passed:,} tokens. The period ends at {_clock(state.period.ends_at)}."
        ),
        needed=needed,
    )


def observed_cut(finding: Finding) -> Finding:
    """Return what `used_up` found as monitor mode tells it."""
    severity = KINDS[finding.kind].severity_of(blocked=False)
    return replace(finding, message=f"{finding.message.replace(_ENDS_HERE, _GOES_ON)} {_WOULD_CUT}", severity=severity)


def unbounded(call: Call, budget: Budget, *, at: datetime) -> Finding:
    """Return the finding on a call whose cost nothing bounds, where its budget refuses such calls."""
    what = f"{call.model or 'its model'!r} of {call.provider} has no price"
    remedy = "Add the model under `pricing.overrides`, or let the budget hold the dearest price of the provider (`unpriced: hold_dearest`)."
    if call.consumption is Consumption.UNREAD:
        what = f"the format of {call.method} {shown(call.path)} of {call.provider} is not read"
        remedy = "Let the budget hold the dearest price of the provider instead (`unpriced: hold_dearest`)."
    return Finding(
        kind=AlertKind.UNPRICED_MODEL if call.consumption is not Consumption.UNREAD else AlertKind.METER_GAP,
        action=Action.BLOCK,
        severity=KINDS[AlertKind.UNPRICED_MODEL].severity_of(blocked=True),
        title=f"Budget {budget.id} cannot bound a call",
        message=f"Budget {budget.id!r} refuses calls without a bound (`unpriced: refuse`): {what}.",
        episode=(call.provider, shown(call.model) or call.endpoint.value, budget.id, at.date().isoformat()),
        subject=replace(subject_of(call), budget_id=budget.id),
        evidence={"budget": budget.id, "model": shown(call.model), "consumption": call.consumption.value},
        remedy=remedy,
    )


def _standing(state: BudgetState) -> str:
    budget = state.budget
    return (
        f"Budget {budget.id!r} allows {budget.limit} per {budget.settings.period}: {_amount(budget.limit, state.spent)} spent, "
        f"{_amount(budget.limit, state.held)} held by open calls"
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
