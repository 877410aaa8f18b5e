"""`rules health`: how each rule stands, and how the rules stand to each other."""

import asyncio
from argparse import Namespace
from dataclasses import dataclass

from alerting.conflicts import Analysis, Overlap, Shadow, analyse
from alerting.rule_counts import RuleCounts
from alerting.rule_health import Health, is_dormant
from alerting.rule_settings import RuleSettings
from alerting.rule_watch import read_health
from storage.database import StoreError
from tollwatch.commands.rules import kept_rules
from tollwatch.config import Config, load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_value, line, printable, table
from tollwatch.store import beside, now


@dataclass(frozen=True, slots=True)
class _Report:
    analysis: Analysis
    healths: list[Health]


def health(arguments: Namespace) -> int:
    """Print how the rules stand; nothing is measured for the alerts by it."""
    config = load_config(arguments.config)
    report = _report(config, [one.settings for one in kept_rules(config) if one.in_force])
    if arguments.json:
        json_value(_as_json(report, config))
    else:
        _show(report, config)
    return Exit.OK


def _report(config: Config, rules: list[RuleSettings]) -> _Report:
    analysis = analyse(rules)

    async def asked() -> list[Health]:
        with beside(config.database_path) as database:
            counts = RuleCounts(database)
            return await read_health(database, counts, rules, analysis=analysis, settings=config.rule_health, now=now())

    try:
        return _Report(analysis, asyncio.run(asked()))
    except StoreError as error:
        raise CommandError(str(error)) from error


def _show(report: _Report, config: Config) -> None:
    table(
        ["SCORE", "ID", "EVALUATED", "DENIED", "LAST EVALUATED", "LAST CHANGED", "TITLE"],
        [_row(one) for one in sorted(report.healths, key=lambda one: one.score)],
        right=frozenset({"SCORE", "EVALUATED", "DENIED"}),
    )
    for one in report.healths:
        for note in (*one.notes, *(["It is dormant."] if is_dormant(one, config.rule_health, now()) else [])):
            line(f"{printable(one.rule.id)}: {note}")
    for sentence in _told(report.analysis):
        line(printable(sentence))


def _row(one: Health) -> list[object]:
    activity = one.activity
    evaluated = f"{activity.evaluated_at:%Y-%m-%d %H:%M}" if activity.evaluated_at else "never"
    rate = "" if activity.deny_rate is None else f"{activity.deny_rate:.0%}"
    return [one.score, one.rule.id, activity.evaluations, rate, evaluated, f"{one.record.changed_at:%Y-%m-%d}", one.rule.title]


def _told(analysis: Analysis) -> list[str]:
    """Return what the rules do to each other, a sentence each; what is a conflict first."""
    conflicts = [one for one in analysis.overlaps if one.is_conflict]
    others = [one for one in analysis.overlaps if not one.is_conflict]
    return [
        *(f"{one.id} can match no call." for one in analysis.impossible),
        *(
            f"{one.rule.id} never decides: {', '.join(by.id for by in one.by)} decides before it (for example {one.example})."
            for one in analysis.shadows
        ),
        *(f"{_pair(one)} contradict each other on {one.example}, at the same priority; {one.first.id} counts." for one in conflicts),
        *(f"{_pair(one)} differ on {one.example}; {one.first.id} decides." for one in others),
        *analysis.undecided,
    ]


def _pair(one: Overlap) -> str:
    return f"{one.first.id} ({one.first.action.value}) and {one.second.id} ({one.second.action.value})"


def _as_json(report: _Report, config: Config) -> dict[str, object]:
    analysis = report.analysis
    return {
        "rules": [one.as_json(dormant=is_dormant(one, config.rule_health, now())) for one in report.healths],
        "conflicts": [_overlap_json(one) for one in analysis.overlaps if one.is_conflict],
        "overlaps": [_overlap_json(one) for one in analysis.overlaps if not one.is_conflict],
        "shadowed": [_shadow_json(one) for one in analysis.shadows],
        "impossible": [rule.id for rule in analysis.impossible],
        "undecided": list(analysis.undecided),
    }


def _overlap_json(one: Overlap) -> dict[str, object]:
    return {
        "decides": one.first.id,
        "action": one.first.action.value,
        "other": one.second.id,
        "other_action": one.second.action.value,
        "example": one.example,
    }


def _shadow_json(one: Shadow) -> dict[str, object]:
    return {"rule_id": one.rule.id, "by": [rule.id for rule in one.by], "example": one.example}
