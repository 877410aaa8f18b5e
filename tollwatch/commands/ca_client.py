"""`ca client issue|revoke|ls`."""

import asyncio
import os
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from proxy.ca import CaError, CaModesError
from proxy.client_authority import FOLDER, ClientAuthority
from proxy.client_certificates import Registered, read
from storage.database import Database, StoreError
from tollwatch.commands.writing import write
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.first_start import FirstStartError, prepare_folder
from tollwatch.output import json_lines, json_value, line, note, table
from tollwatch.store import beside, now

_NOT_IN_A_FILE_NAME = re.compile(r"[^A-Za-z0-9@._+-]")


def issue(arguments: Namespace) -> int:
    """Make a key and a certificate; the key is written to the file alone, and kept nowhere else."""
    config = load_config(arguments.config)
    path = arguments.out or Path(f"{_NOT_IN_A_FILE_NAME.sub('_', arguments.name).lstrip('.') or 'client'}.pem")
    if path.exists() or path.is_symlink():
        raise CommandError(f"{path} is there already: move it away, or name another file with --out")
    try:
        prepare_folder(config.data_dir)
        authority = ClientAuthority.open_or_create(config.data_dir / FOLDER)
        handed = authority.issue(arguments.name, field="service" if arguments.service else "user", days=arguments.days, now=now())
    except (CaError, CaModesError, FirstStartError, ValueError) as error:
        raise CommandError(str(error)) from error
    issued = handed.issued
    _create(path, handed.pem)
    try:
        write(
            arguments,
            "certificates.record",
            serial=issued.serial,
            field=issued.field,
            name=issued.name,
            sha256=issued.sha256,
            issued_at=issued.issued_at.isoformat(),
            not_after=issued.not_after.isoformat(),
        )
    except BaseException:
        path.unlink()
        raise
    if config.proxy.client_certificates == "off":
        note("proxy.client_certificates is off: the gateway asks nobody for a certificate yet")
    note(f"{issued.field.capitalize()} {issued.name!r}: key and certificate are in {path} (0600), good until {issued.not_after:%Y-%m-%d}")
    if arguments.json:
        json_value({**Registered(issued=issued).as_json(now()), "path": str(path)})
        return Exit.OK
    line(issued.serial)
    return Exit.OK


def revoke(arguments: Namespace) -> int:
    """Refuse a certificate, or all of a name, from now on."""
    for one in write(arguments, "certificates.revoke", key=arguments.key):
        note(f"The certificate {one['serial']} of {one['name']!r} is revoked")
    return Exit.OK


def ls(arguments: Namespace) -> int:
    """List the certificates that were issued."""
    config = load_config(arguments.config)
    at = now()
    rows = [one.as_json(at) for one in _registered(config.database_path)]
    if arguments.json:
        json_lines(rows)
        return Exit.OK
    heads = ("state", "name", "field", "serial", "issued_at", "not_after", "revoked_at", "revoked_by")
    names = [head.upper().replace("_", " ") for head in heads]
    table(names, [[row[head] for head in heads] for row in rows], styles={"revoked": "bad", "expired": "dim"})
    return Exit.OK


def _registered(path: Path) -> Sequence[Registered]:
    if not path.exists():
        return []
    try:
        with beside(path) as database:
            return asyncio.run(_all(database))
    except StoreError as error:
        raise CommandError(str(error)) from error


async def _all(database: Database) -> Sequence[Registered]:
    return await read(database)


def _create(path: Path, pem: bytes) -> None:
    """Write a file that only its owner may read, and that was not there before."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CommandError(f"Cannot write {path}: {error.strerror}. Name another file with --out") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        os.fchmod(descriptor, 0o600)
