"""Reading the config again: all that can change is swapped at once, or nothing is."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Protocol

import structlog
from pydantic import BaseModel

from metering.budgets import BudgetBook
from storage.audit import audit_row
from storage.database import StoreError, Work
from tollwatch.config import Config
from tollwatch.judging import Judge, Parts, build_gate
from tollwatch.rawconfig import ConfigError
from tollwatch.reload_audit import changes

_log = structlog.get_logger(__name__)

SWAPPED = ("mode", "rules", "detectors", "budgets", "users", "alerting.silences", "alerting.entry_configs", "usage_alerts")
"""The sections, or keys in one, that a running gateway takes over."""


def changed_keys(before: BaseModel, after: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield the keys, with dots, whose values differ."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, BaseModel) and isinstance(new, BaseModel) and type(old) is type(new):
            yield from changed_keys(old, new, f"{prefix}{name}.")
        elif old != new:
            yield prefix + name


class Shown(Protocol):
    """What tells the mode to others."""

    mode: str


class Reloader:
    """Validates, then swaps the gate; a section that needs a restart makes it refuse the whole."""

    def __init__(  # noqa: PLR0913  # all keyword-only but the first: what it swaps
        self,
        config: Config,
        *,
        parts: Parts,
        judge: Judge,
        reread: Callable[[], Config],
        state: Shown,
        now: Callable[[], datetime],
        follow: Callable[[Config], Awaitable[None]],
    ) -> None:
        self._config = config
        self._parts = parts
        self._judge = judge
        self._reread = reread
        self._state = state
        self._now = now
        self._follow = follow
        """Takes over what others than the gate know of the config."""

    async def __call__(self, *, actor: str) -> list[str]:
        """Swap and say what changed. Raises ValueError, with everything as it was, when the config cannot be taken over."""
        try:
            config = await asyncio.to_thread(self._reread)
            gate = build_gate(config, self._parts, earlier=self._judge.gate)
        except ConfigError as error:
            raise ValueError(f"The config was not taken over: {error}") from error
        keys = list(changed_keys(self._config, config))
        changed = list(dict.fromkeys(key if key in SWAPPED else key.partition(".")[0] for key in keys))
        fixed = [key for key in keys if key not in SWAPPED and key.partition(".")[0] not in SWAPPED]
        if fixed:
            raise ValueError(f"The config was not taken over: {', '.join(fixed)} changed, which needs a restart of the gateway")
        if not changed:
            return ["nothing changed"]
        self._parts.ledger.follow(BudgetBook(config.budgets).all)
        self._parts.rules.follow(config.rules)
        self._judge.swap(gate)
        await self._follow(config)
        before, self._config = self._config, config
        self._state.mode = config.mode
        _log.info("config_reloaded", sections=changed)
        await self._audit(changes(before, config, keys), actor=actor)
        return [f"{name} is taken over" for name in changed]

    async def _audit(self, detail: str, *, actor: str) -> None:
        row = audit_row(at=self._now(), actor=actor, action="config.reloaded", subject="config", detail=detail)

        def work() -> Work[None]:
            yield row

        try:
            await self._parts.database.write(work)
        except StoreError as error:
            raise ValueError(f"The config was taken over, but the audit trail could not be written: {error}") from error

    async def at_each(self, hangup: asyncio.Event) -> None:
        """Reload at each SIGHUP, for ever."""
        while True:
            await hangup.wait()
            hangup.clear()
            try:
                await self(actor="SIGHUP")
            except ValueError as error:
                _log.error("config_not_reloaded", message=str(error))
