"""`version`."""

import platform
from argparse import Namespace
from importlib.metadata import version as installed

from tollwatch import __version__
from tollwatch.exits import Exit
from tollwatch.output import json_value, line


def version(arguments: Namespace) -> int:
    """Print the version, and with --json those of what it stands on."""
    if arguments.json:
        parts = {name: installed(name) for name in ("mitmproxy", "aiohttp", "genai-prices", "tiktoken")}
        json_value({"tollwatch": __version__, "python": platform.python_version(), **parts})
    else:
        line(f"tollwatch {__version__}")
    return Exit.OK
