"""The prompt fingerprints that are normal for a service and agent."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from alerting.subjects import NOBODY
from storage.audit import audit_row
from storage.database import Database, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]
type Place = tuple[str, str]

FIRST_SEEN = "first prompt seen"
"""Who approved a baseline that nobody had to approve."""
_MOST_UNAPPROVED = 1_000
"""Fingerprints kept per service and agent: a prompt that carries the time of day must not fill the store."""

_INSERT = """
INSERT INTO baselines (service, agent, fingerprint, first_seen_at, approved_at, approved_by) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (service, agent, fingerprint) DO NOTHING
"""
_APPROVE = """
INSERT INTO baselines (service, agent, fingerprint, first_seen_at, approved_at, approved_by) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (service, agent, fingerprint) DO UPDATE SET approved_at = excluded.approved_at, approved_by = excluded.approved_by
WHERE baselines.approved_at IS NULL
"""
_ALL = "SELECT service, agent, fingerprint, first_seen_at, approved_at, approved_by FROM baselines ORDER BY service, agent, first_seen_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One fingerprint of a service and agent; normal once it is approved."""

    service: str
    agent: str | None
    fingerprint: str
    first_seen_at: datetime
    approved_at: datetime | None
    approved_by: str | None


@dataclass(slots=True)
class _Known:
    approved: set[str]
    waiting: set[str]


class Baselines:
    """All baselines, in memory and in the store. The store is read at the first question."""

    def __init__(self, database: Database, *, approve: Literal["first", "manual"], now: Clock) -> None:
        self._database = database
        self._approve_first = approve == "first"
        self._now = now
        self._known: dict[Place, _Known] | None = None
        self._loading = asyncio.Lock()

    async def normal(self, service: str, agent: str | None, fingerprint: str) -> frozenset[str]:
        """Return what is normal for a service and agent, once this fingerprint has been seen there.

        A fingerprint that was never seen is durable when this returns. Raises StoreError.
        """
        known = (await self._loaded()).setdefault((service, agent or NOBODY), _Known(set(), set()))
        if fingerprint not in known.approved and fingerprint not in known.waiting:
            await self._learn((service, agent or NOBODY), known, fingerprint)
        return frozenset(known.approved)

    async def approve(self, service: str, agent: str | None, fingerprint: str, *, actor: str) -> None:
        """Make a fingerprint normal for a service and agent."""
        place = (service, agent or NOBODY)
        known = (await self._loaded()).setdefault(place, _Known(set(), set()))
        now = self._now()
        at = to_micros(now)

        def work() -> Work[None]:
            yield Sql(_APPROVE, (*place, fingerprint, at, at, actor))
            yield audit_row(at=now, actor=actor, action="baseline.approved", subject=f"{place[0]}/{place[1]}", detail=fingerprint)

        await self._database.write(work)
        known.waiting.discard(fingerprint)
        known.approved.add(fingerprint)

    async def all(self) -> list[Baseline]:
        """Return every baseline, by service and agent, oldest first."""
        return [
            Baseline(
                service=cast("str", service),
                agent=None if agent == NOBODY else cast("str", agent),
                fingerprint=cast("str", fingerprint),
                first_seen_at=from_micros(cast("int", seen_at)),
                approved_at=None if approved_at is None else from_micros(cast("int", approved_at)),
                approved_by=cast("str | None", approved_by),
            )
            for service, agent, fingerprint, seen_at, approved_at, approved_by in await self._database.read(_ALL)
        ]

    async def _loaded(self) -> dict[Place, _Known]:
        if self._known is not None:
            return self._known
        async with self._loading:
            if self._known is None:
                known: dict[Place, _Known] = {}
                for baseline in await self.all():
                    there = known.setdefault((baseline.service, baseline.agent or NOBODY), _Known(set(), set()))
                    (there.waiting if baseline.approved_at is None else there.approved).add(baseline.fingerprint)
                self._known = known
        return self._known

    async def _learn(self, place: Place, known: _Known, fingerprint: str) -> None:
        is_first = self._approve_first and not known.approved
        if not is_first and len(known.waiting) >= _MOST_UNAPPROVED:
            return
        # In memory first: of two first prompts at once, one becomes the baseline and the other departs from it.
        target = known.approved if is_first else known.waiting
        target.add(fingerprint)
        at = to_micros(self._now())
        approved = (at, FIRST_SEEN) if is_first else (None, None)

        def work() -> Work[None]:
            yield Sql(_INSERT, (*place, fingerprint, at, *approved))

        written = False
        try:
            await self._database.write(work)
            written = True
        finally:
            if not written:
                target.discard(fingerprint)
