"""One mail by SMTP: what it looks like, and one attempt to hand it over."""

import asyncio
import re
import socket
import ssl
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiosmtplib

from alerting.notify.channel import Result
from alerting.notify.mail_settings import EmailSettings

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST_SUBJECT = 200
_LONGEST_ERROR = 300
_FINAL = 500
"""From this status on a server says that it will never take the mail."""


class Mailer:
    """Hands mail to the server of the settings, one connection a mail."""

    def __init__(self, settings: EmailSettings, *, timeout: timedelta) -> None:
        self.settings = settings
        self._timeout = timeout.total_seconds()

    def message(self, *, event_id: str, to: str, subject: str, text: str, at: datetime) -> EmailMessage:
        """Return a mail. Its id is the same over all attempts for an event and a recipient, so that a repeated one can be told."""
        sender = self.settings.sender
        made = EmailMessage(policy=SMTP)
        made["From"] = sender
        made["To"] = to
        made["Subject"] = _CONTROLS.sub(" ", subject).strip()[:_LONGEST_SUBJECT]
        made["Date"] = format_datetime(at)
        made["Message-ID"] = f"<{event_id}.{_CONTROLS.sub('', to).replace('@', '.')}@{sender.rpartition('@')[2]}>"
        made["Auto-Submitted"] = "auto-generated"
        made["X-Auto-Response-Suppress"] = "All"
        made.set_content(text)
        return made

    async def send(self, message: EmailMessage, *, to: str) -> Result:
        """Make one attempt; whatever goes wrong is a result."""
        settings = self.settings
        try:
            await aiosmtplib.send(
                message,
                sender=settings.sender,
                recipients=[to],
                hostname=settings.host,
                port=settings.effective_port,
                username=settings.username,
                password=None if settings.password is None else settings.password.get_secret_value(),
                use_tls=settings.security == "tls",
                start_tls=settings.security == "starttls",
                tls_context=await asyncio.to_thread(self._context),
                local_hostname=socket.gethostname(),
                timeout=self._timeout,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            return Result(
                error=self._told(f"{to} was refused: {refused.code} {refused.message}"), status=refused.code, final=_is_final(refused)
            )
        except aiosmtplib.SMTPAuthenticationError as error:
            return Result(error=self._told(f"the server took no username and password: {error.code} {error.message}"), status=error.code)
        except aiosmtplib.SMTPResponseException as error:
            return Result(error=self._told(f"the server answered {error.code} {error.message}"), status=error.code, final=_is_final(error))
        except ssl.SSLError as error:
            return Result(error=self._told(f"no encrypted connection: {error.reason or error}"))
        except (aiosmtplib.SMTPException, OSError) as error:
            return Result(error=self._told(str(error) or type(error).__name__))
        return Result(status=250)

    def _context(self) -> ssl.SSLContext | None:
        if self.settings.security == "none":
            return None
        ca_file = self.settings.ca_file
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))

    def _told(self, why: str) -> str:
        """Return one sentence for people, without the password, whatever the server repeats."""
        text = _CONTROLS.sub(" ", why)
        if self.settings.password is not None:
            text = text.replace(self.settings.password.get_secret_value(), "***")
        return f"mail by {self.settings.host}:{self.settings.effective_port}: {text[:_LONGEST_ERROR]}"


def _is_final(error: aiosmtplib.SMTPResponseException) -> bool:
    return error.code >= _FINAL
