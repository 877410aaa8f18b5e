"""A terminal to write to, and texts that would steer it or forge a line."""

import io
from typing import override

HOSTILE = ['\r\n{"level":"info"}', "\x1b]0;owned\x07", "\u202egnp.exe", "\x9b31m", "a\u2028b"]


class Terminal(io.StringIO):
    """Keeps what is written."""

    @override
    def isatty(self) -> bool:
        return True
