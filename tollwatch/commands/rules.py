"""`rules ls|show|test|add|rm|enable|disable`."""

import asyncio
import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from alerting.conflicts import analyse, conflict_findings
from alerting.explain import Outcome, Step, explain
from alerting.policy import Decision, Policy, in_order
from alerting.rule_counts import RuleCount, RuleCounts, RuleOutcome
from alerting.rule_settings import RuleSettings
from alerting.rulebook import KeptRule, RuleBook
from alerting.texts import Scan
from metering.call import Call
from storage.database import StoreError
from tollwatch.commands.rule_call import call_of
from tollwatch.commands.writing import write
from tollwatch.config import Config, load_config
from tollwatch.configerrors import sentences
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, json_value, line, note, printable, styled, table
from tollwatch.rawconfig import RawConfig, read_config
from tollwatch.store import beside, now

_DAYS = 30
"""What `ls` and `show` count over."""
_WIDTH = 13


def ls(arguments: Namespace) -> int:
    """List the rules in the order in which they are asked, those that are off last."""
    config = load_config(arguments.config)
    kept, broken, counts = _stored(config)
    ordered = _in_order(kept)
    if arguments.json:
        json_lines({**one.as_json(), "last_30_days": _numbers(one.settings.id, counts)} for one in ordered)
    else:
        table(
            ["ACTION", "PRIORITY", "ID", "STATE", "FROM", "TESTED", "MATCHED", "TITLE"],
            [_row(one, counts) for one in ordered],
            right=frozenset({"PRIORITY", "TESTED", "MATCHED"}),
            styles={"block": "high", "alert": "medium", "allow": "ok"},
        )
        for finding in conflict_findings(analyse([one.settings for one in kept if one.in_force])):
            note(printable(finding.message))
    for rule_id, reason in broken.items():
        note(f"The stored rule {rule_id!r} cannot be read: {reason}. Remove it by `tollwatch rules rm {rule_id}`")
    return Exit.OK


def show(arguments: Namespace) -> int:
    """Show one rule, and how often it was tested."""
    kept, _broken, counts = _stored(load_config(arguments.config))
    one = next((one for one in kept if one.settings.id == arguments.id), None)
    if one is None:
        raise CommandError(f"There is no rule {arguments.id!r}; `tollwatch rules ls` shows all")
    shown = {**one.as_json(), "last_30_days": _numbers(arguments.id, counts)}
    if arguments.json:
        json_value(shown)
        return Exit.OK
    for key, value in shown.items():
        line(f"{key:<{_WIDTH}} {printable(json.dumps(value) if isinstance(value, dict | list) else value)}".rstrip())
    return Exit.OK


def test(arguments: Namespace) -> int:
    """Say which rule decides on a call, and why, step by step; nothing is sent or counted."""
    config = load_config(arguments.config)
    kept, _broken, _counts = _stored(config)
    try:
        policy = Policy([one.settings for one in kept if not one.set_aside])
        call, tokens = asyncio.run(call_of(arguments, config))
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    scan = policy.scanner.scan(call.prompt) if policy.scanner is not None else Scan()
    decision, steps = explain(policy, call, tokens=tokens, scan=scan)
    if arguments.json:
        json_value(_tested_json(call, tokens, decision, steps))
    else:
        _tell(call, tokens, decision, steps, monitor=config.mode == "monitor")
    return Exit.BLOCKED if decision.action.value == "block" else Exit.OK


def add(arguments: Namespace) -> int:
    """Store the rules of a file, beside those of the config; they are in force at once."""
    for definition in _definitions(arguments.file):
        made = write(arguments, "rules.add", rule=definition, replace=arguments.replace)
        note(f"rule {made['id']} is {'in force' if made['in_force'] else 'stored, and off'}")
    return Exit.OK


def rm(arguments: Namespace) -> int:
    """Remove a stored rule."""
    write(arguments, "rules.remove", id=arguments.id)
    note(f"rule {arguments.id} is removed")
    return Exit.OK


def enable(arguments: Namespace) -> int:
    """Switch a stored rule on."""
    return _switch(arguments, enabled=True)


def disable(arguments: Namespace) -> int:
    """Switch a stored rule off, without removing it."""
    return _switch(arguments, enabled=False)


def _switch(arguments: Namespace, *, enabled: bool) -> int:
    made = write(arguments, "rules.enable", id=arguments.id, enabled=enabled)
    note(f"rule {made['id']} is {'on' if enabled else 'off'}")
    return Exit.OK


# --- reading --------------------------------------------------------------------------------------------------------------


def _stored(config: Config) -> tuple[list[KeptRule], dict[str, str], list[RuleCount]]:
    """Return all rules, the stored ones that cannot be read, and the counts; without a store yet, the config's rules."""
    if not config.database_path.exists():
        return [KeptRule(settings=rule, origin="file") for rule in config.rules], {}, []
    try:
        with beside(config.database_path) as database:

            async def asked() -> tuple[list[KeptRule], dict[str, str], list[RuleCount]]:
                book = RuleBook(database, file=config.rules, where="its `rules` section", now=now)
                await book.load()
                return book.all(), book.broken, await RuleCounts(database).since((now() - timedelta(days=_DAYS)).date())

            return asyncio.run(asked())
    except StoreError as error:
        raise CommandError(str(error)) from error


def kept_rules(config: Config) -> list[KeptRule]:
    """Return the rules of the config and those that are stored."""
    kept, _broken, _counts = _stored(config)
    return kept


def _in_order(kept: Sequence[KeptRule]) -> list[KeptRule]:
    by_id = {one.settings.id: one for one in kept if one.in_force}
    return [*(by_id[rule.id] for rule in in_order(one.settings for one in by_id.values())), *(one for one in kept if not one.in_force)]


def _row(one: KeptRule, counts: Sequence[RuleCount]) -> list[object]:
    rule, numbers = one.settings, _numbers(one.settings.id, counts)
    state = "on" if one.in_force else "set aside" if one.set_aside else "off"
    matched = sum(number for outcome, number in numbers.items() if outcome in {"allow", "alert", "block"})
    return [rule.action, rule.priority, rule.id, state, one.origin, matched + numbers["unmatched"], matched, rule.title]


def _numbers(rule_id: str, counts: Sequence[RuleCount]) -> dict[str, int]:
    own = [count for count in counts if count.rule_id == rule_id]
    return {outcome.value: sum(count.number for count in own if count.outcome is outcome) for outcome in RuleOutcome}


# --- test -----------------------------------------------------------------------------------------------------------------


def _tell(call: Call, tokens: int, decision: Decision, steps: Sequence[Step], *, monitor: bool) -> None:
    line(
        f"A {call.operation} call to {printable(call.provider)}, model {printable(call.model or 'unknown')}, "
        f"{tokens:,} input tokens, {call.request_bytes:,} bytes:"
    )
    for number, step in enumerate(steps, 1):
        rule = step.rule.settings
        head = f"{number:>3}. {printable(rule.id)} ({rule.action.value}, priority {rule.priority}): {step.outcome.value}"
        line(styled(head, "bad" if step.outcome is Outcome.DECIDES and rule.action.value == "block" else ""))
        for one in step.tests:
            if one.held or step.outcome is not Outcome.DECIDES:
                line(f"     {'yes' if one.held else 'no '}  {one.field} is {printable(one.value)}; the rule: {printable(one.said)}")
    line(printable(decision.reason))
    if monitor and decision.action.value == "block":
        line("The mode is monitor: the call would pass, and the alert would say so.")


def _tested_json(call: Call, tokens: int, decision: Decision, steps: Sequence[Step]) -> dict[str, object]:
    return {
        "action": decision.action.value,
        "rule_id": decision.rule.id if decision.rule else None,
        "reason": decision.reason,
        "call": {
            "provider": call.provider,
            "model": call.model,
            "user": call.caller.user,
            "department": call.caller.department,
            "input_tokens": tokens,
            "bytes": call.request_bytes,
        },
        "steps": [
            {
                "rule_id": step.rule.id,
                "action": step.rule.settings.action.value,
                "priority": step.rule.settings.priority,
                "outcome": step.outcome.value,
                "tests": [{"field": one.field, "rule": one.said, "call": one.value, "held": one.held} for one in step.tests],
            }
            for step in steps
        ],
    }


# --- add ------------------------------------------------------------------------------------------------------------------


def _definitions(given: str) -> list[dict[str, Any]]:
    """Return the rules of a file: one rule, or `rules:` and a list of them. What is wrong is told with its line."""
    if given != "-":
        return _read(Path(given), shown=Path(given))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(sys.stdin.read())
        file.flush()
        return _read(Path(file.name), shown=Path("<stdin>"))


def _read(path: Path, *, shown: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise CommandError(f"Cannot read rules from {path}: it is not a file", Exit.USAGE)
    raw = read_config(path, {})
    raw.path = shown
    values = raw.values
    several = set(values) == {"rules"} and isinstance(values["rules"], list)
    given = cast("list[Any]", values["rules"]) if several else [values]
    if not given or not all(isinstance(one, dict) for one in given):
        raise CommandError(f"{shown} holds no rule: write the keys of one (id, title, match, action), or `rules:` and a list", Exit.USAGE)
    for index, one in enumerate(given):
        _check(one, raw, prefix=("rules", index) if several else ())
    return given


def _check(definition: dict[str, Any], raw: RawConfig, *, prefix: tuple[str | int, ...]) -> None:
    try:
        RuleSettings.model_validate(definition)
    except ValidationError as error:
        lines = {path[len(prefix) :]: number for path, number in raw.lines.items() if path[: len(prefix)] == prefix}
        inner = RawConfig(raw.path, definition, lines)
        raise CommandError("\n".join(sentences(error, inner, RuleSettings)), Exit.ERROR) from error
