"""`channels ls|test`."""

from argparse import Namespace

from tollwatch.commands.writing import write
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, json_value, note, table


def ls(arguments: Namespace) -> int:
    """List the ways in which alerts are told, and how the last message of each went."""
    shown = write(arguments, "channels.ls")
    if arguments.json:
        json_lines(shown)
        return Exit.OK
    table(
        ["STATE", "CHANNEL", "TO", "LAST", "WAITING", "DEAD"],
        [[one["state"], one["name"], one["target"], _last(one), one["waiting"], one["dead"]] for one in shown],
        styles={"on": "ok", "not set": "dim", "off": "dim"},
    )
    return Exit.OK


def test(arguments: Namespace) -> int:
    """Really send something that is about no alert."""
    result = write(arguments, "channels.test", name=arguments.name)
    if arguments.json:
        json_value(result)
        return Exit.OK if result["success"] else Exit.ERROR
    if not result["success"]:
        raise CommandError(f"{arguments.name}: {result['error']}")
    note(f"{arguments.name} works: something was sent")
    return Exit.OK


def _last(one: dict[str, str | None]) -> str:
    if one["last_at"] is None:
        return "-"
    return f"{one['last_at'][:16]} {one['last_error'] or 'delivered'}"
