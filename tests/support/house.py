"""A running API over a store that can be left and opened again, for tests that do so many times."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST

from alerting.book import AlertBook
from alerting.changes import AlertChanges
from alerting.entries import EntryBook
from alerting.settings import AlertingSettings
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from alerting.usage_alerts import UsageAlerts
from api.access import Access
from api.app import create_app
from api.listener import ApiServer
from api.scopes import Scope
from api.services import Services
from api.settings import SessionSettings
from api.streams import Pace, Streams
from metering.ledger import Ledger
from storage.audit import AuditTrail
from storage.sqlite import SqliteDatabase

type Clock = Callable[[], datetime]
NAME = "people"
ORG_ID = "7b1f0e0a-5d8e-4b5e-9a51-0a1c6f5f0d11"


class NoCode:
    """There is no setup code."""

    def read(self) -> str | None:
        return None

    def consume(self) -> None: ...


@dataclass
class House:
    """The parts that keep or show alerts, all over one store; `template` gives the others."""

    database: SqliteDatabase
    services: Services
    server: ApiServer
    client: aiohttp.ClientSession
    name: str
    """Who asks."""

    @classmethod
    async def open(cls, folder: Path, *, template: Services, now: Clock, alerting: AlertingSettings | None = None) -> Self:
        settings = alerting or AlertingSettings()
        database = await SqliteDatabase.open(folder / "tollwatch.db")
        book = AlertBook(database, org_id=ORG_ID, settings=settings, now=now)
        cheap = PasswordHasher.from_parameters(CHEAPEST)
        access = Access(database, settings=SessionSettings(), setup_code=NoCode(), now=now, report=book.enqueue, hasher=cheap)
        silences = SilenceBook(database, defined=settings.silences, now=now)
        await silences.load()
        suppression = Suppression(database, silences, now=now)
        ledger = Ledger(database, instance="test", now=now, on_settled=lambda _settled: None)
        usage_alerts = UsageAlerts(database, where="the config", now=now)
        await usage_alerts.load()
        services = replace(
            template,
            access=access,
            alerts=book,
            audit=AuditTrail(database),
            silences=silences,
            suppression=suppression,
            entries=EntryBook(database, book, suppression=suppression, line="test", now=now),
            usage_alerts=usage_alerts,
            ledger=ledger,
            streams=Streams(AlertChanges(database), ledger, pace=Pace(look=0.005, heartbeat=60, recheck=60, patience=10)),
            now=now,
        )
        server = ApiServer(create_app(services))
        await server.start("127.0.0.1", 0, None)
        name = f"{NAME}-{len(await access.tokens.list())}"
        made = await access.tokens.create(name=name, scopes=tuple(Scope), actor="test")
        client = aiohttp.ClientSession(headers={"Authorization": f"Bearer {made.secret}"})
        return cls(database, services, server, client, name)

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        assert self.server.address is not None
        async with self.client.request(method, f"http://127.0.0.1:{self.server.address[1]}{path}", **more) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.read()

    async def stream(self, after: str, until: str) -> list[dict[str, Any]]:
        """Return what the stream tells of alerts after one event and up to another."""
        assert self.server.address is not None
        url = f"http://127.0.0.1:{self.server.address[1]}/api/stream?types=alerts"
        told: list[dict[str, Any]] = []
        event: dict[str, str] = {}
        async with asyncio.timeout(20), self.client.get(url, headers={"Last-Event-ID": after}) as answer:
            while event.get("id") != until:
                lines = (await answer.content.readuntil(b"\n\n")).decode().splitlines()
                event = dict(line.split(": ", 1) for line in lines if line)
                if event["event"] == "alert":
                    told.append(json.loads(event["data"]))
        return told

    async def close(self) -> None:
        await self.client.close()
        await self.server.stop()
        await self.services.alerts.drain()
        await self.services.ledger.drain()
        await self.database.close()
