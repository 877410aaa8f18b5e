"""`budgets ls|show|reset`: what is spent of each budget, where its period leads, and a new beginning."""

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime

from metering.budget_view import BudgetView, budget_views
from metering.budgets import BudgetBook
from metering.ledger import Ledger
from metering.units import Limit
from storage.database import StoreError
from tollwatch.commands.writing import write
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import counted, json_lines, json_value, line, note, printable, table
from tollwatch.rawconfig import suggestion
from tollwatch.store import beside, now

_METHODS = {"hour_of_week": "by the hours of the week", "linear": "at the pace so far"}
_STYLES = {"exceeded": "critical", "warning": "medium", "ok": "ok"}
_WIDTH = 12


def ls(arguments: Namespace) -> int:
    """List the budgets of the config, each in its current period."""
    views = _views(arguments)
    if arguments.json:
        json_lines(view.as_json() for view in views)
        return Exit.OK
    heads = ["STATUS", "NAME", "SPENT", "HELD", "LEFT", "LIMIT", "USED", "PERIOD", "ENDS", "EXPECTED AT ITS END"]
    cells = [
        [
            view.status,
            view.budget.id,
            *(_amount(view, amount) for amount in (view.spent, view.held, view.left, view.budget.limit.amount)),
            f"{view.used:.0%}",
            view.budget.settings.period,
            _clock(view, view.period.ends_at),
            _expected(view),
        ]
        for view in views
    ]
    table(heads, cells, right=frozenset({"SPENT", "HELD", "LEFT", "LIMIT", "USED"}), styles=_STYLES)
    return Exit.OK


def show(arguments: Namespace) -> int:
    """Show one budget."""
    views = _views(arguments)
    view = _found(arguments.name, views)
    if arguments.json:
        json_value(view.as_json())
        return Exit.OK
    settings = view.budget.settings
    scope = ", ".join(f"{name} {value}" for name, value in settings.scope.model_dump(exclude_none=True).items()) or "all calls"
    reached = [f"{one.share:.0%} ({_amount(view, one.amount)}){' reached' if one.reached else ''}" for one in view.thresholds]
    for key, value in (
        ("name", view.budget.id),
        ("scope", scope),
        ("status", view.status),
        ("limit", f"{_amount(view, view.budget.limit.amount)} per {settings.period}, then {settings.on_exceed}"),
        ("period", f"{_clock(view, view.period.starts_at)} to {_clock(view, view.period.ends_at)} ({settings.timezone})"),
        ("spent", f"{_amount(view, view.spent)} ({view.used:.1%})"),
        ("held", f"{_amount(view, view.held)} by open calls"),
        ("overshoot", f"{_amount(view, view.overshoot)} taken beyond what was held"),
        ("left", _amount(view, view.left)),
        ("thresholds", ", ".join(reached)),
        ("forecast", _forecast(view)),
        *(("reset", f"{_clock(view, one.at)} by {one.actor}: {_amount(view, one.amount)} had been spent") for one in view.resets),
    ):
        line(f"{key:<{_WIDTH}} {printable(value)}")
    return Exit.OK


def reset(arguments: Namespace) -> int:
    """Set what a budget has spent in its current period back to nothing."""
    answer = write(arguments, "budgets.reset", name=arguments.name)
    if arguments.json:
        json_value(answer)
        return Exit.OK
    spent = str(Limit(answer["amount"], answer["unit"]))
    ended = f", and {counted(answer['alerts'], 'alert')} of it ended" if answer["alerts"] else ""
    note(f"Budget {answer['reset']!r} begins anew: {spent} had been spent in its period{ended}")
    return Exit.OK


def _views(arguments: Namespace) -> list[BudgetView]:
    config = load_config(arguments.config)
    budgets = BudgetBook(config.budgets).all
    if not budgets and not arguments.json:
        note("The config has no budgets; add one under `budgets`, for example {name: daily, limit: 50 USD, period: day}")
    try:
        with beside(config.database_path) as database:
            ledger = Ledger(database, instance="", now=now, on_settled=lambda _batch: None, budgets=budgets)

            async def asked() -> list[BudgetView]:
                return await budget_views(database, await ledger.budgets(), now=now())

            return asyncio.run(asked())
    except StoreError as error:
        raise CommandError(str(error)) from error


def _found(name: str, views: Sequence[BudgetView]) -> BudgetView:
    names = [view.budget.id for view in views]
    if name not in names:
        raise CommandError(f"There is no budget {name!r} in the config{suggestion(name, names)}; `tollwatch budgets ls` shows them")
    return views[names.index(name)]


def _expected(view: BudgetView) -> str:
    ahead = view.forecast
    if ahead is None:
        return "-"
    return f"{_amount(view, ahead.expected)} ({_amount(view, ahead.low)} to {_amount(view, ahead.high)})"


def _forecast(view: BudgetView) -> str:
    ahead = view.forecast
    if ahead is None:
        return "too little has been charged yet to tell"
    known = f"from {counted(ahead.observed_hours, 'hour')} {_METHODS[ahead.method]}"
    reaches = f"; reaches the limit at {_clock(view, ahead.exceeds_at)}" if ahead.exceeds_at else ""
    expected, low, high = (_amount(view, amount) for amount in (ahead.expected, ahead.low, ahead.high))
    return f"{expected} at its end, four times in five {low} to {high}, {known}{reaches}"


def _amount(view: BudgetView, amount: int) -> str:
    return str(Limit(amount, view.budget.limit.unit))


def _clock(view: BudgetView, moment: datetime) -> str:
    return moment.astimezone(view.budget.zone).strftime("%Y-%m-%d %H:%M")
