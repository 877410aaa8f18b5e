"""`rules backtest`: what a rule or a budget would have done to the calls of the last days."""

import asyncio
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from alerting.backtest import Outcome, RuleBacktest, Summary
from alerting.rule_settings import RuleSettings
from metering.budget_replay import BudgetReplay, ReplayMode
from metering.budgets import Budget
from metering.ledger import Ledger
from metering.ledger_rows import LedgerRow
from metering.recorded import Recorded
from metering.replay_told import Told
from metering.settings import BudgetSettings
from metering.units import Limit
from storage.database import StoreError
from tollwatch.commands.rules import kept_rules
from tollwatch.config import Config, load_config
from tollwatch.configerrors import sentences
from tollwatch.exits import CommandError, Exit
from tollwatch.output import counted, json_value, line, note, printable, table
from tollwatch.rawconfig import RawConfig, read_config, suggestion
from tollwatch.store import beside, now

_PAGE = 5_000
_LONGEST_BEFORE = timedelta(minutes=10)
"""How long before a period a call may begin that is held in it: its prompt is received meanwhile."""
_TELL_EVERY = 100_000
_MOST_SHOWN = 20
_LACKS = {
    "tools": "the ledger does not keep which tools a call defines",
    "text": "the ledger keeps nothing of a prompt's text, nor the secrets in it",
    "tokens": "the prompt was not counted to the token",
}


def backtest(arguments: Namespace) -> int:
    """Run a rule or a budget over the ledger and say what it would have fired on and blocked."""
    config = load_config(arguments.config)
    candidates = _candidates(arguments.what, config)
    since = now() - timedelta(days=arguments.days)
    results: list[dict[str, object]] = []
    budgets = [one for one in candidates if isinstance(one, BudgetSettings)]
    mode: ReplayMode = "monitor" if arguments.monitor else "enforce"
    all_told = _budgets(config, budgets, since=since, mode=mode, alone=arguments.alone, samples=arguments.samples)
    for candidate in candidates:
        if isinstance(candidate, BudgetSettings):
            told = all_told[candidate.name]
            results.append(_budget_json(told, mode))
            if not arguments.json:
                _show_budget(told)
        else:
            others = [] if arguments.alone else [*_in_force(config), *(one for one in candidates if isinstance(one, RuleSettings))]
            summary = _rule(config, candidate, _by_id(others), since=since, samples=arguments.samples)
            results.append(_rule_json(candidate, summary, since))
            if not arguments.json:
                _show_rule(candidate, summary, since)
    if arguments.json:
        json_value(results[0] if len(results) == 1 else results)
    return Exit.OK


def _in_force(config: Config) -> list[RuleSettings]:
    return [one.settings for one in kept_rules(config) if one.in_force]


def _by_id(rules: Sequence[RuleSettings]) -> list[RuleSettings]:
    """Return the rules, of those with one id the last."""
    return list({rule.id: rule for rule in rules}.values())


# --- what is to be tested -------------------------------------------------------------------------------------------------


def _candidates(what: str, config: Config) -> list[RuleSettings | BudgetSettings]:
    """Return the rules or budgets of a file, else the rule or budget in force of this id."""
    path = Path(what)
    if path.is_file():
        return _of_file(path)
    kept = {one.settings.id: one.settings for one in kept_rules(config)}
    budgets = {budget.name: budget for budget in config.budgets}
    if what in kept and what in budgets:
        note(f"There is a rule and a budget {what!r}; this is the rule. Put the budget into a file to test it")
    if what in kept:
        return [kept[what]]
    if what in budgets:
        return [budgets[what]]
    near = suggestion(what, [*kept, *budgets])
    raise CommandError(
        f"{what!r} is neither a file nor the id of a rule or a budget{near}; `tollwatch rules ls` shows the rules", Exit.USAGE
    )


def _of_file(path: Path) -> list[RuleSettings | BudgetSettings]:
    raw = read_config(path, {})
    found: list[RuleSettings | BudgetSettings] = []
    for prefix, given in _definitions(raw):
        model: type[RuleSettings | BudgetSettings] = (
            BudgetSettings if "budgets" in prefix or (not prefix and "limit" in given) else RuleSettings
        )
        found.append(_checked(given, raw, prefix, model))
    if not found:
        raise CommandError(f"{path} holds no rule and no budget: write the keys of one, or `rules:` or `budgets:` and a list", Exit.USAGE)
    return found


def _definitions(raw: RawConfig) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Return what a file defines, and where: the lists of a whole config file or of one that has nothing else; or one rule or budget."""
    values = cast("Mapping[str, object]", raw.values)
    lists = {name: given for name, given in values.items() if name in {"rules", "budgets"}}
    if not lists:
        return [((), raw.values)] if raw.values else []
    found: list[tuple[tuple[str | int, ...], dict[str, Any]]] = []
    for name, given in lists.items():
        members = cast("list[object]", given) if isinstance(given, list) else [given]
        for index, one in enumerate(members):
            if not isinstance(one, dict):
                raise CommandError(f"{raw.where((name, index))}: {one!r} is neither a rule nor a budget: write its keys", Exit.USAGE)
            found.append(((name, index), cast("dict[str, Any]", one)))
    return found


def _checked[S: BaseModel](given: dict[str, Any], raw: RawConfig, prefix: tuple[str | int, ...], model: type[S]) -> S:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        lines = {path[len(prefix) :]: number for path, number in raw.lines.items() if path[: len(prefix)] == prefix}
        raise CommandError("\n".join(sentences(error, RawConfig(raw.path, given, lines), model))) from error


# --- the run ----------------------------------------------------------------------------------------------------------------


def _rule(config: Config, rule: RuleSettings, others: Sequence[RuleSettings], *, since: datetime, samples: int) -> Summary:
    try:
        test = RuleBacktest(rule, others)
    except ValueError as error:
        raise CommandError(str(error)) from error
    summary = Summary(action=rule.action, most_samples=samples)
    _over(
        config,
        lambda ledger: _pages(ledger, since),
        lambda rows: summary.add(map(test.judge, rows), rule_id=rule.id),
        lambda row: row.started_at,
    )
    return summary


def _budgets(
    config: Config, tested: Sequence[BudgetSettings], *, since: datetime, mode: ReplayMode, alone: bool, samples: int
) -> Mapping[str, Told]:
    """Begin with the periods that `since` falls in: what was spent in them before counts."""
    if not tested:
        return {}
    together = {budget.name: budget for budget in (*(() if alone else config.budgets), *tested)}
    replay = BudgetReplay(list(together.values()), mode=mode, told_since=since, most_samples=samples)
    begin = min(Budget(budget).period(since).starts_at for budget in together.values()) - _LONGEST_BEFORE
    _over(config, lambda ledger: _recorded_pages(ledger, begin), replay.add, lambda one: one.row.started_at)
    replay.end()
    return replay.told


def _over[R](
    config: Config,
    pages: Callable[[Ledger], AsyncIterator[list[R]]],
    hear: Callable[[Sequence[R]], None],
    reached: Callable[[R], datetime],
) -> None:
    async def run() -> None:
        read = 0
        with beside(config.database_path) as database:
            async for rows in pages(Ledger(database, instance="", now=now, on_settled=lambda _batch: None)):
                hear(rows)
                before, read = read, read + len(rows)
                if before // _TELL_EVERY != read // _TELL_EVERY and sys.stderr.isatty():
                    note(f"{read:,} calls, up to {reached(rows[-1]):%Y-%m-%d %H:%M} UTC")

    try:
        asyncio.run(run())
    except StoreError as error:
        raise CommandError(str(error)) from error


async def _pages(ledger: Ledger, since: datetime) -> AsyncIterator[list[LedgerRow]]:
    after: str | None = None
    while rows := await ledger.rows(since=since, after=after, limit=_PAGE):
        yield rows
        after = rows[-1].id


async def _recorded_pages(ledger: Ledger, since: datetime) -> AsyncIterator[list[Recorded]]:
    after: str | None = None
    while rows := await ledger.recorded(since=since, after=after, limit=_PAGE):
        yield rows
        after = rows[-1].row.id


# --- what came of it ---------------------------------------------------------------------------------------------------------


def _rule_json(rule: RuleSettings, summary: Summary, since: datetime) -> dict[str, object]:
    return {
        "rule_id": rule.id,
        "action": rule.action.value,
        "since": since.isoformat(),
        "calls": summary.calls,
        "fired": summary.fired,
        "blocked": summary.blocked,
        "fired_live": summary.fired_live,
        "decided_elsewhere": summary.outcomes[Outcome.ELSEWHERE],
        "unmatched": summary.outcomes[Outcome.NO],
        "unknown": summary.outcomes[Outcome.UNKNOWN],
        "unknown_for": dict(summary.lacks),
        "not_judged": summary.outcomes[Outcome.NOT_JUDGED],
        "by": {name: dict(counter.most_common()) for name, counter in summary.by.items()},
        "samples": [row.as_json() for row in summary.samples],
    }


def _show_rule(rule: RuleSettings, summary: Summary, since: datetime) -> None:
    line(f"Rule {printable(rule.id)} ({printable(rule.title)}), action {rule.action.value}, on the calls since {since:%Y-%m-%d %H:%M} UTC")
    done = {"block": "would have been blocked", "alert": "would have been alerted on", "allow": "it would have allowed"}
    line(f"  {counted(summary.calls, 'call')}: {summary.fired} {done[rule.action.value]}")
    for number, told in (
        (summary.outcomes[Outcome.ELSEWHERE], "it matches, and a rule before it decides"),
        (summary.outcomes[Outcome.UNKNOWN], "cannot be told"),
        (summary.outcomes[Outcome.NOT_JUDGED], "were refused before any rule was asked"),
        (summary.fired_live, "of those it fires on the gateway recorded under this id"),
    ):
        if number:
            line(f"  {number} {told}")
    for name, number in summary.lacks.most_common():
        line(f"    {number}: {_LACKS[name]}")
    _show_by(summary.by)
    _show_samples(summary.samples)


def _show_by(by: Mapping[str, Counter[str]]) -> None:
    for name, counter in by.items():
        if not counter:
            continue
        rows = sorted(counter.items()) if name == "day" else counter.most_common()
        line()
        table([name.upper(), "CALLS"], rows[-_MOST_SHOWN:] if name == "day" else rows[:_MOST_SHOWN], right=frozenset({"CALLS"}))


def _show_samples(rows: Sequence[LedgerRow]) -> None:
    if rows:
        line()
        cells = [[f"{row.started_at:%Y-%m-%d %H:%M:%S}", row.id, row.provider, row.request_model, row.user, row.verdict] for row in rows]
        table(["STARTED (UTC)", "SAMPLE", "PROVIDER", "MODEL", "USER", "VERDICT"], cells)


def _budget_json(told: Told, mode: ReplayMode) -> dict[str, object]:
    return {
        "budget": told.budget.id,
        "mode": mode,
        "since": told.since.isoformat(),
        "calls": told.calls,
        "crossings": [
            {
                "at": one.at.isoformat(),
                "call_id": one.call_id,
                "share": one.share,
                "spent": one.spent,
                "period_starts_at": one.starts_at.isoformat(),
            }
            for one in told.crossings
        ],
        "refused": told.refused,
        "cut": told.cut,
        "refused_maybe": told.unknown,
        "refused_live": told.refused_live,
        "uncertain_charges": told.uncertain,
        "by": {name: dict(counter.most_common()) for name, counter in told.by.items()},
        "samples": [row.as_json() for row in told.samples],
    }


def _show_budget(told: Told) -> None:
    budget = told.budget
    line(f"Budget {printable(budget.id)}, {budget.limit} per {budget.settings.period}, on the calls since {told.since:%Y-%m-%d %H:%M} UTC")
    line(f"  {counted(told.calls, 'call')} of its scope: {told.refused} would have been refused")
    if told.cut:
        line(f"  {told.cut} more, streams, would have been ended before their end")
    if told.unknown:
        line(f"  {told.unknown} may have been refused or ended: it depends on what the ledger does not keep of them, or of those before")
    if told.refused_live:
        line(f"  {told.refused_live} were refused by a budget then: what they would have cost is not known, so they are left out")
    if told.uncertain:
        line(f"  {told.uncertain} are of unknown cost: they count with the least, so that a share may have been reached before")
    if told.crossings:
        line()
        cells = [
            [f"{one.at:%Y-%m-%d %H:%M:%S}", f"{one.share:.0%}", Limit(one.spent, budget.limit.unit), one.call_id] for one in told.crossings
        ]
        table(["REACHED (UTC)", "SHARE", "SPENT", "CALL"], cells[:_MOST_SHOWN], right=frozenset({"SHARE"}))
        if len(cells) > _MOST_SHOWN:
            line(f"and {len(cells) - _MOST_SHOWN} more; --json shows all")
    _show_by(told.by)
    _show_samples(told.samples)
