"""`audit`: who changed what, when."""

import asyncio
from argparse import Namespace

from storage.audit import AuditQuestion, AuditTrail
from storage.database import StoreError
from tollwatch.commands.calls import moment
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, table
from tollwatch.store import beside


def audit(arguments: Namespace) -> int:
    """List changes, newest first."""
    question = AuditQuestion(
        since=moment(arguments.since) if arguments.since else None,
        limit=arguments.limit,
        newest_first=True,
        actor=arguments.actor,
        action=arguments.action,
    )
    try:
        with beside(load_config(arguments.config).database_path) as database:
            entries = asyncio.run(AuditTrail(database).read(question))
    except StoreError as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        json_lines(entry.as_json() for entry in entries)
        return Exit.OK
    rows = [
        (entry.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"), entry.actor, entry.action, entry.subject, entry.detail) for entry in entries
    ]
    table(("WHEN", "WHO", "WHAT", "OF", "DETAIL"), rows)
    return Exit.OK
