"""Learning the factors of each model while the gateway runs, and keeping them: off the loop, off the hot path, a sample of the calls."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import orjson

from metering.call import Call, Consumption
from metering.estimates import Estimates, Factors
from metering.reading import Reading, Source
from metering.tokens import TokenCounter, TokenizerError
from storage.database import Database, Many, Work
from storage.times import to_micros

type Clock = Callable[[], datetime]

_FIRST = 30
"""Reports of a model that are all learned from; after them one in `_EVERY`."""
_EVERY = 64
_LONG = 8 << 10
"""Characters; a prompt of twice as many is learned from half as often."""
_WAITING = 64
"""Prompts that may wait to be counted; more are passed over."""
_LONGEST = 256 << 10
_PAUSE = 5.0
_REPORTED = frozenset({Source.PROVIDER_REPORTED, Source.PROVIDER_PRICED})

_ALL = "SELECT provider, model, samples, factors FROM token_factors ORDER BY updated_at"
_SAVE = """
INSERT INTO token_factors (provider, model, samples, factors, updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (provider, model) DO UPDATE SET samples = excluded.samples, factors = excluded.factors, updated_at = excluded.updated_at
"""
_PRUNE = "DELETE FROM token_factors WHERE updated_at < ?"
_KEPT_MICROS = 180 * 86_400 * 1_000_000
"""Factors of a model that nobody asked for in half a year go."""


@dataclass(frozen=True, slots=True)
class _Report:
    call: Call
    tokens: int


class Learner:
    """Hears what providers report of prompts; `run` counts those prompts and keeps what follows."""

    def __init__(self, database: Database, estimates: Estimates, counter: TokenCounter, *, now: Clock) -> None:
        self._database = database
        self._estimates = estimates
        self._counter = counter
        self._now = now
        self._reports: list[_Report] = []
        self._heard: OrderedDict[tuple[str, str | None], int] = OrderedDict()
        self._wake = asyncio.Event()

    async def load(self) -> int:
        """Take in what earlier runs learned, and return of how many models. Raises StoreError."""
        known: dict[tuple[str, str], Factors] = {}
        for provider, model, samples, saved in await self._database.read(_ALL):
            factors = Factors(cast("str", model))
            text, tools = orjson.loads(cast("str", saved))
            factors.text.restore(*text)
            factors.tools.restore(*tools)
            factors.samples = cast("int", samples)
            known[cast("str", provider), cast("str", model)] = factors
        self._estimates.restore(known)
        return len(known)

    def hear(self, call: Call, reading: Reading) -> None:
        """Take note of a settled call, when it can teach something; cheap, and it never waits."""
        tokens = reading.usage.input_tokens
        if not tokens or reading.source not in _REPORTED or call.consumption is not Consumption.METERED:
            return
        chars = call.prompt.chars
        if not _teaches(call, chars):
            return
        key = (call.provider, call.model)
        heard = self._heard[key] = self._heard.get(key, -1) + 1
        if len(self._heard) > _WAITING * _EVERY:
            self._heard.popitem(last=False)
        # A long prompt takes as much longer to count as it teaches nothing more: the longer, the rarer.
        every = _EVERY * (1 + chars // _LONG)
        if (heard < _FIRST or heard % every == 0) and len(self._reports) < _WAITING:
            self._reports.append(_Report(call, tokens))
            self._wake.set()

    async def run(self) -> None:
        """Learn for ever; what was learned is in the store seconds later."""
        while True:
            await self._wake.wait()
            await self.learn()
            await asyncio.sleep(_PAUSE)

    async def learn(self) -> int:
        """Learn from what was heard, keep it, and return from how many reports. Raises StoreError."""
        self._wake.clear()
        reports, self._reports = self._reports, []
        if not reports:
            return 0
        await asyncio.to_thread(self._follow, reports)
        changed = self._estimates.changed()
        at = to_micros(self._now())
        rows = [(provider, model, factors.samples, _saved(factors), at) for (provider, model), factors in changed.items()]

        def work() -> Work[None]:
            yield Many(_SAVE, rows)
            yield Many(_PRUNE, [(at - _KEPT_MICROS,)])

        await self._database.write(work)
        return len(reports)

    def _follow(self, reports: Sequence[_Report]) -> None:
        for report in reports:
            call = report.call
            try:
                parts = self._counter.parts(call.prompt, model=call.model)
            except TokenizerError:  # the counter has said so; the rest can still teach
                continue
            self._estimates.learn(call.provider, call.model, parts, report.tokens)


def _teaches(call: Call, chars: int) -> bool:
    """Whether what the provider counts is what the request shows."""
    prompt = call.prompt
    kept_there = prompt.stored or call.wire_format == "openai.realtime"
    shown = not prompt.media and not prompt.server_tools and not kept_there
    return shown and 0 < chars + len(prompt.tools) <= _LONGEST


def _saved(factors: Factors) -> str:
    return orjson.dumps((factors.text.learned, factors.tools.learned)).decode()
