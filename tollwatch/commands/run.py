"""`run` and `reload`."""

import asyncio
import os
import shlex
import shutil
import sys
from argparse import Namespace
from pathlib import Path

from proxy.ca import CaError, CaModesError
from proxy.canary import CanaryFailed
from storage.database import StoreError
from storage.lock import LockHeld
from tollwatch import __version__, log
from tollwatch.app import serve
from tollwatch.commands.writing import write
from tollwatch.config import Config, load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.first_start import FirstStartError
from tollwatch.output import counted, line
from tollwatch.ownership import conflict
from tollwatch.rawconfig import absolute
from tollwatch.state import Running
from tollwatch.thaw import thaw_all


def run(arguments: Namespace) -> int:
    """Run the gateway until it is told to end."""
    config = load_config(arguments.config)
    log.configure(config.log)
    if sentence := conflict():
        raise CommandError(sentence)
    if not __debug__:
        thaw_all()
    try:
        asyncio.run(
            serve(config, reread=lambda: _reread(arguments), announce=lambda running: _announce(running, _config_option(arguments)))
        )
    except CanaryFailed as error:
        raise CommandError(str(error), Exit.UNHEALTHY) from error
    except (LockHeld, StoreError, FirstStartError, CaError, CaModesError, ValueError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(error.strerror or str(error) or repr(error)) from error
    return Exit.OK


def reload(arguments: Namespace) -> int:
    """Make the running gateway read its config again."""
    for sentence in write(arguments, "reload"):
        line(sentence)
    return Exit.OK


def _reread(arguments: Namespace) -> Config:
    return load_config(arguments.config)


def _config_option(arguments: Namespace) -> str:
    """Return what another terminal must add to find the same config: nothing, where it is looked for there anyway."""
    named = arguments.config or os.environ.get("TOLLWATCH_CONFIG")
    return f" --config {shlex.quote(str(absolute(str(named))))}" if named else ""


def _announce(running: Running, config_option: str) -> None:
    program = _program() + config_option
    line(f"tollwatch {__version__} is ready ({running.config.mode})")
    line(f"  forward door   http://{running.forward}")
    line(f"  base-URL door  http://{running.base_url}/openai/v1, /anthropic, …")
    line(f"  API            http://{running.api}")
    line(f"  data           {running.config.data_dir}")
    if running.recovered:
        line(f"  {counted(running.recovered, 'call')} left open by the last run: charged at the hold, shown as unknown")
    if code := running.installation.setup_code:
        line(f"  setup code     {code}  (sets the password of the API, once)")
    line("Next, in another terminal:")
    line(f"  {program} exec -- python my_agent.py")
    line(f"  {program} doctor")
    line(f"  {program} calls ls")
    sys.stdout.flush()


def _program() -> str:
    """Return how this program can be called again from here."""
    called = Path(sys.argv[0])
    if called.name != "tollwatch":
        return "python -m tollwatch"
    found = shutil.which("tollwatch")
    if found and Path(found).resolve() == called.resolve():
        return "tollwatch"
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)
