"""Each shipped trick through the real gateway: nothing of what is forbidden may reach the provider."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import answers
from tests.support.provider import Provider
from tollwatch.tricks import FORBIDDEN, Trick, tricks

AT_ONCE = 8
ALL = tuple(tricks())
HOSTS = sorted({trick.connect for trick in ALL if trick.door == "forward"} | {"localhost"})


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    with Provider(tmp_path, hosts=HOSTS) as provider:
        yield provider


class Sender:
    """Sends bytes as they are: no client library would let these through."""

    def __init__(self, house: Any) -> None:
        self._house = house
        self._trust: ssl.SSLContext = house.authority.client_context()
        self._trust.check_hostname = False

    async def status(self, trick: Trick) -> int:
        """Return the status of the answer; 0 when the gateway closed the connection instead."""
        address = self._house.proxy.forward_address if trick.door == "forward" else self._house.proxy.base_url_address
        reader, writer = await asyncio.open_connection(*address)
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
                if trick.door == "forward":
                    writer.write(f"CONNECT {trick.connect}:443 HTTP/1.1\r\nHost: {trick.connect}:443\r\n\r\n".encode())
                    if (status := await _status(reader)) != 200:
                        return status
                    await writer.start_tls(self._trust, server_hostname=trick.sni)
                writer.write(request(trick, address=address))
                await writer.drain()
                return await _status(reader)
            return 0
        finally:
            writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> int:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    return int(head.split(b" ", 2)[1])


def request(trick: Trick, *, address: tuple[str, int]) -> bytes:
    """Return the bytes of a trick on an HTTP/1.1 connection."""
    authority = trick.authority if trick.door == "forward" else "{}:{}".format(*address)
    chunked = any(name == "transfer-encoding" for name, _ in trick.headers)
    framing = [] if chunked else [("content-length", str(len(trick.body)))]
    fields = [("host", authority), ("authorization", "Bearer sk-test"), *trick.headers, *framing]
    lines = [f"{trick.method} {trick.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(trick.body), trick.body) if chunked else trick.body
    return "\r\n".join((*lines, "", "")).encode() + body


async def send_all(house: Any, chosen: Sequence[Trick]) -> dict[str, int]:
    sender, slots = Sender(house), asyncio.Semaphore(AT_ONCE)

    async def one(trick: Trick) -> tuple[str, int]:
        async with slots:
            return trick.id, await sender.status(trick)

    return dict(await asyncio.gather(*map(one, chosen)))


def test_there_are_many_of_them_each_with_a_reason_of_its_own() -> None:
    assert len(ALL) >= 400
    assert len({trick.id for trick in ALL}) == len(ALL)
    assert len({(trick.kind, trick.reason) for trick in ALL}) >= 0.97 * len(ALL)
    assert len({(trick.method, trick.host, trick.path, trick.headers, trick.body, trick.sni, trick.authority) for trick in ALL}) == len(ALL)
    assert len({trick.kind for trick in ALL}) >= 20
    assert len({trick.host for trick in ALL}) >= 30


async def test_no_trick_reaches_the_provider(open_house: Any) -> None:
    house = await open_house(rules=FORBIDDEN, unknown_formats="refuse")

    statuses = await send_all(house, ALL)

    reached = [(seen.method, seen.headers.get("host"), seen.target, seen.body[:200]) for seen in house.provider.seen]
    assert reached == []
    assert house.provider.connections == 0
    odd = {name: status for name, status in statuses.items() if not 400 <= status < 500}
    closed = {trick.id for trick in ALL if trick.sni != trick.connect}  # a TLS handshake by another name may end without an answer
    assert odd.keys() <= closed, Counter(odd.values())


async def test_without_rules_the_plain_ones_do_reach_it(open_house: Any) -> None:
    house = await open_house()
    plain = [trick for trick in ALL if trick.kind == "plain"]
    house.provider.script = lambda _: answers.body({})

    statuses = await send_all(house, plain)

    assert set(statuses.values()) == {200}
    assert len(house.provider.seen) == len(plain)
