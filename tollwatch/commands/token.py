"""`token create|ls|revoke`."""

import asyncio
from argparse import Namespace
from datetime import timedelta
from typing import cast

from api.scopes import parse_scopes
from api.tokens import Tokens
from metering.units import parse_span
from storage.database import StoreError
from tollwatch.commands.writing import write
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import json_lines, json_value, line, note, table
from tollwatch.store import beside, now


def create(arguments: Namespace) -> int:
    """Make a token and print it; nobody can print it again."""
    try:
        end = now() + cast("timedelta", parse_span(arguments.expires)) if arguments.expires else None
    except ValueError as error:
        raise CommandError(f"--expires: {error}", Exit.USAGE) from error
    scopes = ",".join(arguments.scope)
    try:
        parse_scopes(scopes)
    except ValueError as error:
        raise CommandError(f"--scope: {error}", Exit.USAGE) from error
    made = write(arguments, "token.create", name=arguments.name, scopes=scopes, expires_at=end.isoformat() if end else None)
    if arguments.json:
        json_value(made)
        return Exit.OK
    note(f"Token {made['name']!r} ({', '.join(made['scopes'])}); keep it, it is not shown again:")
    line(made["token"])
    note(f"Send it as `Authorization: Bearer`; or exchange it as an OAuth client (client credentials) at {_token_url(arguments)}")
    note(f"with client_id {made['id']} and the token as client_secret.")
    return Exit.OK


def _token_url(arguments: Namespace) -> str:
    return f"http://{load_config(arguments.config).api.listen}/v1/oauth/token"


def ls(arguments: Namespace) -> int:
    """List the tokens."""
    config = load_config(arguments.config)
    try:
        with beside(config.database_path) as database:
            tokens = [token.as_json() for token in asyncio.run(Tokens(database, now=now).list())]
    except StoreError as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        json_lines(tokens)
        return Exit.OK
    rows = [
        [
            token["name"],
            " ".join(token["scopes"] or ()),
            token["created_at"],
            token["expires_at"],
            token["revoked_at"],
            token["last_used_at"],
            token["id"],
        ]
        for token in tokens
    ]
    table(["NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED", "LAST USED", "ID"], rows)
    return Exit.OK


def revoke(arguments: Namespace) -> int:
    """Make a token useless at once."""
    write(arguments, "token.revoke", name=arguments.name)
    note(f"Token {arguments.name!r} is revoked")
    return Exit.OK
