"""A real proxy with a real gate and store, and a provider on loopback behind it."""

import asyncio
import contextlib
import hmac
import itertools
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from prometheus_client import CollectorRegistry

from alerting.baselines import Baselines
from alerting.book import AlertBook
from alerting.detectors.rate_limit import RateLimits
from alerting.gate import Gate
from alerting.policy import Policy
from alerting.prompt_checks import Detectors
from alerting.rule_counts import RuleCounts
from alerting.rule_settings import RuleSettings
from alerting.settings import AlertingSettings, DetectorSettings
from metering.budgets import BudgetBook
from metering.ledger import Ledger
from metering.ledger_rows import LedgerRow
from metering.meter import Meter
from metering.prices import PriceBook
from metering.settings import BudgetSettings, MeteringSettings, PricingSettings
from metering.telemetry import Telemetry
from metering.tokens import TokenCounter
from proxy.ca import CertificateAuthority
from proxy.server import ProxyServer
from proxy.settings import ProxySettings
from storage.sqlite import SqliteDatabase
from tests.support.between import Between
from tests.support.client import Connection, Response
from tests.support.provider import Provider


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def tokens() -> TokenCounter:
    return TokenCounter()


@pytest.fixture(scope="session")
def prices() -> PriceBook:
    return PriceBook(PricingSettings(), now=now())


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    hosts = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "foreign.example", "localhost")
    with Provider(tmp_path, hosts=hosts) as provider:
        yield provider


@dataclass(kw_only=True)
class House:
    """The proxy and what stands behind it."""

    proxy: ProxyServer
    gate: Gate
    ledger: Ledger
    authority: CertificateAuthority
    provider: Provider
    registry: CollectorRegistry
    trust: ssl.SSLContext = field(repr=False)

    @property
    def forward(self) -> str:
        return "{}:{}".format(*self.proxy.forward_address)

    @property
    def base_url(self) -> str:
        return "{}:{}".format(*self.proxy.base_url_address)

    async def through(self, host: str = "api.openai.com", **more: Any) -> Connection:
        return await Connection.through(self.forward, f"https://{host}", trust=self.trust, **more)

    async def post(self, body: bytes, *, path: str = "/v1/chat/completions", host: str = "api.openai.com", **headers: str) -> Response:
        """Send one call through the forward door."""
        async with await self.through(host) as connection:
            return await connection.request("POST", path, headers=head(host, **headers), pieces=[body])

    async def rows(self) -> Sequence[LedgerRow]:
        """Return the calls, newest last, with their settlements written."""
        await self.ledger.drain()
        return await self.ledger.rows(limit=100)

    async def row(self, *, ending: str | None = None, seconds: float = 60) -> LedgerRow:
        """Return the only call once it has ended."""
        deadline = time.monotonic() + seconds
        while True:
            rows = await self.rows()
            if len(rows) == 1 and rows[0].state != "intent" and ending in {None, rows[0].ending}:
                return rows[0]
            if time.monotonic() > deadline:
                raise TimeoutError(f"the ledger holds {[(row.state, row.ending) for row in rows]}, not one call with ending {ending}")
            await asyncio.sleep(0.01)

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def head(host: str, **more: str) -> list[tuple[str, str]]:
    named = [(name.replace("_", "-"), value) for name, value in more.items()]
    return [("host", host), ("authorization", "Bearer sk-test"), ("content-type", "application/json"), *named]


type OpenHouse = Callable[..., Awaitable[House]]


@pytest.fixture
async def open_house(tmp_path: Path, provider: Provider, tokens: TokenCounter, prices: PriceBook) -> AsyncIterator[OpenHouse]:
    """Build a house with settings of one's own; all of them close at the end of the test."""
    stack = contextlib.AsyncExitStack()
    numbers = itertools.count()

    async def build(
        *,
        mode: Literal["enforce", "monitor"] = "enforce",
        rules: Sequence[RuleSettings] = (),
        budgets: Sequence[BudgetSettings] = (),
        detectors: DetectorSettings | None = None,
        unknown_formats: Literal["pass", "refuse"] = "pass",
        proxy: dict[str, Any] | None = None,
        **wiring: Any,
    ) -> House:
        database = await SqliteDatabase.open(tmp_path / f"house-{next(numbers)}.db")
        stack.push_async_callback(database.close)
        book = AlertBook(database, org_id="org", settings=AlertingSettings(), now=now)
        limits = BudgetBook(budgets)
        ledger = Ledger(
            database,
            instance="test",
            now=now,
            on_settled=lambda settled: gate.on_settled(settled),  # noqa: PLW0108  # the gate is made below
            budgets=limits.all,
        )
        detectors = detectors or DetectorSettings()
        gate = Gate(
            mode=mode,
            rules=Policy(rules),
            rule_counts=RuleCounts(database),
            detectors=Detectors.of(detectors, key=b"k" * 32),
            rates=RateLimits(detectors.rate_limits),
            budgets=limits,
            ledger=ledger,
            meter=Meter(prices, tokens, MeteringSettings()),
            counter=tokens,
            book=book,
            baselines=Baselines(database, now=now),
            unknown_formats=unknown_formats,
            now=now,
        )
        registry = CollectorRegistry()
        authority = CertificateAuthority.open_or_create(tmp_path / "ca")
        settings = {
            "listen": "127.0.0.1:0",
            "base_url_listen": "127.0.0.1:0",
            "resolve": {"*": provider.address},
            "upstreams": {"openai": f"http://{provider.address}", "ollama": f"http://{provider.address}"},
            "upstream_ca": provider.ca_file,
        }
        parts = {"identity": (), "users": (), "services": (), **wiring}
        server = ProxyServer(
            settings=ProxySettings.model_validate(settings | (proxy or {})),
            gate=gate,
            ca_dir=tmp_path / "ca",
            key_hasher=lambda key: hmac.digest(b"k", key, "sha256").hex()[:16],
            now=now,
            telemetry=Telemetry(registry),
            **parts,
        )
        stack.push_async_callback(book.drain)
        stack.push_async_callback(ledger.drain)
        stack.push_async_callback(server.stop, grace=timedelta(seconds=0.2))
        await server.start()
        trust = authority.client_context()
        return House(proxy=server, gate=gate, ledger=ledger, authority=authority, provider=provider, registry=registry, trust=trust)

    async with stack:
        yield build


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house()


@pytest.fixture
async def between(open_house: OpenHouse) -> AsyncIterator[Between]:
    """Both ends of a gateway."""
    ends = await Between.open(open_house)
    yield ends
    ends.close()
