"""Start and stop: what a door that cannot open says, and a canary that was not held."""

import asyncio
import errno
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from metering.call import Call
from proxy.canary import CanaryFailed
from proxy.server import ListenError, listen_error
from proxy.settings import ProxySettings


@pytest.mark.parametrize("key", ["listen", "base_url_listen"])
async def test_a_port_in_use_names_its_key_the_address_and_the_remedy(open_house: Any, key: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(ListenError, match=rf"{address} \(proxy\.{key}\).*another program") as caught:
            await open_house(proxy={key: address})
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("key", ["listen", "base_url_listen"])
@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
def test_it_listens_on_this_machine_only(key: str, address: str) -> None:
    with pytest.raises(ValidationError, match=rf"{key}\n.*refusing to listen on .*127\.0\.0\.1"):
        ProxySettings.model_validate({key: address})


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:http", "127.0.0.1:70000", ":8080", "127.0.0.1:²"])
def test_an_address_that_is_none_is_told_with_an_example(address: str) -> None:
    with pytest.raises(ValidationError, match=r"listen\n.*is not an address.*127\.0\.0\.1:8080"):
        ProxySettings.model_validate({"listen": address})


async def test_one_address_for_both_doors_is_refused(open_house: Any) -> None:
    with pytest.raises(ListenError, match="give one of them another port"):
        await open_house(proxy={"listen": "127.0.0.1:18181", "base_url_listen": "localhost:18181"})


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(OSError(errno.EACCES, "x"), "below 1024"), (OSError(errno.EADDRNOTAVAIL, "x"), "no such address"), (RuntimeError("odd"), "odd")],
)
def test_each_reason_has_its_remedy(error: Exception, remedy: str) -> None:
    assert remedy in str(listen_error("proxy.listen", ("::1", 80), error))


async def test_an_extra_authority_that_cannot_be_read_is_told(open_house: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"proxy\.upstream_ca: cannot read"):
        await open_house(proxy={"upstream_ca": tmp_path / "nothing.pem"})
    for content in (b"", b"no certificate\n", b"\xff\xfe"):
        (tmp_path / "odd.pem").write_bytes(content)
        with pytest.raises(ValueError, match=r"proxy\.upstream_ca: .* holds no certificate in PEM form"):
            await open_house(proxy={"upstream_ca": tmp_path / "odd.pem"})


async def test_it_starts_again_after_a_stop(open_house: Any) -> None:
    first = await open_house()
    await first.proxy.stop(grace=timedelta(0))
    await first.proxy.stop(grace=timedelta(0))

    second = await open_house()

    await second.proxy.canary()


async def test_a_canary_that_passes_is_a_failure(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def admit(call: Call) -> Any:
        return await house.gate._reserve(house.gate._trial(call))  # noqa: SLF001  # a gate that lost its canary rule

    monkeypatch.setattr(house.gate, "admit", admit)

    with pytest.raises(CanaryFailed, match="not held"):
        await house.proxy.canary()
    assert house.provider.connections == 0


async def test_a_canary_that_gets_another_answer_is_a_failure(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.proxy.addon, "_judge", None)

    with pytest.raises(CanaryFailed, match="answered 503"):
        await house.proxy.canary()


async def test_a_canary_without_its_tunnel_is_a_failure(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.proxy.addon, "_forward", None)

    with pytest.raises(CanaryFailed, match="answered 503"):
        await house.proxy.canary()


async def test_a_canary_without_a_door_is_a_failure(house: Any) -> None:
    await house.proxy.stop(grace=timedelta(0))

    with pytest.raises(CanaryFailed, match="no answer"):
        await asyncio.wait_for(house.proxy.canary(), 30)
