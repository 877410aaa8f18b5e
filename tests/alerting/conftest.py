"""A real store, ledger, meter and book on a clock that the test moves."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from alerting.baselines import Baselines
from alerting.book import AlertBook
from alerting.detectors.rate_limit import RateLimits
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from alerting.gate import Gate
from alerting.policy import Policy
from alerting.prompt_checks import Detectors
from alerting.rule_counts import RuleCounts
from alerting.rule_settings import RuleSettings
from alerting.settings import AlertingSettings, DetectorSettings
from alerting.tool_watch import ToolWatch
from metering.budgets import BudgetBook
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Prompt, Reply
from metering.ledger import Ledger
from metering.meter import Meter
from metering.prices import PriceBook
from metering.reading import ReplyFacts
from metering.settings import BudgetSettings, MeteringSettings, PricingSettings
from metering.tokens import TokenCounter
from metering.usage import Usage
from storage.sqlite import SqliteDatabase

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Tells the time that the test gives it."""

    time: datetime = NOON

    def __call__(self) -> datetime:
        return self.time

    def nanoseconds(self) -> int:
        return (self.time - NOON) // timedelta(microseconds=1) * 1_000

    def pass_by(self, **span: float) -> None:
        self.time += timedelta(**span)


@dataclass
class World:
    """A gate with all real parts behind it."""

    gate: Gate
    ledger: Ledger
    book: AlertBook
    baselines: Baselines
    database: SqliteDatabase
    clock: Clock
    prices: PriceBook
    counts: RuleCounts

    def answer(self, call: Call, *, input_tokens: int | None = 10, output_tokens: int | None = 5, status: int = 200, **more: Any) -> Any:
        """Settle a call as answered."""
        usage = None if input_tokens is None else Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        facts = ReplyFacts(usage=usage, model=call.model, complete=True, **more)
        return self.gate.settle(call, self.reply(status=status), facts)

    def reply(self, *, status: int | None = 200, ending: Ending = Ending.COMPLETED) -> Reply:
        return Reply(ending=ending, status=status, first_byte_at=self.clock(), ended_at=self.clock(), response_bytes=100)

    async def settled(self) -> None:
        """Wait until all is written."""
        await self.ledger.drain()
        await self.book.drain()

    async def alerts(self, kind: AlertKind | None = None) -> Any:
        await self.settled()
        return await self.book.list(kinds=None if kind is None else [kind], limit=1000)


@dataclass
class Worlds:
    """Makes worlds over one database."""

    database: SqliteDatabase
    clock: Clock
    made: list[World] = field(default_factory=list)

    def __call__(  # the sections of a config
        self,
        *,
        mode: str = "enforce",
        rules: list[dict[str, Any]] | None = None,
        detectors: dict[str, Any] | None = None,
        budgets: list[dict[str, Any]] | None = None,
        alerting: dict[str, Any] | None = None,
        unknown_formats: str = "pass",
        onchain: Any = None,
    ) -> World:
        settings = DetectorSettings.model_validate(detectors or {"prompt_drift": {"enabled": False}})
        prices = PriceBook(PricingSettings(), now=self.clock())
        counter = TokenCounter()
        budget_book = BudgetBook([BudgetSettings.model_validate(one) for one in budgets or []])
        book = AlertBook(self.database, org_id="org", settings=AlertingSettings.model_validate(alerting or {}), now=self.clock)
        ledger = Ledger(
            self.database,
            instance="test",
            now=self.clock,
            on_settled=lambda settled: world.gate.on_settled(settled),  # noqa: PLW0108 - the gate is made after the ledger
            budgets=budget_book.all,
            on_health=lambda failure: world.gate.on_health(failure),  # noqa: PLW0108 - the same
        )
        counts = RuleCounts(self.database)
        baselines = Baselines(self.database, now=self.clock)
        gate = Gate(
            mode=mode,  # type: ignore[arg-type]  # the tests say which
            rule_counts=counts,
            tools=ToolWatch(settings.tool_drift, baselines, key=b"k" * 32) if settings.tool_drift.enabled else None,
            rules=Policy([RuleSettings.model_validate(rule) for rule in rules or []]),
            detectors=Detectors.of(settings, key=b"k" * 32),
            rates=RateLimits(settings.rate_limits, clock=self.clock.nanoseconds),
            budgets=budget_book,
            ledger=ledger,
            meter=Meter(prices, counter, MeteringSettings()),
            counter=counter,
            book=book,
            baselines=baselines,
            unknown_formats=unknown_formats,  # type: ignore[arg-type]  # the same
            now=self.clock,
            onchain=onchain,
        )
        world = World(gate, ledger, book, baselines, self.database, self.clock, prices, counts)
        self.made.append(world)
        return world


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(tmp_path / "tollwatch.db")
    yield opened
    await opened.close()


@pytest.fixture
async def worlds(database: SqliteDatabase, clock: Clock) -> AsyncIterator[Worlds]:
    made = Worlds(database, clock)
    yield made
    for world in made.made:
        await world.settled()


@pytest.fixture
def book(worlds: Worlds) -> AlertBook:
    return worlds().book


@pytest.fixture
def a_call(clock: Clock) -> Callable[..., Call]:
    """Return a maker of calls; what it is not told is a plain chat with gpt-4o."""
    numbers = count(1)

    def make(*, text: str = "Hello", system: str | None = None, caller: dict[str, str] | None = None, **changes: Any) -> Call:
        values: dict[str, Any] = {
            "id": f"call-{next(numbers)}",
            "started_at": clock(),
            "door": Door.FORWARD,
            "provider": "openai",
            "service": "openai",
            "operation": "chat",
            "endpoint": Endpoint.CHAT,
            "wire_format": "openai.chat",
            "consumption": Consumption.METERED,
            "method": "POST",
            "host": "api.openai.com",
            "path": "/v1/chat/completions",
            "model": "gpt-4o",
            "streamed": False,
            "caller": Caller(**(caller or {})),
            "request_bytes": len(text) + 100,
            "prompt": Prompt(system=(system,) if system else (), texts=(text,), messages=1 + bool(system)),
            "max_output_tokens": 100,
        }
        return Call(**{**values, **changes})

    return make


@pytest.fixture
def an_occurrence(clock: Clock) -> Callable[..., Occurrence]:
    """Return a maker of findings as they are recorded."""

    def make(
        *episode: str,
        kind: AlertKind = AlertKind.PROMPT_SIZE,
        taken: Taken = Taken.ALERTED,
        severity: Severity = Severity.MEDIUM,
        call_id: str | None = None,
        **more: Any,
    ) -> Occurrence:
        finding = Finding(
            kind=kind,
            action=Action.ALERT,
            severity=severity,
            title=more.pop("title", "Something"),
            message=more.pop("message", "Something is wrong"),
            episode=episode or ("openai", "-"),
            subject=more.pop("subject", Subject(service="openai")),
            **more,
        )
        return Occurrence(finding=finding, taken=taken, at=clock(), call_id=call_id)

    return make
