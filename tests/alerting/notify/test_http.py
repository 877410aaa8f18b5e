"""What is posted goes where it may and nowhere else, and what goes wrong is told in a sentence."""

import socket
import ssl
from datetime import timedelta
from typing import Any

import trustme

from alerting.notify.addresses import AddressGuard
from alerting.notify.http import Poster
from alerting.notify.settings import NotifySettings
from tests.support.receiver import receiving


async def test_a_receiver_that_hangs_is_given_up(hooks: Any) -> None:
    hook = await hooks.add()
    hooks.receiver.hangs = True
    poster = Poster(AddressGuard(NotifySettings(allowed_networks=("127.0.0.0/8",)).allowed_networks), timeout=timedelta(seconds=0.05))

    result = await poster.post(hook.url, b"{}", {})

    assert result.error == "no answer within 0.05 seconds"
    await poster.aclose()


async def test_a_name_that_leads_to_a_forbidden_address_is_not_connected_to(receiver: Any) -> None:
    poster = Poster(AddressGuard(), timeout=timedelta(seconds=5))
    url = receiver.url.replace("127.0.0.1", "localhost")

    result = await poster.post(url, b"{}", {})

    assert "is this machine" in str(result.error)
    assert receiver.got == []
    assert "is this machine" in str((await poster.post(receiver.url, b"{}", {})).error)
    await poster.aclose()


async def test_what_fails_on_the_way_is_told_in_a_sentence(receiver: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = taken.getsockname()[1]
    poster = Poster(NotifySettings(allowed_networks=("127.0.0.0/8",)).guard(), timeout=timedelta(seconds=5))

    nobody = await poster.post(f"http://127.0.0.1:{closed}/", b"{}", {})
    plain = await poster.post(receiver.url.replace("http:", "https:"), b"{}", {})

    assert nobody.error == "no connection: Connection refused"
    assert str(plain.error).startswith("no TLS with the receiver")
    await poster.aclose()


async def test_a_certificate_is_checked() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    guard = NotifySettings(allowed_networks=("127.0.0.0/8",)).guard()
    good, bad = Poster(guard, timeout=timedelta(seconds=5), tls=trusting), Poster(guard, timeout=timedelta(seconds=5))
    async with receiving(server) as receiver:
        assert (await good.post(receiver.url, b"{}", {})).error is None
        assert "certificate is not good" in str((await bad.post(receiver.url, b"{}", {})).error)
        assert len(receiver.got) == 1
    await good.aclose()
    await bad.aclose()
