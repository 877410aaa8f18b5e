"""Client certificates: asked for at both doors, checked by us, refused once they are revoked, over or missing."""

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import trustme

from alerting.book import AlertBook
from alerting.finding import AlertKind
from alerting.lockout import Lockouts
from alerting.people import People
from alerting.rule_settings import RuleSettings
from alerting.settings import AlertingSettings
from proxy.client_authority import ClientAuthority, Field, Handed
from proxy.client_certificates import ClientRegister
from proxy.peers import ClientCertificates, Peers
from proxy.settings import IdentitySource
from storage.sqlite import SqliteDatabase

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]}
KEY = {"authorization": "Bearer sk-test"}
PROGRAM = Path(sys.executable).resolve().name
PATH = "/v1/chat/completions"
BY_CERTIFICATE = (IdentitySource(client_certificate=True), IdentitySource(header="x-user"))


@dataclass
class Clock:
    """The time, moved by the test."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(kw_only=True)
class Office:
    """A proxy that asks for certificates, and what issues and revokes them."""

    house: Any
    authority: ClientAuthority
    register: ClientRegister
    book: AlertBook
    clock: Clock
    folder: Path
    issued: list[Handed] = field(default_factory=list[Handed])

    async def issue(self, name: str = "ada", *, of: Field = "user", days: int = 90) -> ssl.SSLContext:
        handed = self.authority.issue(name, field=of, days=days, now=self.clock())
        await self.register.record(handed.issued, actor="test")
        self.issued.append(handed)
        return self.with_certificate(handed.pem)

    def with_certificate(self, pem: bytes | None) -> ssl.SSLContext:
        trust: ssl.SSLContext = self.house.authority.client_context()
        if pem is not None:
            path = self.folder / f"client-{len(list(self.folder.iterdir()))}.pem"
            path.write_bytes(pem)
            trust.load_cert_chain(path)
        return trust

    async def ask(self, trust: ssl.SSLContext, *, door: str, **headers: str) -> httpx.Response:
        async with self.client(trust, door=door) as client:
            return await client.post(PATH, json=CHAT, headers=KEY | headers)

    def client(self, trust: ssl.SSLContext, *, door: str) -> httpx.AsyncClient:
        """Return a client of one door; `proxy_tls` shows the certificate to the proxy, `forward` within the tunnel."""
        if door == "base_url":
            return httpx.AsyncClient(base_url=f"https://{self.house.base_url}/openai", verify=trust, trust_env=False)
        inner = self.with_certificate(None) if door == "proxy_tls" else trust
        address = self.house.forward
        proxy = (
            httpx.Proxy(f"https://{address.replace('127.0.0.1', 'localhost')}", ssl_context=trust)
            if door == "proxy_tls"
            else f"http://{address}"
        )
        return httpx.AsyncClient(base_url="https://api.openai.com", verify=inner, proxy=proxy, trust_env=False)


type OpenOffice = Callable[..., Awaitable[Office]]


@pytest.fixture
async def open_office(open_house: Any, tmp_path: Path) -> AsyncIterator[OpenOffice]:
    database = await SqliteDatabase.open(tmp_path / "office.db")
    clock = Clock()
    book = AlertBook(database, org_id="org", settings=AlertingSettings(), now=clock)
    register = ClientRegister(database, now=clock)
    authority = ClientAuthority.open_or_create(tmp_path / "client-ca")

    async def build(*, required: bool = False, mode: str = "enforce", identity: Any = BY_CERTIFICATE, **more: Any) -> Office:
        certificates = ClientCertificates(authority, register, required=required, now=clock)
        house = await open_house(mode=mode, certificates=certificates, identity=identity, **more)
        house.gate._people = People(Lockouts(database, book, now=clock), revoked=register.revoked)  # noqa: SLF001  # the house is built without
        folder = tmp_path / "clients"
        folder.mkdir(exist_ok=True)
        return Office(house=house, authority=authority, register=register, book=house.gate._book, clock=clock, folder=folder)  # noqa: SLF001  # the same

    yield build
    await book.drain()
    await database.close()


DOORS = ("base_url", "forward", "proxy_tls")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("of", ["user", "service"])
async def test_a_good_certificate_names_its_user_or_service(open_office: OpenOffice, door: str, of: Field) -> None:
    office = await open_office(required=True)
    trust = await office.issue("ada", of=of)

    response = await office.ask(trust, door=door, **{"x-user": "mallory"})

    row = await office.house.row(ending="completed")
    assert response.status_code == 200
    assert (row.user, row.service) == (("ada", "openai") if of == "user" else ("mallory", "ada"))


@pytest.mark.parametrize("door", DOORS)
async def test_without_a_certificate_a_required_one_is_missed_and_an_optional_one_is_not(open_office: OpenOffice, door: str) -> None:
    for required, status in ((True, 403), (False, 200)):
        office = await open_office(required=required)

        response = await office.ask(office.with_certificate(None), door=door)

        assert response.status_code == status
        if required:
            error = response.json()["error"]
            assert error["code"] == "tollwatch_certificate"
            assert "tollwatch ca client issue" in error["message"]
            assert office.house.provider.seen == []
            assert [row.state for row in await office.house.rows()] == ["refused"]


async def test_a_plain_connection_cannot_show_a_required_certificate(open_office: OpenOffice) -> None:
    office = await open_office(required=True)

    async with httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"http://{office.house.base_url}/openai{PATH}", json=CHAT, headers=KEY)

    assert (response.status_code, office.house.provider.seen) == (403, [])
    assert "connect by https" in response.json()["error"]["message"]
    await office.house.proxy.canary()


@pytest.mark.parametrize("door", DOORS)
async def test_a_revoked_certificate_is_refused_at_once_on_the_open_connection_too(open_office: OpenOffice, door: str) -> None:
    office = await open_office()
    trust = await office.issue()
    async with office.client(trust, door=door) as client:
        assert (await client.post(PATH, json=CHAT, headers=KEY)).status_code == 200

        await office.register.revoke("ada", actor="test")

        again = await client.post(PATH, json=CHAT, headers=KEY)
    anew = await office.ask(trust, door=door)

    serial = office.issued[0].issued.serial
    for response in (again, anew):
        assert (response.status_code, response.json()["error"]["code"]) == (403, "tollwatch_certificate")
        assert serial in response.json()["error"]["message"]
    assert len(office.house.provider.seen) == 1
    (alert,) = await office.book.list(kinds=[AlertKind.CLIENT_CERT_REVOKED])
    assert (alert.severity, alert.occurrence_count, alert.action, alert.subject.user) == ("critical", 2, "blocked", "ada")
    assert serial in alert.message


async def test_in_monitor_mode_calls_pass_and_alerts_tell(open_office: OpenOffice) -> None:
    office = await open_office(mode="monitor", required=True)
    trust = await office.issue()
    await office.register.revoke("ada", actor="test")

    statuses = [(await office.ask(each, door="base_url")).status_code for each in (trust, office.with_certificate(None))]

    await office.book.drain()
    alerts = await office.book.list()
    assert statuses == [200, 200]
    assert {(alert.kind, alert.action) for alert in alerts} == {("client_cert_revoked", "observed"), ("policy_violation", "observed")}


async def test_in_monitor_mode_a_call_without_a_certificate_is_judged_by_everything_else_too(open_office: OpenOffice) -> None:
    rule = RuleSettings.model_validate({"id": "R", "title": "None of these", "match": {"model": "gpt-4o-mini"}, "action": "block"})
    office = await open_office(mode="monitor", required=True, rules=[rule])

    await office.ask(office.with_certificate(None), door="base_url")

    await office.book.drain()
    assert {alert.subject.rule_id for alert in await office.book.list()} == {"tollwatch:certificate", "R"}


@pytest.mark.parametrize("required", [True, False])
async def test_a_certificate_that_is_over_is_refused(open_office: OpenOffice, required: bool) -> None:  # noqa: FBT001  # a table
    office = await open_office(required=required)
    trust = await office.issue(days=1)
    async with office.client(trust, door="base_url") as client:
        assert (await client.post(PATH, json=CHAT, headers=KEY)).status_code == 200
        office.clock.ahead = timedelta(days=1, seconds=1)

        response = await client.post(PATH, json=CHAT, headers=KEY)

    assert response.status_code == 403
    assert "ended at" in response.json()["error"]["message"]


async def test_a_certificate_of_another_authority_names_nobody_and_is_none_where_one_is_required(
    open_office: OpenOffice, tmp_path: Path
) -> None:
    """The other one has the same names: only its key differs."""
    other = ClientAuthority.open_or_create(tmp_path / "other-ca")
    theirs = (other.issue("ada", field="user", days=9, now=datetime.now(UTC)).pem, trustme.CA().issue_cert("ada@example.com"))
    leaf = theirs[1]
    pems = (theirs[0], leaf.private_key_and_cert_chain_pem.bytes())

    for required, status in ((True, 403), (False, 200)):
        office = await open_office(required=required)
        for pem in pems:
            response = await office.ask(office.with_certificate(pem), door="base_url")

            assert response.status_code == status
            if required:
                assert "another authority" in response.json()["error"]["message"]
        assert {row.user for row in await office.house.rows()} == {None}


async def test_a_foreign_certificate_within_the_tunnel_does_not_hide_a_good_one_shown_to_the_proxy(open_office: OpenOffice) -> None:
    office = await open_office(required=True)
    foreign = trustme.CA().issue_cert("ada@example.com").private_key_and_cert_chain_pem.bytes()
    proxy = httpx.Proxy(f"https://{office.house.forward.replace('127.0.0.1', 'localhost')}", ssl_context=await office.issue())
    client = httpx.AsyncClient(verify=office.with_certificate(foreign), proxy=proxy, trust_env=False)

    async with client:
        response = await client.post(f"https://api.openai.com{PATH}", json=CHAT, headers=KEY)

    assert response.status_code == 200
    assert (await office.house.row(ending="completed")).user == "ada"


async def test_a_certificate_that_is_not_in_the_list_is_refused_whoever_signed_it(open_office: OpenOffice) -> None:
    office = await open_office()
    unlisted = office.authority.issue("ada", field="user", days=9, now=datetime.now(UTC))

    response = await office.ask(office.with_certificate(unlisted.pem), door="base_url")

    assert response.status_code == 403
    assert "list of issued certificates" in response.json()["error"]["message"]


def over_one_connection(trust: ssl.SSLContext, address: tuple[str, int], session: ssl.SSLSession | None) -> tuple[bytes, Any, bool]:
    """Make a call on a connection of its own; return its status, the session, and whether that was resumed."""
    body = orjson.dumps(CHAT)
    head = f"POST /openai{PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(address, 60) as plain, trust.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as tls:
        tls.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: tls.recv(65536), b""))
        return answer.split(b" ")[1], tls.session, bool(tls.session_reused)


async def test_a_resumed_session_is_still_the_certificates(open_office: OpenOffice) -> None:
    office = await open_office(required=True)
    trust = await office.issue()
    address = office.house.proxy.base_url_address

    first, session, _ = await asyncio.to_thread(over_one_connection, trust, address, None)
    again, session, resumed = await asyncio.to_thread(over_one_connection, trust, address, session)
    await office.register.revoke("ada", actor="test")
    after, _, still_resumed = await asyncio.to_thread(over_one_connection, trust, address, session)

    assert (first, again, after) == (b"200", b"200", b"403")
    assert (resumed, still_resumed) == (True, True)
    assert [row.user for row in await office.house.rows()] == ["ada"] * 3


async def test_a_certificate_and_the_program_behind_the_connection_are_both_known(open_office: OpenOffice) -> None:
    office = await open_office(identity=(IdentitySource(client_certificate=True), IdentitySource(process=True)))

    await office.ask(await office.issue(), door="base_url")

    row = await office.house.row(ending="completed")
    assert (row.user, row.agent) == ("ada", PROGRAM)


async def test_the_authority_itself_is_no_client(open_office: OpenOffice) -> None:
    office = await open_office()
    certificates = ClientCertificates(office.authority, office.register, required=False, now=office.clock)

    assert certificates.check(office.authority.certificate).trouble == "it is not a client's"


async def test_a_handshake_that_went_unseen_lets_nothing_pass(open_office: OpenOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    def unseen(_peers: Peers, _client: object) -> None:
        return None

    monkeypatch.setattr(Peers, "established", unseen)
    office = await open_office()

    response = await office.ask(await office.issue(), door="base_url")

    assert (response.status_code, office.house.provider.seen) == (503, [])
