"""`selftest`: what the config makes of the shipped tricks."""

import asyncio
from argparse import Namespace
from collections.abc import Iterable, Sequence

from alerting.rule_settings import RuleSettings
from tollwatch.config import Config, load_config
from tollwatch.control import ControlError, ask, socket_path
from tollwatch.exits import CommandError, Exit
from tollwatch.output import counted, json_value, line, note, printable, table
from tollwatch.selftest import IN_FORCE, InForce, Outcome, run
from tollwatch.tricks import tricks


def selftest(arguments: Namespace) -> int:
    """Judge every trick by the rules in force; unhealthy when one of them would have been sent."""
    config = load_config(arguments.config)
    in_force, source = _in_force(config)
    outcomes = asyncio.run(run(in_force, tricks()))
    if arguments.json:
        json_value(_as_json(outcomes, in_force, source))
    else:
        _print(outcomes, in_force, source)
    return Exit.OK if all(outcome.caught for outcome in outcomes) else Exit.UNHEALTHY


def _in_force(config: Config) -> tuple[InForce, str]:
    """Return the rules and the mode of the running gateway, those of the config file when none runs."""
    try:
        told = ask(socket_path(config.data_dir), IN_FORCE, {})
        rules = [RuleSettings.model_validate(rule) for rule in told["rules"]]
        return InForce(config=config, rules=rules, mode=told["mode"]), "the running gateway"
    except ConnectionRefusedError:
        return InForce(config=config, rules=config.rules, mode=config.mode), "the config file (no gateway runs)"
    except (ControlError, OSError, ValueError) as error:
        raise CommandError(f"Cannot ask the running gateway for its rules: {error}") from error


def _as_json(outcomes: Sequence[Outcome], in_force: InForce, source: str) -> dict[str, object]:
    return {
        "source": source,
        "mode": in_force.mode,
        "tried": len(outcomes),
        "caught": sum(outcome.caught for outcome in outcomes),
        "kinds": [
            {"kind": kind, "tried": len(each), "caught": sum(one.caught for one in each)} for kind, each in _by_kind(outcomes).items()
        ],
        "missed": [
            {"id": one.trick.id, "kind": one.trick.kind, "about": one.trick.about, "reason": one.trick.reason, "why": one.why}
            for one in outcomes
            if not one.caught
        ],
    }


def _print(outcomes: Sequence[Outcome], in_force: InForce, source: str) -> None:
    rows = (
        (kind, len(each), sum(one.caught for one in each), sum(not one.caught for one in each)) for kind, each in _by_kind(outcomes).items()
    )
    table(("KIND", "TRIED", "CAUGHT", "MISSED"), rows, right=frozenset({"TRIED", "CAUGHT", "MISSED"}))
    missed = [outcome for outcome in outcomes if not outcome.caught]
    line(f"{counted(len(outcomes), 'trick')} against the rules of {source}: {len(outcomes) - len(missed)} caught, {len(missed)} missed")
    for outcome in missed:
        line(f"missed  {outcome.trick.id}: {printable(outcome.trick.reason)}")
        line(f"        {printable(outcome.why)}")
    if in_force.mode == "monitor":
        note("tollwatch: the mode is monitor: what is caught here is alerted on, and sent all the same")


def _by_kind(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.trick.kind, []).append(outcome)
    return found
