"""How a command ends."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command (docs/cli.md)."""

    OK = 0
    ERROR = 1
    USAGE = 2
    UNHEALTHY = 3
    BLOCKED = 4
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127


class CommandError(Exception):
    """A command cannot do what was asked: one sentence with cause and remedy, and the exit code."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.code = code
