"""What is normal for a service and agent: its system prompt and the definitions of its tools, each known by its fingerprint alone."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import cast

from alerting.shapes import Shape, from_text, to_text
from alerting.subjects import NOBODY
from storage.audit import audit_row
from storage.database import Database, Many, Row, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]


class Part(StrEnum):
    """The part of a call that a baseline is about."""

    PROMPT = "prompt"
    TOOL = "tool"


type Place = tuple[Part, str, str]
"""The part, the service and the agent."""

PROMPT = ""
"""The name of the one system prompt that a call has; tools have names of their own."""
FIRST_SEEN = {Part.PROMPT: "first prompt seen", Part.TOOL: "first definition seen"}
"""Who approved what nobody had to approve."""
_MOST_UNAPPROVED = {Part.PROMPT: 1_000, Part.TOOL: 100}
"""Fingerprints kept of each name: a prompt that carries the time of day must not fill the store."""
_MOST_NAMES = 2_000
"""Tools kept per service and agent: names made by lot must not fill it either."""

_INSERT = """
INSERT INTO baselines (part, service, agent, name, fingerprint, first_seen_at, approved_at, approved_by, shape)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (part, service, agent, name, fingerprint) DO NOTHING
"""
_APPROVE = """
UPDATE baselines SET approved_at = ?, approved_by = ?
WHERE part = ? AND service = ? AND agent = ? AND name = ? AND fingerprint = ? AND approved_at IS NULL
"""
_ALL = """
SELECT part, service, agent, name, fingerprint, first_seen_at, approved_at, approved_by, shape FROM baselines
ORDER BY part, service, agent, name, first_seen_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One fingerprint of a prompt or of the tool of a name; normal once it is approved."""

    part: Part
    service: str
    agent: str | None
    name: str
    fingerprint: str
    first_seen_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    shape: Shape | None = None
    """None for what was seen before shapes were kept."""

    @property
    def place(self) -> Place:
        """Where it counts."""
        return (self.part, self.service, self.agent or NOBODY)

    def as_json(self) -> dict[str, object]:
        """Return it as a JSON object, moments in RFC 3339."""
        return {
            "part": self.part.value,
            "service": self.service,
            "agent": self.agent,
            "tool": self.name if self.part is Part.TOOL else None,
            "fingerprint": self.fingerprint,
            "template": self.shape and self.shape.template,
            "chars": self.shape and self.shape.chars,
            "lines": self.shape and self.shape.lines,
            "first_seen_at": self.first_seen_at.isoformat(),
            "approved_at": self.approved_at and self.approved_at.isoformat(),
            "approved_by": self.approved_by,
        }


@dataclass(slots=True)
class _Known:
    approved: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()


class Baselines:
    """All baselines, in memory and in the store. The store is read at the first question."""

    def __init__(self, database: Database, *, now: Clock) -> None:
        self._database = database
        self._now = now
        self._known: dict[Place, dict[str, _Known]] | None = None
        self._loading = asyncio.Lock()

    def known(self, place: Place, name: str, fingerprint: str) -> frozenset[str] | None:
        """Return what is normal where a fingerprint has been seen before; None where it has not, or the store was not read yet."""
        names = None if self._known is None else self._known.get(place)
        known = None if names is None else names.get(name)
        return known.approved if known is not None and (fingerprint in known.approved or fingerprint in known.waiting) else None

    async def normal(
        self, place: Place, seen: Mapping[str, str], *, approve_first: bool, shape: Callable[[str], Shape]
    ) -> Mapping[str, frozenset[str]]:
        """Return what is normal for each name of a place, once these fingerprints have been seen there.

        With `approve_first` the first fingerprint seen of a name becomes normal. `shape` is asked for what was never seen, which is
        durable when this returns. Raises StoreError.
        """
        names = (await self._loaded()).setdefault(place, {})
        fresh = [
            (name, fingerprint)
            for name, fingerprint in seen.items()
            if (known := names.get(name)) is None or fingerprint not in known.approved | known.waiting
        ]
        if fresh:
            await self._learn(place, names, fresh, approve_first=approve_first, shape=shape)
        return {name: names[name].approved if name in names else frozenset() for name in seen}

    async def approve(self, one: Baseline, *, actor: str) -> Baseline:
        """Make a fingerprint that was seen normal; one that is normal stays as it is."""
        if one.approved_at is not None:
            return one
        now = self._now()
        at, (part, service, agent) = to_micros(now), one.place
        subject = "/".join((service, agent, *([one.name] if part is Part.TOOL else [])))

        def work() -> Work[None]:
            yield Sql(_APPROVE, (at, actor, part.value, service, agent, one.name, one.fingerprint))
            yield audit_row(at=now, actor=actor, action=f"{part.value}.approved", subject=subject, detail=one.fingerprint)

        await self._database.write(work)
        known = (await self._loaded()).setdefault(one.place, {}).setdefault(one.name, _Known())
        known.approved |= {one.fingerprint}
        known.waiting -= {one.fingerprint}
        return replace(one, approved_at=now, approved_by=actor)

    async def all(self) -> list[Baseline]:
        """Return every baseline, by part, service, agent and name, oldest first."""
        return [_from_row(row) for row in await self._database.read(_ALL)]

    async def _loaded(self) -> dict[Place, dict[str, _Known]]:
        if self._known is not None:
            return self._known
        async with self._loading:
            if self._known is None:
                loaded: dict[Place, dict[str, _Known]] = {}
                for one in await self.all():
                    known = loaded.setdefault(one.place, {}).setdefault(one.name, _Known())
                    if one.approved_at is None:
                        known.waiting |= {one.fingerprint}
                    else:
                        known.approved |= {one.fingerprint}
                self._known = loaded
        return self._known

    async def _learn(
        self,
        place: Place,
        names: dict[str, _Known],
        fresh: list[tuple[str, str]],
        *,
        approve_first: bool,
        shape: Callable[[str], Shape],
    ) -> None:
        at, part = to_micros(self._now()), place[0]
        rows: list[tuple[str | int | None, ...]] = []
        for name, fingerprint in fresh:
            known = names.get(name)
            if known is None and len(names) >= _MOST_NAMES:
                continue
            known = known or _Known()
            first = approve_first and not known.approved
            if not first and len(known.waiting) >= _MOST_UNAPPROVED[part]:
                continue
            # In memory first: of two that are the first at once, one becomes normal and the other departs from it.
            names[name] = (
                _Known(known.approved | {fingerprint}, known.waiting) if first else _Known(known.approved, known.waiting | {fingerprint})
            )
            approved = (at, FIRST_SEEN[part]) if first else (None, None)
            rows.append((part.value, *place[1:], name, fingerprint, at, *approved, to_text(shape(name))))
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
                for name, fingerprint in fresh:
                    known = names.get(name, _Known())
                    names[name] = _Known(known.approved - {fingerprint}, known.waiting - {fingerprint})


def place_of(part: Part, service: str, agent: str | None) -> Place:
    """Return where the prompt or the tools of a service and agent have their baselines."""
    return (part, service, agent or NOBODY)


def _from_row(row: Row) -> Baseline:
    part, service, agent, name, fingerprint, seen_at, approved_at, approved_by, shape = row
    return Baseline(
        part=Part(cast("str", part)),
        service=cast("str", service),
        agent=None if agent == NOBODY else cast("str", agent),
        name=cast("str", name),
        fingerprint=cast("str", fingerprint),
        first_seen_at=from_micros(cast("int", seen_at)),
        approved_at=None if approved_at is None else from_micros(cast("int", approved_at)),
        approved_by=cast("str | None", approved_by),
        shape=from_text(cast("str | None", shape)),
    )
