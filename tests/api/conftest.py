"""A running API over a real store, for the tests of this folder."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
import trustme
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST
from prometheus_client import CollectorRegistry, Counter

from alerting.book import AlertBook
from alerting.changes import AlertChanges
from alerting.entries import EntryBook
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from alerting.notify.addresses import AddressGuard
from alerting.notify.deliveries import Deliveries
from alerting.notify.desk import PolicyDesk, WebhookDesk
from alerting.notify.http import Poster
from alerting.notify.mail import Mailer
from alerting.notify.mail_channel import MailChannel
from alerting.notify.mail_settings import EmailSettings
from alerting.notify.outbox import Outbox
from alerting.notify.policies import CHANNEL as POLICY_CHANNEL
from alerting.notify.policies import GatewayPolicies
from alerting.notify.policy_channel import PolicyChannel
from alerting.notify.sealing import Seal
from alerting.notify.sender import Sender
from alerting.notify.settings import WebhookSettings
from alerting.notify.webhook_channel import WebhookChannel
from alerting.notify.webhooks import CHANNEL, Webhooks
from alerting.rule_counts import RuleCounts
from alerting.rule_hooks import RuleHooks
from alerting.rule_settings import RuleSettings
from alerting.rule_watch import RuleWatch
from alerting.rulebook import RuleBook
from alerting.settings import AlertingSettings, RuleHealthSettings
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from alerting.usage_alerts import UsageAlerts
from alerting.usage_settings import UsageAlertSettings
from alerting.usage_trial import UsageTrials
from api.access import Access
from api.app import create_app
from api.listener import ApiServer
from api.scopes import Scope
from api.services import Services
from api.settings import ApiSettings, SessionSettings
from api.status import Status
from api.streams import Streams
from metering.ledger import Ledger
from storage.audit import AuditTrail
from storage.sqlite import SqliteDatabase
from tests.support.described import check_answer

START = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
CODE = "setup-1234-code"
ORG = "a1b2c3d4-0000-0000-0000-000000000000"
PASSWORD = "correct horse battery"


class MovableClock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


class CodeFile:
    """The setup code as the first start keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(CODE)

    def read(self) -> str | None:
        return self.path.read_text() if self.path.exists() else None

    def consume(self) -> None:
        self.path.unlink()


@dataclass
class StatusBoard:
    """What the wiring reports; a test changes it."""

    status: Status

    def __call__(self) -> Status:
        return self.status

    def set(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)


@dataclass(kw_only=True)
class Gateway:
    """A running API, and what stands behind it."""

    server: ApiServer
    services: Services
    client: aiohttp.ClientSession
    board: StatusBoard
    clock: MovableClock

    @property
    def port(self) -> int:
        assert self.server.address is not None
        return self.server.address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def token(self, *scopes: Scope, name: str = "tester", **more: datetime) -> str:
        made = await self.services.access.tokens.create(name=name, scopes=scopes or tuple(Scope), actor="test", **more)
        return made.secret

    async def ask(
        self, method: str, path: str, *, token: str | None = None, headers: dict[str, str] | None = None, **more: object
    ) -> "Answer":
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.client.request(method, self.url + path, headers=headers, **more) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json" and raw
            if is_json:
                check_answer(method, path.partition("?")[0], response.status, raw)
            return Answer(response.status, dict(response.headers), await response.json() if is_json else None, raw)


@dataclass
class Answer:
    """One answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: object
    raw: bytes


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(tmp_path / "tollwatch.db")
    yield opened
    await opened.close()


@pytest.fixture
def code_file(tmp_path: Path) -> CodeFile:
    return CodeFile(tmp_path / "setup-code")


@pytest.fixture
def access(database: SqliteDatabase, clock: MovableClock, code_file: CodeFile, book: AlertBook) -> Access:
    cheap = PasswordHasher.from_parameters(CHEAPEST)
    return Access(database, settings=SessionSettings(), setup_code=code_file, now=clock, report=book.enqueue, hasher=cheap)


@pytest.fixture
async def ledger(database: SqliteDatabase, clock: MovableClock) -> AsyncIterator[Ledger]:
    ledger = Ledger(database, instance="test", now=clock, on_settled=lambda _settled: None)
    yield ledger
    await ledger.drain()


@pytest.fixture
def alerting_settings() -> AlertingSettings:
    return AlertingSettings()


@pytest.fixture
def book(database: SqliteDatabase, clock: MovableClock, alerting_settings: AlertingSettings, outbox: Outbox) -> AlertBook:
    return AlertBook(database, org_id=ORG, settings=alerting_settings, now=clock, outbox=outbox)


@pytest.fixture
def board() -> StatusBoard:
    doors = {"forward": "127.0.0.1:8080", "base_url": "127.0.0.1:8081"}
    return StatusBoard(
        Status(version="0.1.0", mode="enforce", instance="test", started_at=START, store_writable=True, canary_held=True, doors=doors)
    )


@pytest.fixture
def file_usage_alerts() -> tuple[UsageAlertSettings, ...]:
    """The usage alerts of the config file."""
    return ()


@pytest.fixture
async def usage_alerts(database: SqliteDatabase, clock: MovableClock, file_usage_alerts: tuple[UsageAlertSettings, ...]) -> UsageAlerts:
    made = UsageAlerts(database, file=file_usage_alerts, where="its `usage_alerts` section", now=clock)
    await made.load()
    return made


@pytest.fixture
def email_settings() -> EmailSettings | None:
    """By which server mail is sent; none."""
    return None


@pytest.fixture
def usage_trials(
    database: SqliteDatabase, clock: MovableClock, usage_alerts: UsageAlerts, email_settings: EmailSettings | None, streams: Streams
) -> UsageTrials:
    mailer = None if email_settings is None else Mailer(email_settings, timeout=timedelta(seconds=5))
    mail = MailChannel(mailer, channels_of=usage_alerts.channels_of, now=clock)
    return UsageTrials(database, mail, on_notice=lambda notice: streams.tell(notice.as_json()), now=clock)


@pytest.fixture
def streams(database: SqliteDatabase, ledger: Ledger) -> Streams:
    return Streams(AlertChanges(database), ledger)


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(allowed_hosts=("tollwatch.corp", "proxied.corp:8443"))


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    """Return what posts to this machine and to the public internet."""
    made = Poster(AddressGuard([ip_network("127.0.0.0/8")]), timeout=timedelta(seconds=5))
    yield made
    await made.aclose()


@pytest.fixture
def gateway_policies(database: SqliteDatabase, clock: MovableClock, outbox: Outbox, poster: Poster) -> GatewayPolicies:
    made = GatewayPolicies(database, seal=Seal(b"k" * 32), now=clock)
    outbox.add(PolicyChannel(made, poster, org_id="org", now=clock))
    return made


@pytest.fixture
def file_rules() -> list[RuleSettings]:
    """Return the rules of the config file."""
    rule = {"id": "SEC-003", "title": "No GPT-4 models", "match": {"model": "gpt-4*"}, "action": "block", "severity": "high"}
    return [RuleSettings.model_validate(rule)]


@pytest.fixture
async def rules(database: SqliteDatabase, clock: MovableClock, file_rules: list[RuleSettings]) -> RuleBook:
    book = RuleBook(database, file=file_rules, where="its `rules` section", now=clock)
    await book.load()
    return book


@pytest.fixture
async def rule_counts(database: SqliteDatabase) -> AsyncIterator[RuleCounts]:
    counts = RuleCounts(database)
    yield counts
    await counts.drain()


@pytest.fixture
async def rule_watch(database: SqliteDatabase, book: AlertBook, rules: RuleBook, rule_counts: RuleCounts, clock: MovableClock) -> RuleWatch:
    in_force = lambda: rules.policy().settings  # noqa: E731
    return RuleWatch(database=database, book=book, counts=rule_counts, rules=in_force, settings=RuleHealthSettings(), now=clock)


@pytest.fixture
def file_webhooks() -> tuple[WebhookSettings, ...]:
    """The webhooks of the config file."""
    return ()


@pytest.fixture
def webhooks(
    *, database: SqliteDatabase, outbox: Outbox, poster: Poster, clock: MovableClock, file_webhooks: tuple[WebhookSettings, ...]
) -> WebhookDesk:
    """Webhooks that may go to this machine; nothing is sent unless a test runs a sender."""
    guard = AddressGuard([ip_network("127.0.0.0/8")])
    kept = Webhooks(database, file=file_webhooks, guard=guard, seal=Seal(b"k" * 32), org_id=ORG, now=clock)
    channel = WebhookChannel(kept, poster, org_id=ORG, opted_in=False, now=clock)
    outbox.add(channel)
    deliveries = Deliveries(database, channel=CHANNEL, now=clock)
    return WebhookDesk(book=kept, channel=channel, deliveries=deliveries, wake=Sender(database, outbox, now=clock).wake)


@pytest.fixture
def services(
    *,
    access: Access,
    book: AlertBook,
    database: SqliteDatabase,
    alerting_settings: AlertingSettings,
    usage_alerts: UsageAlerts,
    usage_trials: UsageTrials,
    streams: Streams,
    rules: RuleBook,
    rule_watch: RuleWatch,
    gateway_policies: GatewayPolicies,
    poster: Poster,
    ledger: Ledger,
    board: StatusBoard,
    settings: ApiSettings,
    clock: MovableClock,
    webhooks: WebhookDesk,
) -> Services:
    registry = CollectorRegistry()
    Counter("tollwatch_calls", "calls", registry=registry).inc(3)
    silences = SilenceBook(database, defined=alerting_settings.silences, now=clock)
    suppression = Suppression(database, silences, now=clock)
    return Services(
        access=access,
        alerts=book,
        audit=AuditTrail(database),
        silences=silences,
        rules=rules,
        rule_watch=rule_watch,
        suppression=suppression,
        entries=EntryBook(database, book, suppression=suppression, line="test", now=clock),
        rule_hooks=RuleHooks(database, book, now=clock),
        gateway_policies=PolicyDesk(
            book=gateway_policies,
            deliveries=Deliveries(database, channel=POLICY_CHANNEL, now=clock),
            poster=poster,
            wake=webhooks.wake,
        ),
        webhooks=webhooks,
        usage_alerts=usage_alerts,
        usage_trials=usage_trials,
        ledger=ledger,
        streams=streams,
        status=board,
        settings=settings,
        registry=registry,
        now=clock,
    )


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def gateway(services: Services, board: StatusBoard, clock: MovableClock, server_tls: ssl.SSLContext) -> AsyncIterator[Gateway]:
    server = ApiServer(create_app(services))
    await server.start("127.0.0.1", 0, server_tls)
    async with aiohttp.ClientSession() as client:
        yield Gateway(server=server, services=services, client=client, board=board, clock=clock)
    await server.stop()


@pytest.fixture
def occur(clock: MovableClock) -> Callable[..., Occurrence]:
    """Return a maker of findings that were acted on."""

    def make(kind: AlertKind = AlertKind.PROMPT_DRIFT, **changes: object) -> Occurrence:
        taken = changes.pop("taken", Taken.ALERTED)
        fields = {
            "kind": kind,
            "action": Action.ALERT,
            "severity": Severity.CRITICAL if kind is AlertKind.PROMPT_DRIFT else Severity.MEDIUM,
            "title": "title",
            "message": "message",
            "episode": (str(clock()),),
            "subject": Subject(service="openai"),
            **changes,
        }
        return Occurrence(finding=Finding(**fields), taken=taken, at=clock())

    return make


@pytest.fixture
def raw_exchange(gateway: Gateway) -> Callable[[bytes], "asyncio.Future[bytes]"]:
    """Return a function that sends bytes as they are and returns all that comes back."""

    async def exchange(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        try:
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(60):
                return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    return exchange
