"""Handing on events in one loop says to each side, and asks of the addon, what mitmproxy's layers do, whatever comes in between.

Between the sides the order may differ: mitmproxy ends what a read began before a hook is answered, the loop answers it at once.
"""

from collections import deque
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy import connection, http, options
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.mode_specs import ProxyMode

from proxy import driving

REQUESTS = [
    b"POST /a HTTP/1.1\r\nhost: up\r\ncontent-length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nhost: up\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /c HTTP/1.1\r\nhost: up\r\n\r\n",
    b"GET /close HTTP/1.1\r\nhost: up\r\nconnection: close\r\n\r\n",
    b"POST /wait HTTP/1.1\r\nhost: up\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi",
    b"GET /up HTTP/1.1\r\nhost: up\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n",
]
BAD_REQUESTS = [
    b"",
    b"POST /bad HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    b"POST /twice HTTP/1.1\r\nhost: up\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    b"nonsense\r\n\r\n",
]
ANSWERS = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\nconnection: upgrade\r\n\r\n",
]
BAD_ANSWERS = [
    b"",
    b"HTTP/1.1 200 OK\r\ncontent-length: 05\r\n\r\n",
    b"HTTP/1.0 500 No\r\n\r\nold",
    b"garbage\r\n\r\n",
]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Return the pieces of `data`, cut at these places."""
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


@st.composite
def pieces(draw: st.DrawFn, messages: list[bytes], last: list[bytes]) -> list[bytes]:
    """Some messages in pieces; what would follow a malformed one is read or not, as it comes."""
    chosen = draw(st.lists(st.sampled_from(messages), min_size=1, max_size=3))
    return cut(b"".join(chosen) + draw(st.sampled_from(last)), draw(st.lists(st.integers(0, 300), max_size=3)))


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    """What happens on both sides: each side's pieces in their order, closes, and hooks that come to their end."""
    client = [("client", piece) for piece in draw(pieces(REQUESTS, BAD_REQUESTS))]
    server = [("server", piece) for piece in draw(pieces(ANSWERS, BAD_ANSWERS))]
    ends = draw(st.lists(st.sampled_from([("close client", b""), ("close server", b"")]), max_size=2))
    steps: list[tuple[str, bytes]] = []
    sides = [deque(client), deque(server), deque(ends)]
    while any(sides):
        side = draw(st.sampled_from([side for side in sides if side]))
        steps.append(side.popleft())
        steps.extend([("complete", b"")] * draw(st.integers(0, 2)))
    return [*steps, *[("complete", b"")] * 4]


class Play:
    """One connection, played with mitmproxy's own layers or with the loop; `told` is all that it said and did."""

    def __init__(self, *, driven: bool, waits: frozenset[str], answers: bool, streams: bool) -> None:
        self.told: list[tuple[str, Any]] = []
        self._waits, self._answers, self._streams = waits, answers, streams
        self._open: list[connection.Server] = []
        self._late: deque[commands.StartHook] = deque()
        handle, hand_on = driving.methods(self._run) if driven else (Layer.handle_event, ORIGINAL)
        kind = type("Played", (HttpLayer,), {"handle_event": handle, "event_to_child": hand_on})
        settings_ = options.Options()
        Proxyserver().load(settings_)  # type: ignore[no-untyped-call]  # mitmproxy is typed in part
        settings_.connection_strategy = "lazy"
        self._client = connection.Client(
            peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=0, state=connection.ConnectionState.OPEN
        )
        self._client.proxy_mode = ProxyMode.parse("reverse:http://up:80")
        context = Context(self._client, settings_)
        context.server.address = ("up", 80)
        settings_.keep_host_header, settings_.rawtcp = True, False  # as `proxy.server` sets them
        self._layer: Any = kind(context, HTTPMode.transparent)
        self._feed(events.Start())

    def step(self, what: str, data: bytes) -> None:
        """Let one thing happen."""
        if what == "client" and self._client.connected:
            self._feed(events.DataReceived(self._client, data))
        elif what == "close client" and self._client.connected:
            self._client.state = connection.ConnectionState.CLOSED
            self._feed(events.ConnectionClosed(self._client))
        elif what == "complete" and self._late:
            self._feed(events.HookCompleted(self._late.popleft(), None))
        elif self._open and self._open[-1].connected:
            if what == "server":
                self._feed(events.DataReceived(self._open[-1], data))
            elif what == "close server":
                self._open[-1].state = connection.ConnectionState.CLOSED
                self._feed(events.ConnectionClosed(self._open[-1]))

    @property
    def heard(self) -> dict[str, list[Any]]:
        """Return what each side and the addon heard, in its order; bytes as one piece, however they were cut."""
        found: dict[str, list[Any]] = {}
        for who, what in self.told:
            said = found.setdefault(who, [])
            if isinstance(what, bytes) and said and isinstance(said[-1], bytes):
                said[-1] += what
            else:
                said.append(what)
        return found

    def _feed(self, first: events.Event) -> None:
        waiting = deque([first])
        while waiting:
            for command in self._layer.handle_event(waiting.popleft()):
                if isinstance(command, commands.StartHook):
                    if vars(command).pop(driving.PENDING, None) is not None or self._run(command) is not None:
                        self._late.append(command)
                    elif command.blocking:
                        waiting.append(events.HookCompleted(command, None))
                elif isinstance(command, commands.OpenConnection):
                    command.connection.state = connection.ConnectionState.OPEN
                    self._open.append(command.connection)
                    self.told.append(("server", "open"))
                    waiting.append(events.OpenConnectionCompleted(command, None))
                elif isinstance(command, commands.SendData):
                    self.told.append((self._name(command.connection), command.data))
                elif isinstance(command, commands.CloseConnection):
                    command.connection.state = connection.ConnectionState.CLOSED
                    self.told.append((self._name(command.connection), "close"))
                else:
                    assert isinstance(command, commands.Log)

    def _name(self, end: connection.Connection) -> str:
        return "client" if end is self._client else "server"

    def _run(self, hook: commands.StartHook) -> Awaitable[None] | None:
        """Be the addon."""
        self.told.append(("addon", hook.name))
        (flow,) = hook.args()
        if hook.name == "responseheaders" and self._streams:
            flow.response.stream = bytes.upper
        if hook.name == "request" and self._answers:
            flow.response = http.Response.make(403, b"no", {"content-type": "text/plain"})
        return LATER if hook.name in self._waits else None


class Later:
    """Something to await, which the play brings to its end itself."""

    def __await__(self) -> Any:
        yield


LATER = Later()
ORIGINAL: Any = driving.ORIGINAL_EVENT_TO_CHILD


@pytest.fixture(autouse=True)
def plain_flow_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times differ between two plays, and are in no message here."""
    monkeypatch.setattr("time.time", lambda: 1.0)


@settings(max_examples=300)
@given(
    scripts(),
    st.frozensets(st.sampled_from(["requestheaders", "request", "responseheaders", "response", "error"])),
    st.booleans(),
    st.booleans(),
)
def test_both_say_and_do_the_same(script: list[tuple[str, bytes]], waits: frozenset[str], answers: bool, streams: bool) -> None:  # noqa: FBT001  # drawn
    plays = [Play(driven=driven, waits=waits, answers=answers, streams=streams) for driven in (False, True)]
    for what, data in script:
        crashed = [play for play in plays if crashes(play, what, data)]
        assert len(crashed) in {0, len(plays)}
        assert plays[0].heard == plays[1].heard
        if crashed:
            return


def crashes(play: Play, what: str, data: bytes) -> bool:
    """Let one thing happen; return whether a state machine met what it does not expect: then the connection is over."""
    try:
        play.step(what, data)
    except AssertionError:
        return True
    return False
