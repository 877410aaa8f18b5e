"""`password reset`: for who lost the password of the API."""

from argparse import Namespace

from tollwatch.commands.writing import write
from tollwatch.exits import Exit
from tollwatch.output import json_value, line


def reset(arguments: Namespace) -> int:
    """Remove the password, end every session and print a new setup code."""
    made = write(arguments, "password.reset")
    if arguments.json:
        json_value(made)
    else:
        line(f"The password is removed and every session has ended. Set a new one with the setup code {made['setup_code']}")
    return Exit.OK
