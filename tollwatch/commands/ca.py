"""`ca show|install|uninstall|rotate|export`."""

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from proxy.ca import CaError, CaModesError, CertificateAuthority
from storage.lock import GatewayLock, LockHeld
from tollwatch.config import Config, load_config
from tollwatch.environment import CA_FOLDER
from tollwatch.exits import CommandError, Exit
from tollwatch.first_start import FirstStartError, prepare_folder
from tollwatch.output import json_value, line, note

_NAME = "tollwatch"
_LINUX_STORES = (
    (Path("/usr/local/share/ca-certificates"), ("update-ca-certificates",)),
    (Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust", "extract")),
    (Path("/etc/ca-certificates/trust-source/anchors"), ("trust", "extract-compat")),
)
_KEYCHAIN = "/Library/Keychains/System.keychain"


def show(arguments: Namespace) -> int:
    """Show the certificate."""
    facts = _authority(load_config(arguments.config)).show()
    shown = {
        "subject": facts.subject,
        "sha256": facts.fingerprint,
        "not_before": facts.not_before.isoformat(),
        "not_after": facts.not_after.isoformat(),
        "path": str(facts.path),
        "trusted_for": list(facts.hosts),
    }
    if arguments.json:
        json_value(shown)
        return Exit.OK
    for key, value in shown.items():
        line(f"{key:<12} {', '.join(value) if isinstance(value, list) else value}")
    return Exit.OK


def export(arguments: Namespace) -> int:
    """Print the certificate."""
    text = _authority(load_config(arguments.config)).certificate_pem.read_text(encoding="ascii")
    if arguments.out:
        try:
            arguments.out.write_text(text, encoding="ascii")
        except OSError as error:
            raise CommandError(f"Cannot write {arguments.out}: {error.strerror}") from error
        note(f"Wrote {arguments.out}")
        return Exit.OK
    line(text.rstrip())
    return Exit.OK


def rotate(arguments: Namespace) -> int:
    """Make a new key and certificate."""
    config = load_config(arguments.config)
    try:
        prepare_folder(config.data_dir)
        with GatewayLock(config.database_path):
            made = CertificateAuthority.rotate(config.data_dir / CA_FOLDER, config.proxy.decrypted_hosts)
    except LockHeld as error:
        raise CommandError(f"A gateway (process {error.pid}) uses the CA: stop it, then run `tollwatch ca rotate` again") from error
    except (CaError, CaModesError, FirstStartError, ValueError) as error:
        raise CommandError(str(error)) from error
    note("The CA is new: programs that were started before must be started again; `tollwatch ca install` if the system trusted the old one")
    line(made.fingerprint)
    return Exit.OK


def install(arguments: Namespace) -> int:
    """Make the system's store trust the certificate."""
    certificate = _authority(load_config(arguments.config)).certificate_pem
    if sys.platform == "darwin":
        _run("security", "add-trusted-cert", "-d", "-r", "trustRoot", "-k", _KEYCHAIN, str(certificate))
        note(f"{_KEYCHAIN} trusts {certificate}")
        return Exit.OK
    folder, update = _linux_store()
    target = folder / f"{_NAME}.crt"
    try:
        shutil.copyfile(certificate, target)
    except OSError as error:
        raise CommandError(f"Cannot write {target}: {error.strerror}. Run `sudo tollwatch ca install`, or use `tollwatch exec`") from error
    _run(*update)
    note(f"The system trusts {certificate} (as {target})")
    return Exit.OK


def uninstall(arguments: Namespace) -> int:
    """Take the certificate out of the system's store."""
    if sys.platform == "darwin":
        _run("security", "remove-trusted-cert", "-d", str(_authority(load_config(arguments.config)).certificate_pem))
        return Exit.OK
    folder, update = _linux_store()
    target = folder / f"{_NAME}.crt"
    if not target.exists():
        note(f"Nothing to do: {target} is not there")
        return Exit.OK
    try:
        target.unlink()
    except OSError as error:
        raise CommandError(f"Cannot remove {target}: {error.strerror}. Run `sudo tollwatch ca uninstall`") from error
    _run(*update)
    note(f"Removed {target}; the system no longer trusts it")
    return Exit.OK


def _authority(config: Config) -> CertificateAuthority:
    try:
        prepare_folder(config.data_dir)
        return CertificateAuthority.open_or_create(config.data_dir / CA_FOLDER, config.proxy.decrypted_hosts)
    except (CaError, CaModesError, FirstStartError, ValueError) as error:
        raise CommandError(str(error)) from error


def _linux_store() -> tuple[Path, tuple[str, ...]]:
    for folder, update in _LINUX_STORES:
        if folder.is_dir() and shutil.which(update[0]):
            return folder, update
    raise CommandError(
        "No system store that tollwatch knows is on this machine: use `tollwatch exec`, or `tollwatch ca export` and your system's tool"
    )


def _run(*command: str) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise CommandError(f"Cannot find {command[0]} on PATH")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})  # noqa: S603  # fixed programs of the system
    if done.returncode:
        raise CommandError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()}")
