"""A gateway whose parts fail on demand: `python -m tests.support.part_faults run --config FILE`.

While the file named by FORCED_PART_FAULTS says `tokenizer`, the tokenizer panics; SIGUSR1 takes the API down.
"""

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

from api.listener import ApiServer
from metering import tokens
from tests.support.faulty import PanicError
from tollwatch.cli import main

VARIABLE = "FORCED_PART_FAULTS"

_encoding = tokens.encoding
_start = ApiServer.start


def _failing_encoding(name: Any) -> Any:
    if Path(os.environ[VARIABLE]).read_text() == "tokenizer":
        raise PanicError("forced by a test")
    return _encoding(name)


async def _stoppable(self: ApiServer, host: str, port: int, context: ssl.SSLContext | None) -> None:
    await _start(self, host, port, context)
    asked = asyncio.Event()

    async def stop_when_asked() -> None:
        await asked.wait()
        await self.stop()

    loop = asyncio.get_running_loop()
    _stopping.append(loop.create_task(stop_when_asked()))
    loop.add_signal_handler(signal.SIGUSR1, asked.set)


_stopping: list[asyncio.Task[None]] = []

if __name__ == "__main__":
    tokens.encoding = _failing_encoding  # type: ignore[assignment]  # forced
    ApiServer.start = _stoppable  # type: ignore[method-assign]  # forced
    sys.exit(main())
