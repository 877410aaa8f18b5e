"""The gate that the config asks for, and the one that is in force."""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from alerting.baselines import Baselines
from alerting.book import AlertBook
from alerting.detectors.rate_limit import RateLimits
from alerting.detectors.upstream_limit import UpstreamLimits
from alerting.finding import Refusal, Verdict
from alerting.gate import Gate, Onchain
from alerting.lockout import Lockouts
from alerting.onchain_settings import OnchainSettings
from alerting.people import People
from alerting.policy import Policy
from alerting.prompt_checks import Detectors
from alerting.rule_counts import RuleCounts
from alerting.rulebook import RuleBook
from alerting.tool_watch import ToolWatch
from metering.budgets import BudgetBook
from metering.call import Call, Reply
from metering.holds import Settled
from metering.learning import Learner
from metering.ledger import Ledger
from metering.meter import Meter
from metering.providers.wire import ReplyReader
from metering.reading import Reading, ReplyFacts
from metering.spool import Spool
from metering.tokens import TokenCounter
from storage.database import Database, StoreError
from tollwatch.config import Config
from tollwatch.store import now

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a gate works with and what outlives it when the config is read again."""

    database: Database
    ledger: Ledger
    meter: Meter
    counter: TokenCounter
    book: AlertBook
    rules: RuleBook
    rule_counts: RuleCounts
    baselines: Baselines
    key: bytes
    """The installation's own, for the fingerprints of prompts."""
    learner: Learner | None = None
    spool: Spool | None = None
    """Where monitor mode keeps calls while the ledger cannot be written."""
    upstream_limits: UpstreamLimits = field(default_factory=UpstreamLimits)
    lockouts: Lockouts | None = None
    revoked: Container[str] = frozenset[str]()
    """The serial numbers of revoked client certificates, as they are now."""


def build_gate(config: Config, parts: Parts, *, earlier: Gate | None = None) -> Gate:
    """Return a gate of these rules, detectors and budgets. Raises ValueError when they contradict each other.

    What rate limits counted under the `earlier` gate goes on counting where the new limits count the same calls.
    """
    return Gate(
        mode=config.mode,
        rules=parts.rules.policy(config.rules),
        rule_counts=parts.rule_counts,
        detectors=Detectors.of(config.detectors, key=parts.key),
        rates=RateLimits(config.detectors.rate_limits, earlier=None if earlier is None else earlier.rates),
        budgets=BudgetBook(config.budgets),
        ledger=parts.ledger,
        meter=parts.meter,
        counter=parts.counter,
        book=parts.book,
        baselines=parts.baselines,
        unknown_formats=config.proxy.unknown_formats,
        now=now,
        learner=parts.learner,
        spool=parts.spool,
        gap_share=config.metering.gap_share,
        upstream_limits=parts.upstream_limits,
        onchain=_onchain(config.detectors.onchain, parts.database),
        people=_people(config, parts),
        tools=_tools(config, parts),
    )


def _tools(config: Config, parts: Parts) -> ToolWatch | None:
    settings = config.detectors.tool_drift
    return ToolWatch(settings, parts.baselines, key=parts.key) if settings.enabled else None


def _people(config: Config, parts: Parts) -> People | None:
    if parts.lockouts is None:
        return None
    return People(
        parts.lockouts,
        users=config.users,
        lockout=config.detectors.lockout,
        last_day=config.detectors.last_day,
        revoked=parts.revoked,
    )


def _onchain(settings: OnchainSettings, database: Database) -> Onchain | None:
    if not settings.enabled:
        return None
    from alerting.onchain.detector import Onchain  # noqa: PLC0415 - only who asks for it loads it

    return Onchain(settings, database)


class Judge:
    """The gate in force. After a swap, a call is still settled by the gate that admitted it."""

    def __init__(self) -> None:
        self._gate: Gate | None = None
        self._admitted: dict[str, Gate] = {}
        self._store_failed = False
        self.swapped = asyncio.Event()
        """Set whenever the rules change: who looks at those in force clears it."""
        self.on_cut: Callable[[str, Verdict], None] | None = None
        """Ends a running call that a hard budget has nothing left for: the proxy's."""
        self.on_hold_up: Callable[[str], bool] | None = None
        self.on_go_on: Callable[[str], None] | None = None
        self.on_ended: Callable[[Sequence[Settled]], None] | None = None
        """Hears of each batch of durable settlements as well: what watches usage."""

    @property
    def gate(self) -> Gate:
        """The gate that judges new calls."""
        if self._gate is None:
            raise RuntimeError("the gateway judges before it is wired")
        return self._gate

    def follow(self, rules: Policy) -> None:
        """Judge new calls by other rules, all else as before."""
        self.gate.follow(rules)
        self.swapped.set()

    def swap(self, gate: Gate) -> None:
        """Judge new calls by another gate."""
        self._gate = gate
        self.swapped.set()
        gate.on_cut, gate.on_hold_up, gate.on_go_on = self._cut, self._hold_up, self._go_on

    async def admit(self, call: Call) -> Verdict:
        """Decide on a call."""
        gate = self.gate
        verdict = await gate.admit(call)
        if not verdict.blocked:
            self._admitted[call.id] = gate
        return verdict

    def leave(self, call_id: str) -> None:
        """Let a call whose client is gone wait no longer; those who wait stand in one line, whichever gate they came by."""
        self.gate.leave(call_id)

    async def refuse(self, call: Call, *, refusal: Refusal, message: str) -> Verdict:
        """Record a call that the proxy cannot let through."""
        gate = self.gate
        verdict = await gate.refuse(call, refusal=refusal, message=message)
        if not verdict.blocked:
            self._admitted[call.id] = gate
        return verdict

    def reader(self, call: Call, *, content_type: str | None, headers: Mapping[str, str] | None = None) -> ReplyReader | None:
        """Return a reader for the answer."""
        return self.gate.reader(call, content_type=content_type, headers=headers)

    def progress(self, call_id: str, *, output_tokens: int) -> None:
        """Hear how far the answer of a call has come."""
        if (gate := self._admitted.get(call_id)) is not None:
            gate.progress(call_id, output_tokens=output_tokens)

    def give_up(self, call_id: str) -> None:
        """Hear that an answer can be held up no longer."""
        if (gate := self._admitted.get(call_id)) is not None:
            gate.give_up(call_id)

    def may_cut(self, call_id: str) -> bool:
        """Say whether a call may come to be ended while it runs."""
        return (gate := self._admitted.get(call_id)) is not None and gate.may_cut(call_id)

    def settle(self, call: Call, reply: Reply, facts: ReplyFacts | None) -> Reading:
        """Record how a call ended."""
        return self._admitted.pop(call.id, self.gate).settle(call, reply, facts)

    def _cut(self, call_id: str, verdict: Verdict) -> None:
        if self.on_cut is not None:
            self.on_cut(call_id, verdict)

    def _hold_up(self, call_id: str) -> bool:
        return self.on_hold_up is not None and self.on_hold_up(call_id)

    def _go_on(self, call_id: str) -> None:
        if self.on_go_on is not None:
            self.on_go_on(call_id)

    def on_settled(self, settled: Sequence[Settled]) -> None:
        """Hear from the ledger what is durable."""
        self.gate.on_settled(settled)
        if self.on_ended is not None:
            self.on_ended(settled)

    def on_health(self, failure: StoreError | None) -> None:
        """Hear from the ledger that the store fails, or is well again: said once in the log, and raised as an alert."""
        if failure is not None:
            _log.error("store_failing", message=str(failure))
        elif self._store_failed:
            _log.info("store_well_again")
        self._store_failed = failure is not None
        self.gate.on_health(failure)

    def on_channel(self, trouble: str | None) -> None:
        """Hear from the sender that somebody was not told of an alert, or that all are told again."""
        if trouble is not None:
            self.gate.degraded("channel", trouble)
        else:
            self.gate.recovered("channel")

    def on_spool(self, calls: int) -> None:
        """Hear how many calls passed that the ledger does not hold yet; 0 when it holds all of them again."""
        if calls:
            told = f"The ledger cannot be written: {calls} calls passed in monitor mode and are kept in the spool until it can"
            self.gate.degraded("spool", told)
        else:
            self.gate.recovered("spool")
