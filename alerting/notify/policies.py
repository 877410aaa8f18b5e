"""Gateway policies: which events of alerts about rules go to which URLs, as those who write rules set it up."""

import asyncio
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

import orjson

from alerting.notify.channel import EventType
from alerting.notify.sealing import Seal, SealedError
from alerting.notify.signing import new_secret
from storage.audit import audit_row, place_of
from storage.database import Database, Row, Sql, Work
from storage.ids import uuid7
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]

CHANNEL = "gateway_policy"
"""What their deliveries are kept under."""
MOST = 100

_ALL = "SELECT id, name, pattern, actions, enabled, secret, created_at, created_by FROM gateway_policies ORDER BY id"
_PUT = """
INSERT INTO gateway_policies (id, name, pattern, actions, enabled, secret, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, pattern = excluded.pattern, actions = excluded.actions, enabled = excluded.enabled, secret = excluded.secret
"""


class NoPolicyError(LookupError):
    """There is no gateway policy of this id."""


class PolicyConflictError(ValueError):
    """There is a policy of this name, or there are as many as there may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAction:
    """One receiver of a policy. `disabled_reason`: it said that it wants no more."""

    url: str
    disabled_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPolicy:
    """Events whose names match the pattern go to each of the receivers. `secret` is for signing alone; None: it cannot be read."""

    id: str
    name: str
    pattern: str
    actions: tuple[WebhookAction, ...]
    enabled: bool
    secret: str | None
    created_at: datetime
    created_by: str

    def matches(self, event: EventType) -> bool:
        """Whether it is about an event."""
        return fnmatch.fnmatchcase(event.value, self.pattern)

    @property
    def listeners(self) -> tuple[int, ...]:
        """The places of the receivers that are told of anything."""
        if not self.enabled or self.secret is None:
            return ()
        return tuple(index for index, action in enumerate(self.actions) if action.disabled_reason is None)


def checked_pattern(pattern: str) -> str:
    """Return a pattern that some event matches. Raises ValueError."""
    if not any(fnmatch.fnmatchcase(event.value, pattern) for event in EventType):
        raise ValueError(f"no event matches {pattern!r}: use alert.* or one of {', '.join(EventType)}")
    return pattern


class GatewayPolicies:
    """All gateway policies. Each change is durable, with its row of audit, before it is in force."""

    def __init__(self, database: Database, *, seal: Seal, now: Clock) -> None:
        self._database = database
        self._seal = seal
        self._now = now
        self._all: dict[str, GatewayPolicy] = {}
        self._changing = asyncio.Lock()
        self.listening: tuple[GatewayPolicy, ...] = ()
        """Those that anybody is told by: replaced whole, so that it may be read from any thread."""

    async def load(self) -> None:
        """Read the policies. Raises StoreError."""
        self._all = {policy.id: policy for policy in map(self._of_row, await self._database.read(_ALL))}
        self._refresh()

    def all(self) -> list[GatewayPolicy]:
        """Return every policy, in the order in which they were made."""
        return list(self._all.values())

    def get(self, policy_id: str) -> GatewayPolicy | None:
        """Return one policy."""
        return self._all.get(policy_id)

    async def add(self, *, name: str, pattern: str, urls: Sequence[str], enabled: bool, actor: str) -> GatewayPolicy:
        """Make a policy with a fresh secret; its URLs were looked at. Raises PolicyConflictError, ValueError (pattern)."""
        now = self._now()
        policy = GatewayPolicy(
            id=str(uuid7(now)),
            name=name,
            pattern=checked_pattern(pattern),
            actions=tuple(WebhookAction(url=url) for url in urls),
            enabled=enabled,
            secret=new_secret(),
            created_at=now,
            created_by=actor,
        )
        async with self._changing:
            self._is_free(name)
            if len(self._all) >= MOST:
                raise PolicyConflictError(f"There are {MOST} gateway policies, which is the most: remove some first")
            return await self._put(policy, actor=actor, action="created")

    async def change(self, policy_id: str, *, name: str, pattern: str, urls: Sequence[str], enabled: bool, actor: str) -> GatewayPolicy:
        """Put another definition in the place of a policy; receivers that wanted no more are told again.

        Its secret stays unless it cannot be read. Raises as `add` does, and NoPolicyError.
        """
        async with self._changing:
            policy = self._known(policy_id)
            self._is_free(name, but=policy_id)
            changed = replace(
                policy,
                name=name,
                pattern=checked_pattern(pattern),
                actions=tuple(WebhookAction(url=url) for url in urls),
                enabled=enabled,
                secret=policy.secret or new_secret(),
            )
            return await self._put(changed, actor=actor, action="changed")

    async def remove(self, policy_id: str, *, actor: str) -> None:
        """Remove a policy and what waits for its receivers. Raises NoPolicyError."""
        async with self._changing:
            policy, at = self._known(policy_id), self._now()
            targets = [target_of(policy, index) for index in range(len(policy.actions))]

            def work() -> Work[None]:
                yield Sql("DELETE FROM gateway_policies WHERE id = ?", (policy.id,))
                for target in targets:
                    yield Sql("DELETE FROM deliveries WHERE channel = ? AND target = ?", (CHANNEL, target))
                yield audit_row(at=at, actor=actor, action="gateway_policy.deleted", subject=policy.name, detail=policy.id)

            await self._database.write(work)
            del self._all[policy_id]
            self._refresh()

    async def disable(self, target: str, *, reason: str) -> None:
        """Tell a receiver nothing more until a person changes the policy."""
        async with self._changing:
            found = self.receiver(target)
            if found is None:
                return
            policy, index = found
            actions = tuple(
                replace(action, disabled_reason=reason) if place == index else action for place, action in enumerate(policy.actions)
            )
            await self._put(replace(policy, actions=actions), actor="system", action="receiver_disabled")

    def receiver(self, target: str) -> tuple[GatewayPolicy, int] | None:
        """Return the policy of a target, and the place of its receiver."""
        policy_id, _, index = target.rpartition("/")
        policy = self._all.get(policy_id)
        return None if policy is None or int(index) >= len(policy.actions) else (policy, int(index))

    def _is_free(self, name: str, *, but: str | None = None) -> None:
        if any(known.name == name and known.id != but for known in self._all.values()):
            raise PolicyConflictError(f"There is a gateway policy {name!r} already: give this one another name")

    def _known(self, policy_id: str) -> GatewayPolicy:
        policy = self._all.get(policy_id)
        if policy is None:
            raise NoPolicyError(f"Policy {policy_id} not found")
        return policy

    async def _put(self, policy: GatewayPolicy, *, actor: str, action: str) -> GatewayPolicy:
        sealed = None if policy.secret is None else self._seal.close(policy.secret, context=policy.id)
        actions = orjson.dumps([[one.url, one.disabled_reason] for one in policy.actions]).decode()
        created = to_micros(policy.created_at)
        row = (policy.id, policy.name, policy.pattern, actions, int(policy.enabled), sealed, created, policy.created_by)
        detail, at = " ".join((policy.pattern, *(place_of(one.url) for one in policy.actions))), self._now()

        def work() -> Work[None]:
            yield Sql(_PUT, row)
            yield audit_row(at=at, actor=actor, action=f"gateway_policy.{action}", subject=policy.name, detail=detail)

        await self._database.write(work)
        self._all[policy.id] = policy
        self._refresh()
        return policy

    def _of_row(self, row: Row) -> GatewayPolicy:
        policy_id, name, pattern, actions, enabled, sealed, created_at, created_by = row
        listed = cast("list[tuple[str, str | None]]", orjson.loads(cast("str", actions)))
        return GatewayPolicy(
            id=cast("str", policy_id),
            name=cast("str", name),
            pattern=cast("str", pattern),
            actions=tuple(WebhookAction(url=url, disabled_reason=reason) for url, reason in listed),
            enabled=bool(enabled),
            secret=self._opened(cast("str", sealed), cast("str", policy_id)),
            created_at=from_micros(cast("int", created_at)),
            created_by=cast("str", created_by),
        )

    def _opened(self, sealed: str, policy_id: str) -> str | None:
        try:
            return self._seal.open(sealed, context=policy_id)
        except SealedError:
            return None

    def _refresh(self) -> None:
        self.listening = tuple(policy for policy in self._all.values() if policy.listeners)


def target_of(policy: GatewayPolicy, index: int) -> str:
    """Return what deliveries to one receiver of a policy are kept under."""
    return f"{policy.id}/{index}"
