"""The user and the program behind a connection, as Linux tells them: real sockets, real processes."""

import asyncio
import os
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from mitmproxy.connection import ConnectionState

from proxy import processes
from proxy.processes import Owner, owner_of
from proxy.settings import IdentitySource
from tests.support.client import Connection

pytestmark = pytest.mark.skipif(not processes.is_supported(), reason="only Linux has /proc/net/tcp")

ME = pwd.getpwuid(os.getuid()).pw_name
PROGRAM = Path(sys.executable).resolve().name
CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})
CLIENT = """
import socket, sys
family, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with socket.socket(socket.AddressFamily(family)) as own:
    own.connect((host, port))
    own.recv(1)
"""

type Connect = Callable[..., tuple[subprocess.Popen[str], socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return what lets another process connect; it holds its end until the test is over."""
    with ExitStack() as stack:

        def make(family: int, host: str, *, listens_on: str) -> tuple[subprocess.Popen[str], socket.socket]:
            of = socket.AF_INET6 if ":" in listens_on else socket.AF_INET
            listener = stack.enter_context(socket.create_server((listens_on, 0), family=of))
            listener.settimeout(20)
            command = [sys.executable, "-c", CLIENT, str(int(family)), host, str(listener.getsockname()[1])]
            process = stack.enter_context(subprocess.Popen(command, cwd="/", text=True))
            stack.callback(process.terminate)
            accepted = listener.accept()[0]
            stack.callback(accepted.close)
            return process, accepted

        yield make


def asked(accepted: socket.socket, **more: Any) -> Owner:
    return owner_of(accepted.getpeername()[:2], accepted.getsockname()[:2], **more)


CONNECTIONS = [
    (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    (socket.AF_INET6, "::1", "::1"),
    (socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1"),
]


@pytest.mark.parametrize(("family", "host", "listens_on"), CONNECTIONS, ids=["v4", "v6", "v4-in-v6"])
def test_another_process_is_known_by_its_user_its_program_and_its_id(connect: Connect, family: int, host: str, listens_on: str) -> None:
    process, accepted = connect(family, host, listens_on=listens_on)

    assert asked(accepted) == Owner(user=ME, process=PROGRAM, pid=process.pid)


def test_where_nobody_asks_for_the_program_nobody_looks_for_it(connect: Connect) -> None:
    _, accepted = connect(socket.AF_INET, "127.0.0.1", listens_on="127.0.0.1")

    assert asked(accepted, program=False) == Owner(user=ME)


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts programs of other users")
@pytest.mark.parametrize(("uid", "name"), [(65534, "nobody"), (54321, "uid:54321")])
def test_another_user_is_known_and_one_without_a_name_by_its_number(uid: int, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        client = stack.enter_context(socket.socket())
        os.fchown(
            client.fileno(), uid, uid
        )  # what the kernel tells is the owner of the socket, and that is its maker until it is given away
        client.connect(listener.getsockname())
        accepted = stack.enter_context(listener.accept()[0])

        assert asked(accepted) == Owner(user=name, process=PROGRAM, pid=os.getpid())


def test_a_client_that_is_gone_is_nobody(connect: Connect) -> None:
    process, accepted = connect(socket.AF_INET, "127.0.0.1", listens_on="127.0.0.1")
    peer, own = accepted.getpeername(), accepted.getsockname()
    process.kill()
    process.wait(60)

    assert accepted.recv(1) == b""
    assert owner_of(peer, own) == Owner()
    assert owner_of(("127.0.0.1", 1), ("127.0.0.1", 2)) == Owner()


def fake(folder: Path, *, uid: int = 12, inode: int = 77) -> Path:
    """Return a /proc with one connection, 127.0.0.1:1000 to 127.0.0.1:2000, and two processes that hold it."""
    (folder / "net").mkdir(parents=True)
    wanted = next(wanted for table, wanted in processes.wanted_rows(("127.0.0.1", 1000), ("127.0.0.1", 2000)) if table == "tcp")
    row = b"   0: %b 01 00000000:00000000 00:00000000 00000000 %5d        0 %d 1 0 20 4 30 10 -1\n" % (wanted, uid, inode)
    (folder / "net" / "tcp").write_bytes(b"  sl  local_address rem_address   st\n" + row)
    for pid, program in ((31, "/usr/bin/late"), (7, "/opt/a tool (deleted)")):
        (folder / str(pid) / "fd").mkdir(parents=True)
        (folder / str(pid) / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (folder / str(pid) / "exe").symlink_to(program)
    return folder


CLIENT_ADDRESS, SERVER_ADDRESS = ("127.0.0.1", 1000), ("127.0.0.1", 2000)


def test_of_a_shared_socket_the_lowest_process_counts_also_when_its_program_was_replaced(tmp_path: Path) -> None:
    owner = owner_of(CLIENT_ADDRESS, SERVER_ADDRESS, proc=fake(tmp_path))

    assert (owner.process, owner.pid) == ("a tool", 7)


def test_a_program_that_cannot_be_looked_into_is_unknown_and_its_user_known(tmp_path: Path) -> None:
    proc = fake(tmp_path, uid=os.getuid())
    for pid in (7, 31):
        (proc / str(pid) / "exe").unlink()

    assert owner_of(CLIENT_ADDRESS, SERVER_ADDRESS, proc=proc) == Owner(user=ME, pid=7)


def test_a_connection_that_is_over_has_no_owner_though_it_still_stands_in_the_table(tmp_path: Path) -> None:
    assert owner_of(CLIENT_ADDRESS, SERVER_ADDRESS, proc=fake(tmp_path, inode=0)) == Owner()


async def test_calls_are_attributed_and_each_connection_is_looked_up_once(open_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lookups: list[Any] = []

    def counted(*addresses: Any, **more: Any) -> Owner:
        lookups.append(addresses)
        return owner_of(*addresses, **more)

    monkeypatch.setattr(processes, "owner_of", counted)
    house = await open_house(identity=(IdentitySource(os_user=True), IdentitySource(process=True)))
    own = [("host", "127.0.0.1"), ("content-type", "application/json")]

    async with await house.through() as forward, await Connection.to(house.base_url) as base_url:
        for connection, path, headers in ((forward, "", [("host", "api.openai.com"), own[1]]), (base_url, "/openai", own)):
            for _ in range(3):
                response = await connection.request("POST", f"{path}/v1/chat/completions", headers=headers, pieces=[CHAT])
                assert (response.status, connection.reusable) == (200, True)

    rows = await house.rows()
    kept = house.proxy.addon._peers._peers  # noqa: SLF001  # what is kept of connections that are gone shows nowhere else
    assert [(row.user, row.agent) for row in rows] == [(ME, PROGRAM)] * 6
    assert len(lookups) == 2
    async with asyncio.timeout(60):
        while kept:  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)


async def test_what_is_found_out_too_late_is_not_kept(open_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gone = threading.Event(), threading.Event()

    def slow(*_addresses: Any, **_more: Any) -> Owner:
        begun.set()
        gone.wait(60)
        return Owner(user="late")

    monkeypatch.setattr(processes, "owner_of", slow)
    house = await open_house(identity=(IdentitySource(os_user=True),))
    connection = await Connection.to(house.base_url)
    await connection.send("POST", "/openai/v1/chat/completions", headers=[("host", "127.0.0.1")], pieces=[CHAT])
    await asyncio.to_thread(begun.wait, 60)
    connection.abort()
    peers = house.proxy.addon._peers  # noqa: SLF001  # as above
    client = next(iter(house.proxy._proxyserver.connections.values())).client  # noqa: SLF001  # mitmproxy's own, until it is closed
    async with asyncio.timeout(60):
        while client.state is not ConnectionState.CLOSED:  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
    gone.set()
    await house.proxy.stop(grace=timedelta(seconds=1))

    assert peers._peers == {}  # noqa: SLF001  # as above


async def test_a_lookup_that_fails_refuses_in_closed_mode(open_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_addresses: Any, **_more: Any) -> Owner:
        raise OSError("no more files")

    monkeypatch.setattr(processes, "owner_of", broken)
    house = await open_house(identity=(IdentitySource(os_user=True),))

    response = await house.post(CHAT)

    assert (response.status, house.provider.seen) == (503, [])


async def test_where_the_system_cannot_tell_the_gateway_does_not_start(open_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "is_supported", lambda: False)

    with pytest.raises(ValueError, match="only Linux has"):
        await open_house(identity=(IdentitySource(process=True),))


@pytest.mark.parametrize(
    ("source", "sets"),
    [
        ({"os_user": True}, "user"),
        ({"process": True}, "agent"),
        ({"process": True, "field": "service"}, "service"),
        ({"os_user": True, "field": "agent"}, "agent"),
    ],
)
def test_the_user_is_the_user_and_the_program_the_agent_unless_the_config_says_else(source: dict[str, Any], sets: str) -> None:
    assert IdentitySource.model_validate(source).sets == sets


async def test_a_source_that_is_switched_off_asks_nobody(open_house: Any) -> None:
    house = await open_house(identity=(IdentitySource(os_user=False), IdentitySource(process=False)))

    assert (await house.post(CHAT)).status == 200
    assert not house.proxy.addon._peers.active  # noqa: SLF001  # that nobody was asked shows nowhere else
