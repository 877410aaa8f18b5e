"""`tools ls|approve`."""

import asyncio
from argparse import Namespace
from dataclasses import asdict

from alerting.tool_baselines import ToolBaseline, ToolBaselines
from storage.database import StoreError
from tollwatch.commands.writing import write
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, note, table
from tollwatch.store import beside, now

_SHOWN = 12


def ls(arguments: Namespace) -> int:
    """List the definitions of tools that were seen, by service, agent and tool."""
    found = _all(arguments)
    if arguments.json:
        json_lines(_as_json(one) for one in found)
        return Exit.OK
    table(
        ["STATE", "SERVICE", "AGENT", "TOOL", "FINGERPRINT", "FIRST SEEN", "APPROVED BY"],
        [
            [
                "normal" if one.approved_at else "waits",
                one.service,
                one.agent,
                one.tool,
                one.fingerprint[:_SHOWN],
                one.first_seen_at.astimezone().strftime("%Y-%m-%d %H:%M"),
                one.approved_by,
            ]
            for one in found
        ],
        styles={"waits": "medium"},
    )
    return Exit.OK


def approve(arguments: Namespace) -> int:
    """Make a definition of a tool normal; its alert ends."""
    made = write(
        arguments, "tools.approve", service=arguments.service, agent=arguments.agent, tool=arguments.tool, fingerprint=arguments.fingerprint
    )
    note(f"the definition {made['fingerprint'][:_SHOWN]} of {made['tool']} is normal for {made['service']}")
    return Exit.OK


def _all(arguments: Namespace) -> list[ToolBaseline]:
    config = load_config(arguments.config)
    try:
        with beside(config.database_path) as database:
            return asyncio.run(ToolBaselines(database, now=now).all())
    except StoreError as error:
        raise CommandError(str(error)) from error


def _as_json(one: ToolBaseline) -> dict[str, object]:
    plain = asdict(one)
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in plain.items()}
