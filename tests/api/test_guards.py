"""What is refused before anyone asks who sent it."""

from typing import Any

import pytest

from api.guards import is_ours

OURS = ["localhost:3100", "LOCALHOST:3100", "127.0.0.1:3100", "[::1]:3100", "tollwatch.corp:3100", "Tollwatch.Corp", "proxied.corp:8443"]
FOREIGN = [
    "",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "localhost:80",
    "localhost:3101",
    "localhost.:3100",
    "localhost:03100x",
    "127.1:3100",
    "127.0.0.2:3100",
    "0x7f.1:3100",
    "0x7f000001:3100",
    "2130706433:3100",
    "0177.0.0.1:3100",
    "0.0.0.0:3100",
    "[::]:3100",
    "[::ffff:127.0.0.1]:3100",
    "[0:0:0:0:0:0:0:1]:3100",
    "::1:3100",
    "evil.com",
    "evil.com:3100",
    "localhost.evil.com:3100",
    "evil.com#localhost:3100",
    "user@localhost:3100",
    "localhost:3100@evil.com",
    "localhost:3100/",
    " localhost:3100",
    "localhost:3100,evil.com",
    "127.0.0.1.nip.io:3100",
    "locälhost:3100",
    "proxied.corp",
    "tollwatch.corp:8443",
    "localhost:99999",
]
CONFIGURED = ("tollwatch.corp", "proxied.corp:8443")


@pytest.mark.parametrize("host", OURS)
def test_our_names_with_our_port_are_ours(host: str) -> None:
    assert is_ours(host, port=3100, configured=CONFIGURED)


@pytest.mark.parametrize("host", FOREIGN)
def test_every_other_form_is_foreign(host: str) -> None:
    assert not is_ours(host, port=3100, configured=CONFIGURED)


@pytest.mark.parametrize("port", [80, 443])
def test_a_default_port_need_not_be_written(port: int) -> None:
    assert is_ours("localhost", port=port)


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/alerts", "/nothing"])
async def test_a_foreign_host_is_421_on_every_path(gateway: Any, path: str) -> None:
    answer = await gateway.ask("GET", path, headers={"Host": "evil.com"}, token=await gateway.token())

    assert answer.status == 421
    assert "api.allowed_hosts" in answer.body["error"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "tollwatch.corp:{port}", "tollwatch.corp", "proxied.corp:8443"]
)
async def test_our_hosts_are_served(gateway: Any, host: str) -> None:
    assert (await gateway.ask("GET", "/healthz", headers={"Host": host.format(port=gateway.port)})).status == 200


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/healthz", "http://api.openai.com/v1/models"])
async def test_a_request_as_to_a_proxy_is_told_where_the_proxy_is(gateway: Any, raw_exchange: Any, target: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nConnection: close\r\n\r\n".format(port=gateway.port)

    answer = await raw_exchange(request.encode())

    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"proxy.listen" in answer


@pytest.mark.parametrize("hosts", ["", "Host: localhost:{port}\r\nHost: evil.com\r\n"])
async def test_no_host_or_two_is_refused(gateway: Any, raw_exchange: Any, hosts: str) -> None:
    request = "GET /healthz HTTP/1.1\r\nConnection: close\r\n" + hosts.format(port=gateway.port) + "\r\n"

    assert (await raw_exchange(request.encode())).split(b" ")[1] in {b"400", b"421"}


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.com",
        "https://evil.com",
        "http://localhost:5173",
        "http://localhost",
        "http://localhost:{port}.evil.com",
        "http://user@localhost:{port}",
        "file://",
        "chrome-extension://abc",
        "localhost:{port}",
        "http://[::1",
        "http://localhost:{port}/path",
        "",
    ],
)
async def test_a_foreign_origin_is_403(gateway: Any, origin: str) -> None:
    answer = await gateway.ask("GET", "/healthz", headers={"Origin": origin.format(port=gateway.port)})

    assert answer.status == 403
    assert "origin" in answer.body["error"]


@pytest.mark.parametrize(
    "origin", ["http://localhost:{port}", "https://localhost:{port}", "https://127.0.0.1:{port}", "http://[::1]:{port}"]
)
async def test_our_own_pages_may_ask(gateway: Any, origin: str) -> None:
    assert (await gateway.ask("GET", "/healthz", headers={"Origin": origin.format(port=gateway.port)})).status == 200


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("Cross-Site", 403), ("same-origin", 200), ("none", 200)])
async def test_a_cross_site_request_is_403(gateway: Any, site: str, status: int) -> None:
    assert (await gateway.ask("GET", "/healthz", headers={"Sec-Fetch-Site": site})).status == status


@pytest.mark.parametrize(
    "declared",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16", "text/json", ""],
)
async def test_a_write_that_is_not_declared_json_is_415(gateway: Any, declared: str) -> None:
    answer = await gateway.ask("POST", "/api/auth/login", data=b'{"password":"x"}', headers={"Content-Type": declared})

    assert answer.status == 415
    assert "Content-Type: application/json" in answer.body["error"] or "UTF-8" in answer.body["error"]


@pytest.mark.parametrize("declared", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_a_write_declared_json_is_heard(gateway: Any, declared: str) -> None:
    answer = await gateway.ask("POST", "/api/auth/login", data=b'{"password":"x"}', headers={"Content-Type": declared})

    assert answer.status == 401
