"""`exec` and `env`: programs that go through the gateway without knowing it."""

import os
import shutil
import socket
import sys
from argparse import Namespace
from contextlib import closing
from pathlib import Path

from tollwatch import environment
from tollwatch.exits import CommandError, Exit
from tollwatch.output import line
from tollwatch.rawconfig import DEFAULT_FORWARD, RawConfig, read_config

_CHECK_SECONDS = 1.0


def execute(arguments: Namespace) -> int:
    """Become the command, with its environment; its signals and its exit code are its own."""
    command: list[str] = arguments.rest
    if not command:
        raise CommandError("Nothing to run: write the command after --, for example `tollwatch exec -- python agent.py`", Exit.USAGE)
    raw = read_config(arguments.config)
    if not arguments.no_check:
        require_gateway(raw)
    environ = {**os.environ, **_made(raw, arguments)}
    program = shutil.which(command[0], path=environ.get("PATH"))
    if program is None:
        exists = Path(command[0]).is_file()
        raise CommandError(
            f"Cannot run {command[0]!r}: {'it is not executable (chmod +x)' if exists else 'no such program on PATH'}",
            Exit.NOT_EXECUTABLE if exists else Exit.NOT_FOUND,
        )
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, command, environ)  # noqa: S606  # running the given command is the purpose
    except OSError as error:
        raise CommandError(f"Cannot run {command[0]!r}: {error.strerror}", Exit.NOT_EXECUTABLE) from error


def show(arguments: Namespace) -> int:
    """Print the lines that set the variables."""
    shell = arguments.shell or _login_shell()
    for text in environment.shell_lines(_made(read_config(arguments.config), arguments), shell):
        line(text)
    return Exit.OK


def require_gateway(raw: RawConfig) -> None:
    """Raise unless something listens where the forward door should be."""
    address = environment.reachable(raw.get("proxy", "listen", default=DEFAULT_FORWARD))
    host, _, port = address.rpartition(":")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), timeout=_CHECK_SECONDS)):
            return
    except (OSError, ValueError) as error:
        raise CommandError(
            f"No gateway listens on {address} ({error}), so the command was not run. Start one by `tollwatch run`, or pass --no-check",
            Exit.UNHEALTHY,
        ) from error


def _made(raw: RawConfig, arguments: Namespace) -> dict[str, str]:
    options = environment.Options(
        user=arguments.user, base_url=arguments.base_url, bedrock_node=arguments.bedrock_node, java=arguments.java
    )
    try:
        return environment.variables(raw, os.environ, options)
    except environment.EnvironmentUnavailableError as error:
        raise CommandError(str(error)) from error


def _login_shell() -> str:
    name = Path(os.environ.get("SHELL", "bash")).name
    return name if name in {"bash", "zsh", "fish"} else "bash"
