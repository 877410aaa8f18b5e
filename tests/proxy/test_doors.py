"""The two doors: who may come in, what is tunnelled untouched, and where nothing leads."""

import asyncio
import socket
import ssl
from typing import Any

import orjson
import pytest

from tests.support.client import Connection, ConnectRefusedError

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})


async def connect(house: Any, target: str, *more: str) -> tuple[int, bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*house.proxy.forward_address)
    lines = "".join(f"{line}\r\n" for line in more)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    status = int(head.split(b" ")[1])
    length = next((int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
    return status, await reader.readexactly(length), reader, writer


async def test_a_foreign_host_is_tunnelled_and_shows_its_own_certificate(open_house: Any, provider: Any) -> None:
    house = await open_house(proxy={"resolve": {"foreign.example": provider.address, "*": provider.address}})
    context = ssl.create_default_context(cafile=str(provider.ca_file))

    async with await Connection.through(house.forward, "https://foreign.example", trust=context) as connection:
        response = await connection.request("POST", "/v1/chat/completions", headers=[("host", "foreign.example")], pieces=[CHAT])

    assert response.status == 200
    assert "x-tollwatch-call" not in response.headers
    assert await house.rows() == []


async def test_bytes_that_are_no_tls_are_tunnelled_to_a_foreign_host(open_house: Any) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(100)).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    house = await open_house()
    status, _, reader, writer = await connect(house, f"127.0.0.1:{port}")
    writer.write(b"SSH-2.0-x\r\n")

    assert (status, await asyncio.wait_for(reader.read(100), 30)) == (200, b"SSH-2.0-X\r\n")
    writer.close()
    server.close()


async def test_bytes_that_are_no_http_never_reach_a_provider(house: Any) -> None:
    status, _, reader, writer = await connect(house, "api.openai.com:443")
    writer.write(b"\x00\x01\x02 raw bytes\r\n\r\n")

    answer = await asyncio.wait_for(reader.read(65536), 30)
    assert (status, answer[:12]) == (200, b"HTTP/1.1 400")
    assert house.provider.connections == 0
    writer.close()


MISMATCHES = [("api.openai.com", "foreign.example", "api.openai.com"), ("api.openai.com", "api.anthropic.com", "api.anthropic.com")]


@pytest.mark.parametrize(("connected", "sni", "host"), [*MISMATCHES, ("api.openai.com", "api.openai.com", "api.anthropic.com")])
async def test_names_that_disagree_are_refused(house: Any, connected: str, sni: str, host: str) -> None:
    trust = house.authority.client_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    _, _, reader, writer = await connect(house, f"{connected}:443")
    await writer.start_tls(trust, server_hostname=sni)
    writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(CHAT)}\r\n\r\n".encode() + CHAT)

    assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)).startswith(b"HTTP/1.1 400")
    assert house.provider.connections == 0
    writer.close()


async def test_a_provider_by_its_sni_behind_a_foreign_connect_is_refused(open_house: Any, provider: Any) -> None:
    house = await open_house(proxy={"resolve": {"foreign.example": provider.address}})
    trust = house.authority.client_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    _, _, reader, writer = await connect(house, "foreign.example:443")
    await writer.start_tls(trust, server_hostname="api.openai.com")
    writer.write(b"GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")

    assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)).startswith(b"HTTP/1.1 403")
    assert provider.connections == 0
    writer.close()


async def test_two_hosts_in_one_request_are_refused(house: Any) -> None:
    async with await house.through() as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nHost: api.openai.com\r\nContent-Length: 2\r\n\r\n{}"
        connection._writer.write(head)  # noqa: SLF001  # no client sends two
        status = await asyncio.wait_for(connection._reader.readuntil(b"\r\n"), 30)  # noqa: SLF001  # the same

    assert b" 400 " in status
    assert house.provider.connections == 0


FORBIDDEN = [
    "169.254.169.254:80",
    "169.254.1.1:443",
    "[fe80::1]:443",
    "[fd00:ec2::254]:80",
    "0.0.0.0:443",
    "[::]:443",
    "2852039166:80",
    "0xa9fea9fe:80",
    "0251.0376.0251.0376:80",
    "[::ffff:169.254.169.254]:80",
    "[64:ff9b::a9fe:a9fe]:80",
    "metadata.google.internal:80",
    "metadata.google.internal.:80",
    "224.0.0.1:80",
    "255.255.255.255:80",
]


@pytest.mark.parametrize("target", FORBIDDEN)
async def test_the_gateway_leads_to_no_metadata_service(house: Any, target: str) -> None:
    status, body, _, writer = await connect(house, target)
    writer.close()

    assert (status, orjson.loads(body)["error"]["code"]) == (403, "tollwatch_destination")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::1]", "0x7f000001", "a.localhost", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("port", ["forward", "base_url", "api"])
async def test_the_gateway_does_not_lead_to_itself(open_house: Any, host: str, port: str) -> None:
    house = await open_house(own_ports=lambda: {3100})
    ports = {"forward": house.proxy.forward_address[1], "base_url": house.proxy.base_url_address[1], "api": 3100}

    status, _, _, writer = await connect(house, f"{host}:{ports[port]}")
    writer.close()

    assert status == 403


async def test_a_name_that_leads_to_a_forbidden_address_is_refused(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lie(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lie)
    status, body, _, writer = await connect(house, "innocent.example:443")
    writer.close()

    assert status == 403
    assert "169.254.169.254" in orjson.loads(body)["error"]["message"]


async def test_unknown_hosts_are_refused_when_the_config_says_so(open_house: Any) -> None:
    house = await open_house(proxy={"unknown_hosts": "refuse"})

    with pytest.raises(ConnectRefusedError) as caught:
        await Connection.through(house.forward, "https://foreign.example", trust=house.trust)
    async with await Connection.through(house.forward, "http://foreign.example", trust=house.trust) as connection:
        plain = await connection.request("GET", "/", headers=[("host", "foreign.example")])

    assert (caught.value.args[0], plain.status) == (403, 403)


async def test_a_plain_request_to_a_foreign_host_passes_untouched_and_streamed(house: Any) -> None:
    url = f"http://{house.provider.address}"
    async with await Connection.through(house.forward, url, trust=house.trust) as connection:
        headers = [("host", house.provider.address), ("proxy-authorization", "Basic YWRhOg==")]
        response = await connection.request("POST", "/v1/chat/completions", headers=headers, pieces=[CHAT])

    assert response.status == 200
    assert "x-tollwatch-call" not in response.headers
    assert "proxy-authorization" not in house.provider.seen[0].headers
    assert await house.rows() == []


async def test_a_plain_request_to_the_gateway_itself_is_refused(house: Any) -> None:
    async with await Connection.to(house.forward) as connection:
        response = await connection.request("GET", "/", headers=[("host", house.forward)])

    assert response.status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "localhost:8081:1", "127.1", "", "[::2]:8081"]
)
async def test_the_base_url_door_answers_to_its_own_names_only(house: Any, host: str) -> None:
    async with await Connection.to(house.base_url) as connection:
        response = await connection.request("POST", "/openai/v1/chat/completions", headers=[("host", host)], pieces=[CHAT])

    assert (response.status, house.provider.connections) == (421, 0)


@pytest.mark.parametrize("host", ["localhost", "localhost:8081", "127.0.0.1:1", "[::1]:8081", "[::1]", "LOCALHOST"])
async def test_the_base_url_door_answers_to_loopback(house: Any, host: str) -> None:
    async with await Connection.to(house.base_url) as connection:
        response = await connection.request("POST", "/openai/v1/chat/completions", headers=[("host", host)], pieces=[CHAT])

    assert response.status == 200


FOREIGN_PAGES = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("more", FOREIGN_PAGES)
@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_no_web_page_calls_through_the_base_url_door(house: Any, more: dict[str, str], method: str) -> None:
    async with await Connection.to(house.base_url) as connection:
        response = await connection.request(method, "/ollama/api/chat", headers=[("host", "localhost"), *more.items()], pieces=[])

    assert (response.status, house.provider.connections) == (403, 0)


async def test_an_unknown_prefix_names_the_known_ones(house: Any) -> None:
    async with await Connection.to(house.base_url) as connection:
        response = await connection.request("POST", "/nobody/v1/chat/completions", headers=[("host", "localhost")], pieces=[CHAT])

    assert response.status == 404
    assert "/anthropic" in orjson.loads(response.body)["error"]["message"]


async def test_a_connect_on_the_base_url_door_gets_a_json_error(house: Any) -> None:
    reader, writer = await asyncio.open_connection(*house.proxy.base_url_address)
    writer.write(b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(65536), 30)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/json" in answer
