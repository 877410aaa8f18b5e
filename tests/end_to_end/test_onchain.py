"""A real Ethereum client through both doors: what the rules deny never reaches the node, and the client is told why."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import Answer, body
from tests.support.client import Connection, Response
from tests.support.gateway import Gateway, free_ports
from tests.support.provider import Provider, Seen

HERE = Path(__file__).parent
NODE = "rpc.node.test"
TO, OTHER = "0x" + "ab" * 20, "0x" + "cd" * 20
RESULTS = {"eth_chainId": "0x1", "eth_blockNumber": "0x10", "eth_sendRawTransaction": "0x" + "77" * 32}
CONFIG: dict[str, Any] = {
    "proxy": {"chain_hosts": {NODE: 1}, "upstreams": {"eth": f"https://{NODE}"}},
    "detectors": {"onchain": {"enabled": True, "rules": [{"id": "treasury", "recipients": [TO], "daily_value": "2 ETH"}]}},
}


def node(seen: Seen) -> Answer:
    """Answer as a node of a blockchain."""
    asked = json.loads(seen.body)
    batch = asked if isinstance(asked, list) else [asked]
    answers = [{"jsonrpc": "2.0", "id": each["id"], "result": RESULTS.get(each["method"])} for each in batch]
    return body(answers if isinstance(asked, list) else answers[0])


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(tmp_path_factory.mktemp("node"), hosts=(NODE, "localhost")) as provider:
        yield provider


@pytest.fixture(autouse=True)
def _node(provider: Provider, _fresh_provider: None) -> None:
    provider.script = node


def sent(provider: Provider) -> list[str]:
    return [method for seen in provider.seen for method in [json.loads(seen.body)["method"]] if method.startswith("eth_send")]


@pytest.mark.parametrize("door", ["forward", "base_url"])
def test_web3_sends_what_is_allowed_and_is_told_why_the_rest_is_not(gateway: Gateway, provider: Provider, door: str) -> None:
    url = f"https://{NODE}" if door == "forward" else f"http://{gateway.base}/eth"
    program = (sys.executable, str(HERE / "programs" / "web3_client.py"), url, TO, OTHER)
    before = len(gateway.calls())

    said = [json.loads(line) for line in gateway.command("exec", "--", *program).stdout.splitlines()]

    assert said[:2] == [{"chain": 1, "block": 16}, {"sent": RESULTS["eth_sendRawTransaction"]}]
    assert said[2]["error"] == "Web3RPCError"
    assert f"On-chain rule 'treasury' does not allow the transaction to {OTHER}: {OTHER} is not among its recipients." in said[2]["message"]
    assert sent(provider) == ["eth_sendRawTransaction"]
    (alert,) = gateway.alerts("onchain_denied")
    assert alert["severity"] == "critical"
    refused = [row for row in gateway.calls()[before:] if row["verdict"] == "block"]
    assert {(row["provider"], row["operation"], row["status"], row["state"]) for row in refused} == {
        ("json_rpc", "json_rpc", 200, "refused")
    }


async def ask(gateway: Gateway, payload: object, **more: str) -> Response:
    async with await Connection.to(gateway.base) as connection:
        head = [("host", "127.0.0.1"), ("content-type", "application/json"), *more.items()]
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return await connection.request("POST", "/eth", headers=head, pieces=[raw])


def request(number: int, method: str, *params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


async def test_a_batch_with_something_denied_is_refused_whole_each_by_its_id(gateway: Gateway, provider: Provider) -> None:
    answer = await ask(gateway, [request(5, "eth_blockNumber"), request(6, "eth_sendTransaction", {"to": OTHER, "value": "0x1"})])

    said = json.loads(answer.body)
    assert (answer.status, [one["id"] for one in said]) == (200, [5, 6])
    assert {one["error"]["code"] for one in said} == {-32003}
    assert said[0]["error"]["data"]["rule_id"] == "treasury"
    assert provider.seen == []


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","method":"eth_sendRawTransaction","params":["0x00"]}', "twice"),
        (b'{"jsonrpc":"2.0","id":1,"Method":"eth_sendRawTransaction","method":"eth_blockNumber"}', "case"),
        (b'{"jsonrpc":"2.0","id":1}', "names its method"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}],"":1', "twice"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}],"x":1', "not JSON"),
        (b"[]", "1 to 1,000 requests"),
        (b"[3]", "is an object"),
        (b"3", "not a JSON object"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
async def test_what_a_node_could_read_in_another_way_is_refused(gateway: Gateway, provider: Provider, payload: bytes, words: str) -> None:
    answer = await ask(gateway, payload)

    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], words in error["message"]) == (400, -32600, True), error
    assert provider.seen == []


async def test_a_websocket_to_a_node_is_refused_since_it_is_not_read(gateway: Gateway, provider: Provider) -> None:
    head = [("host", "127.0.0.1"), ("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]
    async with await Connection.to(gateway.base) as connection:
        answer = await connection.request("GET", "/eth", headers=[*head, ("sec-websocket-version", "13")], pieces=[])

    assert answer.status == 403
    assert "use the node's https endpoint" in json.loads(answer.body)["error"]["message"]
    assert provider.seen == []


async def test_reading_and_opening_streams_pass(gateway: Gateway, provider: Provider) -> None:
    provider.script = lambda seen: node(seen) if seen.body else body({})

    read = await ask(gateway, request(1, "eth_blockNumber"))
    async with await Connection.to(gateway.base) as connection:
        opened = await connection.request("GET", "/eth/sse", headers=[("host", "127.0.0.1")], pieces=[])

    assert (json.loads(read.body)["result"], opened.status) == ("0x10", 200)


def test_in_monitor_mode_it_is_sent_and_told(tmp_path: Path, provider: Provider) -> None:
    with Gateway(tmp_path, provider, config={**CONFIG, "mode": "monitor"}) as gateway:
        program = (sys.executable, str(HERE / "programs" / "web3_client.py"), f"https://{NODE}", OTHER)
        said = [json.loads(line) for line in gateway.command("exec", "--", *program).stdout.splitlines()]

        assert said[1] == {"sent": RESULTS["eth_sendRawTransaction"]}
        (alert,) = gateway.alerts("onchain_denied")
    assert "In enforce mode this call would have been refused." in alert["message"]


def test_a_node_of_ones_own_machine_is_reached_by_the_base_url_door(tmp_path: Path, provider: Provider) -> None:
    (port,) = free_ports(1)
    local = {"proxy": {"chain_hosts": {"127.0.0.1": None}, "upstreams": {"eth": f"http://127.0.0.1:{port}"}}}
    with Gateway(tmp_path, provider, config=local | {"detectors": CONFIG["detectors"]}) as gateway:
        program = (sys.executable, str(HERE / "programs" / "web3_client.py"), f"http://{gateway.base}/eth", OTHER)
        said = [json.loads(line) for line in gateway.command("exec", "--", *program).stdout.splitlines()]

    assert said[1]["error"] == "Web3RPCError"
