"""The definitions of tools that are normal for a service and agent."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from alerting.subjects import NOBODY
from storage.audit import audit_row
from storage.database import Database, Many, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]
type Place = tuple[str, str]

FIRST_SEEN = "first definition seen"
"""Who approved a definition that nobody had to approve."""
_MOST_UNAPPROVED = 100
"""Fingerprints kept per tool: a definition that carries the time of day must not fill the store."""
_MOST_TOOLS = 2_000
"""Tools kept per service and agent: names made by lot must not fill it either."""

_INSERT = """
INSERT INTO tool_baselines (service, agent, tool, fingerprint, first_seen_at, approved_at, approved_by) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (service, agent, tool, fingerprint) DO NOTHING
"""
_APPROVE = """
UPDATE tool_baselines SET approved_at = ?, approved_by = ?
WHERE service = ? AND agent = ? AND tool = ? AND fingerprint = ? AND approved_at IS NULL
"""
_ALL = """
SELECT service, agent, tool, fingerprint, first_seen_at, approved_at, approved_by FROM tool_baselines
ORDER BY service, agent, tool, first_seen_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolBaseline:
    """One definition of a tool, known by its fingerprint; normal once it is approved."""

    service: str
    agent: str | None
    tool: str
    fingerprint: str
    first_seen_at: datetime
    approved_at: datetime | None
    approved_by: str | None


@dataclass(slots=True)
class _Known:
    approved: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()


class ToolBaselines:
    """All definitions, in memory and in the store. The store is read at the first question."""

    def __init__(self, database: Database, *, now: Clock) -> None:
        self._database = database
        self._now = now
        self._known: dict[Place, dict[str, _Known]] | None = None
        self._loading = asyncio.Lock()

    async def normal(
        self, service: str, agent: str | None, seen: Mapping[str, str], *, approve_first: bool
    ) -> Mapping[str, frozenset[str]]:
        """Return what is normal for each tool of a service and agent, once these definitions have been seen there.

        With `approve_first` the first definition seen of a tool becomes normal. Definitions that were never seen are durable when this
        returns. Raises StoreError.
        """
        place = (service, agent or NOBODY)
        tools = (await self._loaded()).setdefault(place, {})
        fresh = [
            (tool, fingerprint)
            for tool, fingerprint in seen.items()
            if (known := tools.get(tool)) is None or fingerprint not in known.approved | known.waiting
        ]
        if fresh:
            await self._learn(place, tools, fresh, approve_first=approve_first)
        return {tool: tools[tool].approved for tool in seen if tool in tools}

    async def approve(self, service: str, agent: str | None, tool: str, fingerprint: str, *, actor: str) -> ToolBaseline:
        """Make a definition normal. `fingerprint` may be its first digits. Raises ValueError when it names none, or several."""
        found = [
            one
            for one in await self.all()
            if (one.service, one.agent, one.tool) == (service, agent, tool) and fingerprint and one.fingerprint.startswith(fingerprint)
        ]
        if len(found) != 1:
            what = "no definition" if not found else f"{len(found)} definitions"
            raise ValueError(
                f"{fingerprint!r} names {what} of the tool {tool!r} of service {service!r}, agent {agent or NOBODY!r}; "
                "`tollwatch tools ls` shows them"
            )
        (one,) = found
        now = self._now()
        at = to_micros(now)

        def work() -> Work[None]:
            yield Sql(_APPROVE, (at, actor, service, agent or NOBODY, tool, one.fingerprint))
            yield audit_row(
                at=now, actor=actor, action="tool.approved", subject=f"{service}/{agent or NOBODY}/{tool}", detail=one.fingerprint
            )

        await self._database.write(work)
        known = (await self._loaded()).setdefault((service, agent or NOBODY), {}).setdefault(tool, _Known())
        known.approved |= {one.fingerprint}
        known.waiting -= {one.fingerprint}
        return one

    async def all(self) -> list[ToolBaseline]:
        """Return every definition, by service, agent and tool, oldest first."""
        return [
            ToolBaseline(
                service=cast("str", service),
                agent=None if agent == NOBODY else cast("str", agent),
                tool=cast("str", tool),
                fingerprint=cast("str", fingerprint),
                first_seen_at=from_micros(cast("int", seen_at)),
                approved_at=None if approved_at is None else from_micros(cast("int", approved_at)),
                approved_by=cast("str | None", approved_by),
            )
            for service, agent, tool, fingerprint, seen_at, approved_at, approved_by in await self._database.read(_ALL)
        ]

    async def _loaded(self) -> dict[Place, dict[str, _Known]]:
        if self._known is not None:
            return self._known
        async with self._loading:
            if self._known is None:
                loaded: dict[Place, dict[str, _Known]] = {}
                for one in await self.all():
                    known = loaded.setdefault((one.service, one.agent or NOBODY), {}).setdefault(one.tool, _Known())
                    if one.approved_at is None:
                        known.waiting |= {one.fingerprint}
                    else:
                        known.approved |= {one.fingerprint}
                self._known = loaded
        return self._known

    async def _learn(self, place: Place, tools: dict[str, _Known], fresh: list[tuple[str, str]], *, approve_first: bool) -> None:
        at = to_micros(self._now())
        rows: list[tuple[str | int | None, ...]] = []
        before: dict[str, _Known] = {}
        for tool, fingerprint in fresh:
            known = tools.get(tool)
            if known is None and len(tools) >= _MOST_TOOLS:
                continue
            known = known or _Known()
            first = approve_first and not known.approved
            if not first and len(known.waiting) >= _MOST_UNAPPROVED:
                continue
            # In memory first: of two first definitions at once, one becomes normal and the other departs from it.
            before[tool] = known
            tools[tool] = (
                _Known(known.approved | {fingerprint}, known.waiting) if first else _Known(known.approved, known.waiting | {fingerprint})
            )
            rows.append((*place, tool, fingerprint, at, *((at, FIRST_SEEN) if first else (None, None))))
        if not rows:
            return

        def work() -> Work[None]:
            yield Many(_INSERT, rows)

        written = False
        try:
            await self._database.write(work)
            written = True
        finally:
            if not written:
                tools.update(before)
