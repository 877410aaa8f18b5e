"""`tollwatch openapi`: the description of the API, of all feeds, without a gateway."""

import argparse
import sys

from api.app import ROUTES
from api.openapi import Described
from tollwatch import __version__
from tollwatch.exits import Exit


def openapi(_arguments: argparse.Namespace) -> int:
    """Print the document."""
    sys.stdout.write(Described(ROUTES, version=__version__).text.decode() + "\n")
    return Exit.OK
