"""A book with an outbox over a real store, and a channel that remembers what it was given."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from alerting.book import AlertBook
from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from alerting.notify.addresses import AddressGuard
from alerting.notify.channel import AlertEvent, Delivery, Message, Result
from alerting.notify.deliveries import Deliveries
from alerting.notify.http import Poster
from alerting.notify.outbox import Outbox
from alerting.notify.sealing import Seal
from alerting.notify.sender import Sender
from alerting.notify.settings import WebhookSettings
from alerting.notify.webhook_channel import WebhookChannel
from alerting.notify.webhooks import CHANNEL, Webhook, Webhooks
from alerting.settings import AlertingSettings
from storage.database import Row
from storage.sqlite import SqliteDatabase
from tests.support.receiver import Receiver, receiving

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ORG = "a1b2c3d4-0000-0000-0000-000000000000"


@dataclass
class Clock:
    """Tells the time that the test gives it."""

    time: datetime = NOON

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, **span: float) -> None:
        self.time += timedelta(**span)


@dataclass
class Recorder:
    """A channel that keeps what it was asked to send, and answers as it is told."""

    name: str = "recorder"
    targets: tuple[str, ...] = ("ops",)
    answers: list[Result] = field(default_factory=list)
    sent: list[Delivery] = field(default_factory=list)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    @property
    def listens(self) -> bool:
        return bool(self.targets)

    def compose(self, event: AlertEvent) -> Iterator[Message]:
        for target in self.targets:
            yield Message(target=target, body=f"{event.type} {event.alert.title} {event.alert.status}")

    async def send(self, delivery: Delivery) -> Result:
        self.sent.append(delivery)
        self.arrived.release()
        return self.answers.pop(0) if self.answers else Result(status=200)

    async def gets(self, number: int) -> list[Delivery]:
        """Wait for so many attempts."""
        async with asyncio.timeout(10):
            for _ in range(number):
                await self.arrived.acquire()
        return self.sent


@dataclass
class House:
    """The parts of the outbox over one store."""

    database: SqliteDatabase
    clock: Clock
    outbox: Outbox
    book: AlertBook

    async def rows(self) -> list[Row]:
        return await self.database.read("SELECT event, target, body, state, attempts, last_status, last_error FROM deliveries ORDER BY seq")

    def sender(self, **more: Any) -> Sender:
        return Sender(self.database, self.outbox, now=self.clock, **more)

    async def turned(self, sender: Sender) -> None:
        """Wait until a sender that runs has nothing more to note of what is due."""
        async with asyncio.timeout(10):
            while sender._busy:  # noqa: SLF001, ASYNC110 - the only sign that its last note is written
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(sender: Sender) -> AsyncIterator[Sender]:
    """Run a sender beside the test."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sender.run())
        yield sender
        task.cancel()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = await SqliteDatabase.open(tmp_path / "tollwatch.db")
    clock, outbox = Clock(), Outbox()
    book = AlertBook(database, org_id=ORG, settings=AlertingSettings(), now=clock, outbox=outbox)
    yield House(database=database, clock=clock, outbox=outbox, book=book)
    await database.close()


@pytest.fixture
def occur(house: House) -> Callable[..., Occurrence]:
    """Return a maker of findings that were acted on."""

    def make(*, kind: AlertKind = AlertKind.POLICY_VIOLATION, taken: Taken = Taken.BLOCKED, **changes: Any) -> Occurrence:
        finding = Finding(
            kind=kind,
            action=Action.BLOCK,
            severity=Severity.HIGH,
            title="GPT-4 usage by non-engineering user",
            message="User jane.smith@acme.com used gpt-4",
            episode=("SEC-003", "jane.smith@acme.com", "gpt-4"),
            subject=Subject(user="jane.smith@acme.com", rule_id="SEC-003", model="gpt-4", service="openai"),
        )
        return Occurrence(finding=replace(finding, **changes), taken=taken, at=house.clock())

    return make


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(name="running")
def running_fixture() -> Callable[[Sender], Any]:
    return running


@dataclass
class Hooks:
    """The webhooks over the house's store, with their channel in its outbox, and a receiver on loopback."""

    house: House
    webhooks: Webhooks
    channel: WebhookChannel
    deliveries: Deliveries
    receiver: Receiver

    async def add(self, *, events: tuple[str, ...] = ("alert.*",), **more: Any) -> Webhook:
        return await self.webhooks.add(url=self.receiver.url, events=events, description="d", actor="jane", **more)

    def again(self, *, file: tuple[WebhookSettings, ...] = (), key: bytes = b"k" * 32) -> Webhooks:
        """Return the book as the next start makes it."""
        guard = AddressGuard([ip_network("127.0.0.0/8")])
        return Webhooks(self.house.database, file=file, guard=guard, seal=Seal(key), org_id=ORG, now=self.house.clock)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
async def hooks(house: House, receiver: Receiver) -> AsyncIterator[Hooks]:
    guard = AddressGuard([ip_network("127.0.0.0/8")])
    webhooks = Webhooks(house.database, file=(), guard=guard, seal=Seal(b"k" * 32), org_id=ORG, now=house.clock)
    poster = Poster(guard, timeout=timedelta(seconds=5))
    channel = WebhookChannel(webhooks, poster, org_id=ORG, opted_in=False, now=house.clock)
    house.outbox.add(channel)
    deliveries = Deliveries(house.database, channel=CHANNEL, now=house.clock)
    yield Hooks(house=house, webhooks=webhooks, channel=channel, deliveries=deliveries, receiver=receiver)
    await poster.aclose()
