"""`init`."""

import os
from argparse import Namespace

from proxy.ca import CaError, CaModesError, CertificateAuthority
from tollwatch.config import validate
from tollwatch.environment import CA_FOLDER
from tollwatch.exits import CommandError, Exit
from tollwatch.first_start import FirstStartError, first_start
from tollwatch.output import line
from tollwatch.rawconfig import read_config, user_config

_STARTER = """\
# The config of tollwatch. config.example.yaml shows every key; `tollwatch config explain KEY` says what one means.
version: 1
mode: enforce
budgets:
  - {name: daily-total, limit: 50 USD, period: day, on_exceed: alert}
"""


def init(arguments: Namespace) -> int:
    """Make what a first start needs; what is there stays as it is."""
    raw = read_config(arguments.config)
    config = validate(raw)
    try:
        made = first_start(config.data_dir, org_id=config.organization.id)
        authority = CertificateAuthority.open_or_create(config.data_dir / CA_FOLDER, config.proxy.decrypted_hosts)
    except (FirstStartError, CaError, CaModesError, ValueError) as error:
        raise CommandError(str(error)) from error
    path = raw.path
    if path is None and not arguments.no_config:
        path = user_config(os.environ)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_STARTER, encoding="utf-8")
        except OSError as error:
            raise CommandError(
                f"Cannot write {path}: {error.strerror}. Write one yourself and name it by --config, or use --no-config"
            ) from error
    line(f"data directory  {config.data_dir}")
    line(f"config          {path or 'none: all defaults'}")
    line(f"CA certificate  {authority.certificate_pem}  SHA-256 {authority.fingerprint}")
    if made.setup_code:
        line(f"setup code      {made.setup_code}  (sets the password of the API, once)")
    line("next            tollwatch run; then tollwatch exec -- YOUR COMMAND")
    return Exit.OK
