"""The rules of the config file and those that were made while the gateway ran: kept, changed, and brought into force."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, cast

from pydantic import ValidationError

from alerting.policy import Policy
from alerting.rule_settings import RuleSettings
from storage.audit import audit_row
from storage.database import Database, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]
type Origin = Literal["file", "store"]

MOST_STORED = 10_000
"""Rules in the store."""

_ALL = "SELECT id, definition, created_at, created_by, updated_at, updated_by FROM rules ORDER BY seq, id"
_PUT = """
INSERT INTO rules (id, seq, definition, created_at, created_by, updated_at, updated_by)
VALUES (?, (SELECT COALESCE(MAX(seq), 0) + 1 FROM rules), ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET definition = excluded.definition, updated_at = excluded.updated_at, updated_by = excluded.updated_by
"""
_REMOVE = "DELETE FROM rules WHERE id = ?"


class RuleExistsError(ValueError):
    """There is a rule of this id."""


class NoRuleError(ValueError):
    """There is no rule of this id."""


class ReadOnlyRuleError(ValueError):
    """The rule stands in the config file, which alone may change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRule:
    """A rule and where it is kept. Who made it, and when, is known of stored ones alone."""

    settings: RuleSettings
    origin: Origin
    set_aside: bool = False
    """Stored, and the config file has a rule of this id: that one counts."""
    created_at: datetime | None = None
    created_by: str | None = None
    updated_at: datetime | None = None
    updated_by: str | None = None

    @property
    def in_force(self) -> bool:
        """Whether calls are judged by it."""
        return self.settings.enabled and not self.set_aside

    def as_json(self) -> dict[str, object]:
        """Return it as a JSON object, moments in RFC 3339."""
        return {
            **self.settings.model_dump(mode="json", by_alias=True, exclude_none=True),
            "origin": self.origin,
            "in_force": self.in_force,
            "created_at": self.created_at and self.created_at.isoformat(),
            "created_by": self.created_by,
            "updated_at": self.updated_at and self.updated_at.isoformat(),
            "updated_by": self.updated_by,
        }


class RuleBook:
    """All rules. Each change is checked, then durable, then in force; one that cannot be made changes nothing.

    `where` names the config file for messages; `on_change` hears of the new policy once a change is durable.
    """

    def __init__(
        self,
        database: Database,
        *,
        file: Sequence[RuleSettings],
        where: str,
        now: Clock,
        on_change: Callable[[Policy], None] = lambda _policy: None,
    ) -> None:
        self._database = database
        self._file = tuple(file)
        self._where = where
        self._now = now
        self._stored: dict[str, KeptRule] = {}
        self._changing = asyncio.Lock()
        self.on_change = on_change
        self.broken: dict[str, str] = {}
        """Stored rules that this version cannot read, by their ids, and why. They can only be removed."""

    async def load(self) -> None:
        """Read the stored rules. Raises StoreError."""
        for row in await self._database.read(_ALL):
            rule_id, definition, created_at, created_by, updated_at, updated_by = cast("tuple[str, str, int, str, int, str]", row)
            try:
                settings = RuleSettings.model_validate_json(definition)
            except ValidationError as error:
                self.broken[rule_id] = told(error)
                continue
            self._stored[rule_id] = KeptRule(
                settings=settings,
                origin="store",
                created_at=from_micros(created_at),
                created_by=created_by,
                updated_at=from_micros(updated_at),
                updated_by=updated_by,
            )

    def check(self) -> None:
        """Raise ValueError when a stored rule cannot be read: what it forbids would pass."""
        for rule_id, reason in self.broken.items():
            raise ValueError(f"The stored rule {rule_id!r} cannot be read: {reason}. Remove it by `tollwatch rules rm {rule_id}`")

    def all(self) -> list[KeptRule]:
        """Return every rule: the file's in its order, then the stored ones in the order in which they were made."""
        own = {rule.id for rule in self._file}
        stored = (replace(kept, set_aside=kept.settings.id in own) for kept in self._stored.values())
        return [*(KeptRule(settings=rule, origin="file") for rule in self._file), *stored]

    def get(self, rule_id: str) -> KeptRule | None:
        """Return one rule."""
        return next((kept for kept in self.all() if kept.settings.id == rule_id), None)

    def policy(self, file: Sequence[RuleSettings] | None = None) -> Policy:
        """Return the policy of all rules, or the one that it would be with these in the file. Raises ValueError when there is none."""
        of_file = self._file if file is None else tuple(file)
        own = {rule.id for rule in of_file}
        return Policy([*of_file, *(kept.settings for rule_id, kept in self._stored.items() if rule_id not in own)])

    def follow(self, file: Sequence[RuleSettings]) -> None:
        """Know these as the file's from now on: it was read again."""
        self._file = tuple(file)

    async def add(self, settings: RuleSettings, *, actor: str) -> KeptRule:
        """Store a new rule and bring it into force. Raises RuleExistsError, ReadOnlyRuleError, ValueError or StoreError."""
        async with self._changing:
            if settings.id in self._stored or settings.id in self.broken:
                raise RuleExistsError(f"There is a rule {settings.id!r} already: change it, or give the new one another id")
            if len(self._stored) >= MOST_STORED:
                raise ValueError(f"There are {MOST_STORED:,} stored rules, which is the most: remove some first")
            return await self._put(settings, actor=actor, action="created")

    async def change(self, settings: RuleSettings, *, actor: str) -> KeptRule:
        """Put another definition in the place of a stored rule. Raises NoRuleError, ReadOnlyRuleError, ValueError or StoreError."""
        async with self._changing:
            self._known(settings.id)
            return await self._put(settings, actor=actor, action="changed")

    async def enable(self, rule_id: str, *, enabled: bool, actor: str) -> KeptRule:
        """Switch a stored rule on or off. Raises as `change` does."""
        async with self._changing:
            kept = self._known(rule_id)
            settings = kept.settings.model_copy(update={"enabled": enabled})
            return await self._put(settings, actor=actor, action="enabled" if enabled else "disabled")

    async def remove(self, rule_id: str, *, actor: str) -> None:
        """Remove a stored rule; what it counted and raised stays. Raises NoRuleError, ReadOnlyRuleError or StoreError."""
        async with self._changing:
            if rule_id not in self.broken and rule_id not in self._stored:
                self._known(rule_id)
            now = self._now()

            def work() -> Work[None]:
                yield Sql(_REMOVE, (rule_id,))
                yield audit_row(at=now, actor=actor, action="rule.deleted", subject=rule_id)

            await self._database.write(work)
            self.broken.pop(rule_id, None)
            self._stored.pop(rule_id, None)
            await self._bring_into_force()

    def _known(self, rule_id: str) -> KeptRule:
        """Return a stored rule that may be changed."""
        self._is_ours(rule_id)
        kept = self._stored.get(rule_id)
        if kept is None:
            reason = f"cannot be read ({self.broken[rule_id]}): remove it" if rule_id in self.broken else "does not exist"
            raise NoRuleError(f"The rule {rule_id!r} {reason}; `tollwatch rules ls` shows all rules")
        return kept

    def _is_ours(self, rule_id: str) -> None:
        if any(rule.id == rule_id for rule in self._file):
            raise ReadOnlyRuleError(
                f"The rule {rule_id!r} is defined in the config ({self._where}): change it there, then `tollwatch reload`"
            )

    async def _put(self, settings: RuleSettings, *, actor: str, action: str) -> KeptRule:
        self._is_ours(settings.id)
        now, before = self._now(), self._stored.get(settings.id)
        kept = KeptRule(
            settings=settings,
            origin="store",
            created_at=before.created_at if before else now,
            created_by=before.created_by if before else actor,
            updated_at=now,
            updated_by=actor,
        )
        definition, at = settings.model_dump_json(by_alias=True, exclude_defaults=True), to_micros(now)

        def work() -> Work[None]:
            yield Sql(_PUT, (settings.id, definition, at, actor, at, actor))
            yield audit_row(at=now, actor=actor, action=f"rule.{action}", subject=settings.id, detail=definition)

        await self._database.write(work)
        self._stored[settings.id] = kept
        await self._bring_into_force()
        return kept

    async def _bring_into_force(self) -> None:
        """Tell the new policy. It is made in a thread: a thousand new patterns take a tenth of a second."""
        while True:
            file = self._file
            policy = await asyncio.to_thread(self.policy)
            if self._file is file:  # else the config was read again meanwhile
                break
        self.on_change(policy)


def rule_of(definition: object) -> RuleSettings:
    """Return the rule that a JSON object defines. Raises ValueError with a sentence for each fault."""
    try:
        return RuleSettings.model_validate(definition)
    except ValidationError as error:
        raise ValueError(f"The rule cannot be taken: {told(error)}") from error


def told(error: ValidationError) -> str:
    """Return what is wrong with a rule, in one line."""
    faults = ((".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, ")) for fault in error.errors(include_url=False))
    return "; ".join(f"{where}: {what}" if where else what for where, what in faults)
