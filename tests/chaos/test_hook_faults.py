"""An exception forced in each hook: closed mode sends nothing, and the client gets JSON."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.addon import TollwatchAddon
from proxy.fence import hooks_of
from tests.support.asking import ask, chat
from tests.support.client import ConnectRefusedError, Response
from tests.support.faulty import VARIABLE
from tests.support.gateway import Gateway
from tests.support.provider import Provider

BEFORE_SENDING = ("requestheaders", "request", "server_connect")
ON_THE_WAY_IN = ("http_connect", "tls_clienthello", "tls_established_client", "next_layer")
AFTER_SENDING = ("responseheaders", "response", "client_disconnected", "client_left")
ELSEWHERE = {
    "error": "runs when a call has already broken off",
    "websocket_message": "runs on an open WebSocket",
    "websocket_end": "runs on an open WebSocket",
    "http_connect_upstream": "runs behind proxy.upstream_proxy",
    "server_connected": "only notes the address of a connection that is already made",
    "server_connect_error": "runs when there is no connection",
}
KINDS = (
    "ValueError",
    "RecursionError",
    "MemoryError",
    "CancelledError",
    "KeyboardInterrupt",
    "PanicError",
    "OperationalError",
    "StoreError",
)

type Fault = Callable[[str], None]


@pytest.fixture(scope="module")
def fault_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fault") / "fault"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider, fault_file: Path) -> Iterator[Gateway]:
    runner = ("-m", "tests.support.faulty")
    with Gateway(tmp_path_factory.mktemp("gateway"), provider, runner=runner, env={VARIABLE: str(fault_file)}) as gateway:
        yield gateway


@pytest.fixture
def fault(fault_file: Path) -> Iterator[Fault]:
    yield fault_file.write_text
    fault_file.write_text("")


async def answered(gateway: Gateway, door: str) -> Response | None:
    """Make a call; None when the gateway would not even open the way for it."""
    async with asyncio.timeout(60):
        try:
            return await ask(gateway, chat(), door=door)
        except (ConnectRefusedError, OSError):
            return None


def test_every_hook_has_its_case() -> None:
    assert set(hooks_of(TollwatchAddon)) == {*BEFORE_SENDING, *ON_THE_WAY_IN, *AFTER_SENDING, *ELSEWHERE}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", ["forward", "base_url"])
@pytest.mark.parametrize("hook", BEFORE_SENDING)
async def test_a_fault_before_sending_is_a_refusal_in_json(
    gateway: Gateway, provider: Provider, fault: Fault, hook: str, door: str, kind: str
) -> None:
    fault(f"{hook} {kind}")

    answer = await answered(gateway, door)

    assert not provider.seen
    assert answer is not None
    assert answer.status in {502, 503}
    assert answer.headers["content-type"] == "application/json"
    assert "tollwatch" in json.dumps(json.loads(answer.body)) or "gateway" in json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", ON_THE_WAY_IN)
async def test_a_fault_on_the_way_in_opens_no_way_out(gateway: Gateway, provider: Provider, fault: Fault, hook: str, kind: str) -> None:
    fault(f"{hook} {kind}")

    answer = await answered(gateway, "forward")

    assert not provider.seen
    assert answer is None or answer.status == 503


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hook", AFTER_SENDING)
async def test_a_fault_after_sending_still_ends_the_call_once(
    gateway: Gateway, provider: Provider, fault: Fault, hook: str, kind: str
) -> None:
    before = len(gateway.calls())
    fault(f"{hook} {kind}")

    answer = await answered(gateway, "base_url")

    assert answer is not None
    assert answer.status == 200
    assert json.loads(answer.body)["object"] == "chat.completion"
    assert len(provider.seen) == 1
    assert len(await asyncio.to_thread(gateway.wait_settled, before + 1)) == before + 1


async def test_after_all_faults_the_gateway_still_works(gateway: Gateway, provider: Provider) -> None:
    for door in ("forward", "base_url"):
        answer = await answered(gateway, door)

        assert answer is not None
        assert answer.status == 200
    assert len(provider.seen) == 2
    assert gateway.get("/readyz", token=None)[0] == 200
