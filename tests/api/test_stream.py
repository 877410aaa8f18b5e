"""The stream of events: what it tells, where it goes on, and why it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from alerting.book import AlertBook
from alerting.changes import AlertChanges
from api.app import create_app
from api.listener import ApiServer
from api.scopes import Scope
from api.services import Services
from api.stream import End, _Stream
from api.streams import AT_MOST, MOST_CALLS, Listener, Pace, Streams
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.ledger import Intent, Ledger, Settlement
from metering.reading import Reading, Source
from metering.usage import Usage
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase

QUICK = Pace(look=0.01, heartbeat=60, recheck=60, patience=5)
SECONDS = 10


@dataclass
class Event:
    """One event as it came."""

    name: str
    id: str
    data: Any


class Reader:
    """Reads events from an answer, each within ten seconds."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> list[str]:
        """Return the lines up to the next empty one; none where the stream has ended."""
        lines: list[str] = []
        async with asyncio.timeout(SECONDS):
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    return lines
                lines.append(line.removesuffix("\n"))
        return lines

    async def event(self) -> Event:
        fields = dict(line.split(": ", 1) for line in await self.block())
        return Event(fields["event"], fields["id"], json.loads(fields["data"]))

    async def ended(self) -> bool:
        return await self.block() == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  # what it waits for has no event
            await asyncio.sleep(0.001)


type Open = Callable[..., Any]


@pytest.fixture
def pace() -> Pace:
    return QUICK


@pytest.fixture
def streams(database: SqliteDatabase, ledger: Ledger, pace: Pace) -> Streams:
    return Streams(AlertChanges(database), ledger, pace=pace)


@pytest.fixture
async def server(services: Services, streams: Streams) -> AsyncIterator[ApiServer]:
    server = ApiServer(create_app(replace(services, streams=streams)))
    await server.start("127.0.0.1", 0, None)
    yield server
    await server.stop()


@pytest.fixture
async def token(services: Services) -> str:
    return (await services.access.tokens.create(name="reader", scopes=(Scope.ALERTS_READ,), actor="test")).secret


@pytest.fixture
async def listen(server: ApiServer, token: str) -> Open:
    @asynccontextmanager
    async def listen(query: str = "", *, bearer: str = token, last_id: str | None = None, method: str = "GET") -> AsyncIterator[Reader]:
        headers = {"Authorization": f"Bearer {bearer}", **({"Last-Event-ID": last_id} if last_id else {})}
        url = f"http://127.0.0.1:{server.address[1]}/api/stream{query}"
        async with aiohttp.ClientSession() as client, client.request(method, url, headers=headers) as response:
            yield Reader(response)

    return listen


@pytest.fixture
def called(ledger: Ledger, clock: Any) -> Callable[..., Awaitable[Call]]:
    """Return a maker of calls that are refused, or sent and settled."""

    async def make(*, refused: bool = False) -> Call:
        call = Call(
            id=str(uuid7(clock())),
            started_at=clock(),
            door=Door.FORWARD,
            provider="openai",
            service="openai",
            operation="chat",
            endpoint=Endpoint.CHAT,
            wire_format="openai.chat",
            consumption=Consumption.METERED,
            method="POST",
            host="api.openai.com",
            path="/v1/chat/completions",
            model="gpt-4o",
            streamed=False,
            caller=Caller(user="ann"),
            request_bytes=100,
        )
        if refused:
            await ledger.refuse(call, rule_id="SEC", status=403)
            return call
        await ledger.admit(Intent(call=call, verdict="allow", holds=(), hold_nano=0))
        reply = Reply(ending=Ending.COMPLETED, status=200, first_byte_at=clock(), ended_at=clock(), response_bytes=10)
        ledger.settle(Settlement(call, reply, Reading(source=Source.PROVIDER_REPORTED, usage=Usage(input_tokens=1), cost_nano=5)))
        await ledger.drain()
        return call

    return make


async def test_a_new_alert_and_each_change_of_it_are_told_as_the_history_has_them(listen: Open, book: AlertBook, occur: Any) -> None:
    async with listen() as reader:
        assert reader.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert reader.response.headers["Cache-Control"] == "no-store"
        ready = await reader.event()
        await book.record([occur()])
        await book.record([occur()])
        opened, raised = await reader.event(), await reader.event()
        await book.acknowledge(1, actor="ann", feed="org", note="mine")
        await book.dismiss(1, actor="bob", feed="local")
        acknowledged, dismissed = await reader.event(), await reader.event()

    assert (ready.name, ready.id, ready.data) == ("ready", "0.0", {"types": ["alerts", "calls"]})
    assert [one.id for one in (opened, raised, acknowledged, dismissed)] == ["1.0", "1.1", "2.1", "3.1"]
    assert {one.name for one in (opened, raised, acknowledged, dismissed)} == {"alert"}
    told = [one.data for one in (opened, raised, acknowledged, dismissed)]
    assert [(one["change"], one["actor"], one["feed"], one["note"]) for one in told] == [
        ("opened", "system", None, None),
        ("raised", None, None, None),
        ("acknowledged", "ann", "org", "mine"),
        ("dismissed", "bob", "local", None),
    ]
    alert = dismissed.data["alert"]
    assert (alert["local_id"], alert["status"], alert["occurrence_count"], alert["kind"]) == ("alert_1", "resolved", 2, "prompt_drift")
    assert (alert["subject"], alert["created_at"], alert["severity"]) == ({"service": "openai"}, "2025-01-15T10:30:00Z", "critical")


@pytest.mark.parametrize("how", ["after", "Last-Event-ID", "both"])
async def test_a_reader_goes_on_after_the_last_event_that_it_took(listen: Open, book: AlertBook, occur: Any, how: str) -> None:
    for number in range(4):
        await book.record([occur(episode=(str(number),))])
    given = {"after": ("?after=2.0", None), "Last-Event-ID": ("", "2.0"), "both": ("?after=0", "2.0")}[how]

    async with listen(given[0], last_id=given[1]) as reader:
        ready, *events = [await reader.event() for _ in range(3)]

    assert ready.id == "2.0"
    assert [(one.id, one.data["alert"]["local_id"]) for one in events] == [("3.0", "alert_3"), ("4.0", "alert_4")]


async def test_what_changed_while_the_gateway_was_down_is_told_by_the_next(
    services: Services, database: SqliteDatabase, ledger: Ledger, book: AlertBook, occur: Any, token: str
) -> None:
    async def told(query: str, events: int) -> list[Event]:
        server = ApiServer(create_app(replace(services, streams=Streams(AlertChanges(database), ledger, pace=QUICK))))
        await server.start("127.0.0.1", 0, None)
        url = f"http://127.0.0.1:{server.address[1]}/api/stream{query}"
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as response:
            found = [await Reader(response).event() for _ in range(events + 1)]
            await server.stop()
        return found[1:]

    await book.record([occur()])
    (first,) = await told("?after=0", 1)
    await book.resolve(1, actor="cli", feed="cli")
    (second,) = await told(f"?after={first.id}", 1)

    assert [first.data["change"], second.data["change"]] == ["opened", "resolved"]


async def test_calls_are_told_as_they_end_refused_ones_too(listen: Open, called: Any) -> None:
    await called()
    async with listen("?types=calls") as reader:
        ready = await reader.event()
        sent, refused = await called(), await called(refused=True)
        events = [await reader.event(), await reader.event()]

    assert ready.data == {"types": ["calls"]}
    assert [(one.name, one.data["id"], one.data["state"]) for one in events] == [
        ("call", sent.id, "settled"),
        ("call", refused.id, "refused"),
    ]
    assert events[0].data["tokens"]["input"] == 1


async def test_only_the_types_asked_for_are_told(listen: Open, called: Any, book: AlertBook, occur: Any) -> None:
    async with listen("?types=alerts") as alerts, listen("?types=calls") as calls:
        assert [(await reader.event()).name for reader in (alerts, calls)] == ["ready", "ready"]
        await called()
        await book.record([occur()])

        assert [(await reader.event()).name for reader in (alerts, calls)] == ["alert", "call"]


async def test_the_ledger_tells_nobody_when_nobody_listens_to_calls(listen: Open, ledger: Ledger, streams: Streams) -> None:
    assert ledger.on_ended is None
    async with listen("?types=alerts") as reader:
        await reader.event()
        assert ledger.on_ended is None
        async with listen("?types=calls") as other:
            await other.event()
            assert ledger.on_ended is not None
        await until(lambda: ledger.on_ended is None)
    await until(lambda: not streams._listeners)  # noqa: SLF001  # who listens


@pytest.mark.parametrize("query", ["?after=x", "?after=1.0", "?after=0.1", "?after=-1", "?types=", "?types=all", "?types=calls,"])
async def test_a_question_that_will_not_do_is_400(listen: Open, query: str) -> None:
    async with listen(query) as reader:
        assert reader.response.status == 400
        assert (await reader.response.json())["error"].startswith("invalid ")


async def test_an_id_that_was_never_given_is_400_in_the_header_too(listen: Open) -> None:
    async with listen(last_id="7.0") as reader:
        assert (reader.response.status, (await reader.response.json())["error"]) == (
            400,
            "invalid Last-Event-ID: no event has had this id",
        )


async def test_head_tells_the_type_and_streams_nothing(listen: Open) -> None:
    async with listen(method="HEAD") as reader:
        assert (reader.response.status, reader.response.content_type) == (200, "text/event-stream")
        assert await reader.ended()


async def test_no_more_streams_than_the_api_has_room_for(listen: Open, streams: Streams) -> None:
    held = [streams.listen(calls=False) for _ in range(AT_MOST)]
    for one in held:
        one.__enter__()

    async with listen() as reader:
        assert (reader.response.status, reader.response.headers["Retry-After"]) == (503, "10")
    held.pop().__exit__(None, None, None)
    async with listen() as reader:
        assert (await reader.event()).name == "ready"


@pytest.mark.parametrize("pace", [replace(QUICK, heartbeat=0.02)])
async def test_a_comment_says_that_a_quiet_stream_lives(listen: Open) -> None:
    async with listen() as reader:
        await reader.event()

        assert [await reader.block() for _ in range(3)] == [[": heartbeat"]] * 3


@pytest.mark.parametrize("pace", [replace(QUICK, recheck=0)])
@pytest.mark.parametrize("ends", ["revoked", "expired", "idle", "logged out", "grant revoked"])
async def test_a_token_that_is_no_longer_good_ends_the_stream(listen: Open, services: Services, clock: Any, ends: str) -> None:
    access = services.access
    made = await access.tokens.create(name="t", scopes=(Scope.ALERTS_READ,), actor="test")
    session = await access.sessions.begin()
    principal = await access.find(session.token)
    grant = await access.grant(client_id=made.token.id, secret=made.secret, scopes=None, source="test")
    bearer = {"revoked": made.secret, "expired": grant.access_token, "grant revoked": grant.access_token}.get(ends, session.token)

    async with listen(bearer=bearer) as reader:
        await reader.event()
        clock.advance(minutes=59)
        await asyncio.sleep(0.05)  # it looks many times, which is no use of the session
        if ends in {"expired", "idle"}:
            clock.advance(minutes=1)
        elif ends == "logged out":
            await access.sessions.end(principal.session_id)
        else:
            await access.tokens.revoke("t", actor="test")
        end = await reader.event()

        assert (end.name, end.data["reason"]) == ("end", "unauthorized")
        assert await reader.ended()


async def test_a_gateway_that_ends_says_so_and_ends_at_once(listen: Open, server: ApiServer, book: AlertBook, occur: Any) -> None:
    await book.record([occur()])
    async with listen("?after=0") as reader:
        await reader.event()
        assert (await reader.event()).id == "1.0"

        async with asyncio.timeout(3):
            await server.stop()

        end = await reader.event()
        assert (end.name, end.id, end.data["reason"], end.data["after"]) == ("end", "1.0", "shutdown", "1.0")
        assert await reader.ended()


async def test_a_store_that_fails_ends_the_stream_with_a_word(listen: Open, database: SqliteDatabase) -> None:
    async with listen() as reader:
        await reader.event()

        await database.close()

        assert (await reader.event()).data["reason"] == "store_failed"


async def test_a_reader_that_lags_behind_the_calls_is_told_so_and_dropped(listen: Open, streams: Streams) -> None:
    async with listen("?types=calls") as reader:
        await reader.event()
        (listener,) = streams._listeners  # noqa: SLF001  # the reader
        listener.hear(["none"] * (MOST_CALLS + 1))

        end = await reader.event()

        assert (end.name, end.data["reason"]) == ("end", "too_slow")
        assert "/api/calls" in end.data["message"]
        assert await reader.ended()


def test_a_reader_hears_of_no_more_calls_than_it_may_lag_behind() -> None:
    listener = Listener()

    listener.hear(["a"] * MOST_CALLS)
    assert not listener.lags
    listener.hear(["b"])

    assert (listener.lags, len(listener.calls)) == (True, MOST_CALLS)


@pytest.fixture
async def stuck(server: ApiServer, token: str, book: AlertBook, occur: Any) -> AsyncIterator[asyncio.StreamReader]:
    """Return a reader of more alerts than fit on the way to it, which reads nothing by itself."""
    for number in range(4):
        await book.record([occur(episode=(f"{number}.{one}",), evidence={"text": "x" * 60_000}) for one in range(50)])
    reader, writer = await asyncio.open_connection("127.0.0.1", server.address[1], limit=1024)
    host = f"Host: 127.0.0.1:{server.address[1]}\r\nAuthorization: Bearer {token}"
    writer.write(f"GET /api/stream?after=0 HTTP/1.1\r\n{host}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    yield reader
    writer.transport.abort()


@pytest.mark.parametrize("pace", [replace(QUICK, patience=0.2)])
@pytest.mark.usefixtures("stuck")
async def test_a_reader_that_takes_nothing_is_dropped_and_slows_nobody(
    streams: Streams, book: AlertBook, occur: Any, listen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.stream._FAREWELL_SECONDS", 0.2)
    await until(lambda: bool(streams._listeners))  # noqa: SLF001  # who listens
    async with listen() as other:
        await other.event()
        await book.record([occur(episode=("new",))])
        assert (await other.event()).data["change"] == "opened"

    await until(lambda: not streams._listeners)  # noqa: SLF001  # the same


@pytest.mark.parametrize("pace", [replace(QUICK, patience=0.2)])
async def test_a_slow_reader_finds_why_it_was_dropped_as_its_last_event(
    stuck: asyncio.StreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped, farewell = asyncio.Event(), _Stream._farewell  # noqa: SLF001  # to know when

    async def told(stream: _Stream, end: End) -> None:
        dropped.set()
        await farewell(stream, end)

    monkeypatch.setattr(_Stream, "_farewell", told)
    async with asyncio.timeout(SECONDS):
        await dropped.wait()
        rest = await stuck.read()

    _, _, last = rest.rpartition(b"event: end\n")
    assert b'"reason":"too_slow"' in last
    resumed = json.loads(last.partition(b"data: ")[2].splitlines()[0])["after"]
    assert rest.count(b"event: alert") == int(resumed.partition(".")[0]) < 200
