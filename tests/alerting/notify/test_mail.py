"""Mail reaches a real server, encrypted where it is asked for, and what the server says decides whether it is tried again."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from alerting.finding import AlertKind, Severity, Subject
from alerting.notify.channel import Delivery
from alerting.notify.mail import Mailer
from alerting.notify.mail_channel import MailChannel
from alerting.notify.mail_settings import EmailSettings
from tests.support.mailserver import MailServer, mail_server

PASSWORD = "open sesame"
USAGE = {
    "kind": AlertKind.USAGE_COST,
    "title": "Usage alert: Daily Cost",
    "message": "$52.35 spent, more than $50",
    "subject": Subject(usage_alert_id="alert_r3vq5xk2mwna"),
}


def settings(server: MailServer, **changes: Any) -> EmailSettings:
    given = {"host": "127.0.0.1", "port": server.port, "security": "none", "from": "tollwatch@example.com", "to": ["ada@example.com"]}
    return EmailSettings.model_validate({**given, **changes})


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as one:
        yield one


@pytest.fixture
def channel_of(house: Any) -> Callable[..., MailChannel]:
    def make(given: EmailSettings | None, channels: tuple[str, ...] = ("email",), *, seconds: float = 5) -> MailChannel:
        mailer = None if given is None else Mailer(given, timeout=timedelta(seconds=seconds))
        made = MailChannel(mailer, channels_of=lambda key: channels if key == USAGE["subject"].usage_alert_id else (), now=house.clock)  # type: ignore[attr-defined]  # a Subject
        house.outbox.add(made)
        return made

    return make


async def test_a_usage_alert_that_fires_is_told_to_everybody_each_once(
    house: Any, occur: Any, running: Any, server: MailServer, channel_of: Any
) -> None:
    channel_of(settings(server, to=["ada@example.com", "bob@example.com"]))
    async with running(house.sender()) as sender:
        (alert,) = await house.book.record([occur(**USAGE)])
        await server.is_asked(2)
        await house.turned(sender)
        await house.book.resolve(alert.seq, actor="ada", feed="org")

    assert sorted(server.recipients) == ["ada@example.com", "bob@example.com"]
    mail = server.mails[0]
    assert mail["Subject"] == "[tollwatch] high: Usage alert: Daily Cost"
    assert (mail["From"], mail["Auto-Submitted"]) == ("tollwatch@example.com", "auto-generated")
    assert "$52.35 spent, more than $50" in mail.get_content()
    assert f"tollwatch alerts ack alert_{alert.seq}" in mail.get_content()
    assert len({one["Message-ID"] for one in server.mails}) == 2
    assert [row[3:] for row in await house.rows()] == [("delivered", 1, 250, None)] * 2


@pytest.mark.parametrize(
    ("changes", "severity", "told"),
    [({}, Severity.CRITICAL, 0), ({"min_severity": "high"}, Severity.HIGH, 1), ({"min_severity": "high"}, Severity.MEDIUM, 0)],
)
async def test_other_alerts_are_told_from_a_severity_on(
    changes: Any, severity: Severity, told: int, house: Any, occur: Any, channel_of: Any
) -> None:
    channel_of(settings(MailServer(port=25), **changes))

    await house.book.record([occur(severity=severity)])

    assert len(await house.rows()) == told


async def test_a_usage_alert_that_does_not_name_mail_is_not_told(house: Any, occur: Any, server: MailServer, channel_of: Any) -> None:
    channel_of(settings(server), ("dashboard",))

    await house.book.record([occur(**USAGE)])

    assert await house.rows() == []


async def test_without_a_server_nothing_is_written(house: Any, occur: Any, channel_of: Any) -> None:
    channel = channel_of(None)

    await house.book.record([occur(**USAGE)])
    left = await channel.send(
        Delivery(event_id="e", event="alert.created", target="ada@example.com", body="{}", attempt=1, created_at=house.clock())
    )

    assert await house.rows() == []
    assert (channel.listens, channel.recipients, left.final) == (False, (), True)
    assert "notify.email is not set" in left.error


async def test_a_server_that_asks_to_come_back_gets_the_same_mail_again(
    house: Any, occur: Any, running: Any, server: MailServer, channel_of: Any
) -> None:
    channel_of(settings(server))
    server.refusals["data"] = "451 greylisted, try again later"
    async with running(house.sender()) as sender:
        await house.book.record([occur(**USAGE)])
        await server.is_asked()
        await house.turned(sender)
        first = (await house.rows())[0]
        server.refusals.clear()
        house.clock.pass_by(minutes=10)
        sender.wake()
        await server.is_asked()
        await house.turned(sender)

    assert first[3:] == ("pending", 1, 451, f"mail by 127.0.0.1:{server.port}: the server answered 451 greylisted, try again later")
    assert (await house.rows())[0][3:] == ("delivered", 2, 250, None)
    assert len(server.mails) == 1


@pytest.mark.parametrize("step", ["ada@example.com", "data"])
async def test_what_a_server_refuses_for_good_is_a_dead_letter_at_once(
    step: str, house: Any, occur: Any, running: Any, server: MailServer, channel_of: Any
) -> None:
    channel_of(settings(server))
    server.refusals[step] = "554 never"
    async with running(house.sender()) as sender:
        await house.book.record([occur(**USAGE)])
        await server.is_asked()
        await house.turned(sender)

    row = (await house.rows())[0]
    assert row[3:6] == ("dead", 1, 554)
    assert "554 never" in row[6]


async def test_the_names_of_alerts_make_no_headers(house: Any, occur: Any, server: MailServer, channel_of: Any) -> None:
    channel = channel_of(settings(server))
    event_rows = occur(**{**USAGE, "title": "x\r\nBcc: eve@example.com\u2028Subject: y"})
    await house.book.record([event_rows])
    (row,) = await house.rows()

    await channel.send(Delivery(event_id="evt_1", event=row[0], target="ada@example.com", body=row[2], attempt=1, created_at=house.clock()))

    assert server.recipients == ["ada@example.com"]
    assert server.mails[0]["Bcc"] is None
    assert server.mails[0]["Subject"] == "[tollwatch] high: x Bcc: eve@example.com Subject: y"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_is_encrypted_and_the_login_with_it(security: str, channel_of: Any, authority: trustme.CA, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    async with mail_server(account=("alerts", PASSWORD), **{security: server_side(authority)}) as server:
        given = settings(server, security=security, ca_file=ca_file, username="alerts", password=PASSWORD)

        result = await channel_of(given).test("a channel")

    assert result.error is None
    assert server.encrypted == [True]
    assert server.logins == [("alerts", PASSWORD)]
    assert "mail works" in server.mails[0].get_content()


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_server_of_an_unknown_authority_gets_nothing(security: str, channel_of: Any, authority: trustme.CA) -> None:
    async with mail_server(account=("alerts", PASSWORD), **{security: server_side(authority)}) as server:
        result = await channel_of(settings(server, security=security, username="alerts", password=PASSWORD)).test("a channel")

    assert "no encrypted connection" in result.error or "certificate" in result.error
    assert not result.final
    assert (server.mails, server.logins) == ([], [])


async def test_a_server_without_encryption_gets_nothing_where_it_is_asked_for(server: MailServer, channel_of: Any) -> None:
    result = await channel_of(settings(server, security="starttls")).test("a channel")

    assert "STARTTLS" in result.error
    assert server.mails == []


async def test_a_wrong_password_is_told_without_it(channel_of: Any) -> None:
    async with mail_server(account=("alerts", "another")) as server:
        result = await channel_of(settings(server, username="alerts", password=PASSWORD)).test("a channel")

    assert "took no username and password" in result.error
    assert PASSWORD not in result.error
    assert not result.final


async def test_a_server_that_is_not_there_or_does_not_answer_is_told(house: Any) -> None:
    async with mail_server() as gone:
        pass
    silent = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    held: list[asyncio.StreamWriter] = []
    port = silent.sockets[0].getsockname()[1]
    results = [
        await Mailer(given, timeout=timedelta(seconds=0.2)).send(_mail(given, house.clock()), to="ada@example.com")
        for given in (settings(gone), settings(gone, port=port))
    ]
    for writer in held:
        writer.close()
    silent.close()

    assert [result.final for result in results] == [False, False]
    assert str(gone.port) in results[0].error
    assert "imed out" in results[1].error


def _mail(given: EmailSettings, at: Any) -> Any:
    return Mailer(given, timeout=timedelta(seconds=1)).message(event_id="evt_1", to="ada@example.com", subject="s", text="t", at=at)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"username": "alerts"}, "username and password go together"),
        ({"host": "mail.example.com", "username": "a", "password": "b"}, "in clear text"),
        ({"host": "8.8.8.8", "username": "a", "password": "b"}, "in clear text"),
        ({"ca_file": "/etc/ca.pem"}, "ca_file says nothing where security is none"),
        ({"to": []}, "at least 1"),
        ({"to": ["ada@example.com", "ada@example.com"]}, "stands twice"),
        ({"to": ["Ada <ada@example.com>"]}, "is no address"),
        ({"to": ["ada@example.com\nBcc: eve@example.com"]}, "is no address"),
        ({"from": "ada"}, "is no address"),
        ({"security": "ssl"}, "'starttls', 'tls' or 'none'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        settings(MailServer(port=25), **changes)


def test_a_port_follows_from_the_encryption_and_a_password_may_go_to_this_machine() -> None:
    ports = [settings(MailServer(), port=None, security=one).effective_port for one in ("starttls", "tls", "none")]

    assert ports == [587, 465, 25]
    assert settings(MailServer(port=25), host="localhost", username="a", password="b").password is not None
    assert "open" not in repr(settings(MailServer(port=25), username="a", password=PASSWORD))
