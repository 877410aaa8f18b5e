"""Bad input to a real process: a sentence with cause and remedy, the documented exit code, nothing sent."""

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.asking import ask, chat
from tests.support.gateway import Gateway
from tests.support.provider import Provider

ERROR = 1


def ended(gateway: Gateway) -> tuple[int, str]:
    """Start a gateway that must not come up; return its exit code and the words that say why."""
    gateway.start(ready=False)
    assert gateway.process
    code = gateway.process.wait(30)
    return code, gateway.log()


@contextmanager
def unknown_key(folder: Path) -> Iterator[Gateway]:
    yield Gateway(folder, config={"proxy": {"listenn": "127.0.0.1:1"}})


@contextmanager
def taken_port(folder: Path) -> Iterator[Gateway]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield Gateway(folder, config={"proxy": {"listen": f"127.0.0.1:{other.getsockname()[1]}"}})


@contextmanager
def taken_api_port(folder: Path) -> Iterator[Gateway]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield Gateway(folder, config={"api": {"listen": f"127.0.0.1:{other.getsockname()[1]}"}})


@contextmanager
def unwritable_data_dir(folder: Path) -> Iterator[Gateway]:
    (folder / "file").write_text("in the way")
    yield Gateway(folder, config={"data_dir": str(folder / "file" / "data")})


@contextmanager
def loose_ca(folder: Path) -> Iterator[Gateway]:
    gateway = Gateway(folder)
    gateway.command("--config", str(gateway.config_file), "init", "--no-config")
    for path in (gateway.data_dir / "ca").glob("*"):
        path.chmod(0o644)
    yield gateway


@contextmanager
def corrupt_database(folder: Path) -> Iterator[Gateway]:
    gateway = Gateway(folder)
    with gateway:
        pass
    with gateway.database.open("r+b") as file:
        file.write(os.urandom(4096))
    yield gateway


@contextmanager
def second_gateway(folder: Path) -> Iterator[Gateway]:
    with Gateway(folder / "first") as first:
        yield Gateway(folder / "second", config={"data_dir": str(first.data_dir)})


TABLE: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "an unknown config key": (unknown_key, ("listenn", "listen", "proxy")),
    "a port in use": (taken_port, ("proxy.listen", "free one")),
    "the API's port in use": (taken_api_port, ("api.listen",)),
    "a data folder that cannot be made": (unwritable_data_dir, ("data",)),
    "a private key that others may read": (loose_ca, ("chmod",)),
    "a corrupt database": (corrupt_database, ("tollwatch.db",)),
    "a second gateway on one database": (second_gateway, ("already runs", "data_dir")),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_gateway_that_cannot_run_says_why_in_a_sentence(tmp_path: Path, case: str) -> None:
    prepare, words = TABLE[case]

    with prepare(tmp_path) as gateway:
        before = len(gateway.log())
        code, log = ended(gateway)

    said = log[before:]
    assert code == ERROR, said
    assert "Traceback" not in said
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("token", "error"),
    [(None, "missing or invalid authorization header"), ("fn_sess_" + "0" * 64, "invalid or expired session token")],
)
def test_a_wrong_token_is_refused_in_words(gateway: Gateway, token: str | None, error: str) -> None:
    assert gateway.get("/api/alerts", token=token) == (401, {"error": error})


def test_a_malformed_body_to_the_api_is_refused_in_words(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {gateway.token()}", "content-type": "application/json"}
    request = urllib.request.Request(f"http://{gateway.api}/api/alerts/dismiss", data=b'{"id": ', headers=headers)

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60)

    with refused.value as answer:
        assert answer.code == 400
        assert "JSON" in json.loads(answer.read())["error"]


AMBIGUOUS = {
    "no JSON": b'{"model": "gpt-4o-mini", ',
    "a key twice": b'{"model": "gpt-4o-mini", "model": "gpt-4o", "messages": []}',
    "not a number": b'{"model": "gpt-4o-mini", "messages": [], "max_tokens": NaN}',
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(chat()).encode(),
    "not UTF-8": b'{"model": "gpt-4o-mini\xff", "messages": []}',
    "too deep": b'{"model": "gpt-4o-mini", "messages": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "no object": b'["gpt-4o-mini"]',
}


@pytest.mark.parametrize("door", ["forward", "base_url"])
@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_a_request_without_one_meaning_is_refused_and_not_sent(gateway: Gateway, provider: Provider, case: str, door: str) -> None:
    answer = await ask(gateway, AMBIGUOUS[case], door=door)

    assert answer.status == 400
    error = json.loads(answer.body)["error"]
    assert error["message"]
    assert not provider.seen
    (row,) = [row for row in gateway.calls() if row["id"] == answer.call_id]
    assert (row["state"], row["status"]) == ("refused", 400)


@pytest.mark.parametrize("door", ["forward", "base_url"])
async def test_an_unknown_content_encoding_is_refused_and_not_sent(gateway: Gateway, provider: Provider, door: str) -> None:
    answer = await ask(gateway, chat(), door=door, headers={"content-encoding": "rot13"})

    assert answer.status == 415
    assert not provider.seen
