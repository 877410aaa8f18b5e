"""A real mail server on loopback, in the test's own loop: what it takes is kept, and it refuses what a test says."""

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope


@dataclass
class MailServer:
    """What was handed over, and what is refused."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    recipients: list[str] = field(default_factory=list[str])
    logins: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    refusals: dict[str, str] = field(default_factory=dict[str, str])
    """By recipient, or `data`: the answer."""
    account: tuple[str, str] | None = None
    encrypted: list[bool] = field(default_factory=list[bool])
    asked: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def is_asked(self, times: int = 1) -> None:
        """Wait until somebody came with so many mails, taken or not."""
        async with asyncio.timeout(10):
            for _ in range(times):
                await self.asked.acquire()

    async def handle_RCPT(self, _server: Any, session: Any, envelope: Envelope, address: str, _options: Any) -> str:  # noqa: N802 - its name
        if self.account and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if address in self.refusals:
            self.asked.release()
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - the same
        self.asked.release()
        if "data" in self.refusals:
            return self.refusals["data"]
        content = cast("bytes", envelope.content)
        self.mails.append(email.message_from_bytes(content, policy=email.policy.default))
        self.recipients += envelope.rcpt_tos
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 taken"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        login = (given.login.decode(), given.password.decode())
        self.logins.append(login)
        return AuthResult(success=login == self.account, handled=False)


@asynccontextmanager
async def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, account: tuple[str, str] | None = None
) -> AsyncIterator[MailServer]:
    """Serve mail until the block ends."""
    kept = MailServer(account=account)

    def serve() -> SMTP:
        return SMTP(
            kept,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=kept.authenticate if account else None,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0, ssl=tls)
    kept.port = server.sockets[0].getsockname()[1]
    try:
        yield kept
    finally:
        server.close()
