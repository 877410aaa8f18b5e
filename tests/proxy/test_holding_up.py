"""A running answer is held up and goes on: not a byte is lost, none passes meanwhile, its upstream is not read where that can be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest

from alerting.finding import Action, Refusal, Verdict
from proxy import holding_up
from tests.proxy.test_protocols import Http2
from tests.support import answers
from tests.support.asking import step_by_step
from tests.support.client import Connection

STREAM = orjson.dumps(
    {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "stream_options": {"include_usage": True}}
)
VERDICT = Verdict(action=Action.BLOCK, refusal=Refusal.BUDGET, message="Budget 'tiny' has nothing left; raise it", rule_id="tiny")
HOST, PATH = "api.openai.com", "/v1/chat/completions"
EVENTS = [b'data: {"choices":[{"index":0,"delta":{"content":"' + b"%d" % number * 40 + b'"}}]}\n\n' for number in range(6)]


@pytest.fixture(params=["not read", "kept"])
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the upstream connection is taken for one that others share, as those of HTTP/2 are."""
    if request.param == "kept":
        monkeypatch.setattr("proxy.holding_up.SHARED", {None, b"", b"http/1.1"})
    return bool(request.param == "kept")


@pytest.fixture
async def house(open_house: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A house in which every stream is followed."""
    monkeypatch.setattr("proxy.cutting._BETWEEN_EVENTS_WITHIN", timedelta(seconds=60))
    house = await open_house()
    house.gate.may_cut = lambda _call_id: True
    yield house
    house.provider.release()


def stream(*chunks: bytes, **more: Any) -> Any:
    return answers.sse(chunks or EVENTS, **{"stepped": True, **more})


async def begin(house: Any, answer: Any, *, chunks: int, door: str = "forward") -> Connection:
    """Ask for a stepped stream, and take so many chunks of it."""
    house.provider.script = lambda _: answer
    plain = door == "base_url"
    connection = await (Connection.to(house.base_url) if plain else house.through(HOST))
    host, path = (house.base_url, f"/openai{PATH}") if plain else (HOST, PATH)
    await connection.send("POST", path, headers=[("host", host), ("content-type", "application/json")], pieces=[STREAM])
    async with asyncio.timeout(30):
        await step_by_step(connection, house.provider, chunks=chunks)
    return connection


def live_of(house: Any) -> Any:
    (live,) = house.proxy.calls.open.values()
    return live


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.001)


async def hold_up(house: Any) -> Any:
    """Hold the only call up; return it once that is done."""
    live = live_of(house)
    assert house.gate.on_hold_up(live.call.id)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return live


async def arrive(house: Any, *, kept: int, shared: bool, monkeypatch: pytest.MonkeyPatch, steps: int | None = None) -> None:
    """Let the provider send on, and wait until as many events of it are kept as `kept` says, where it is read."""
    came: list[object] = []
    keep = holding_up.Kept.__call__

    def noted(self: Any, event: Any) -> Any:
        came.append(event)
        return keep(self, event)

    monkeypatch.setattr(holding_up.Kept, "__call__", noted)
    for _ in range(kept if steps is None else steps):
        house.provider.step()
    if shared:
        await until(lambda: len(came) >= kept)
    else:
        await asyncio.sleep(0.02)  # that nothing comes cannot be waited for; where it came, what follows fails
        assert came == []


async def rest_of(connection: Connection) -> Any:
    return await asyncio.wait_for(connection.receive(), 30)


@pytest.mark.parametrize("door", ["forward", "base_url"])
async def test_nothing_passes_until_it_goes_on_and_then_all_of_it(
    house: Any, monkeypatch: pytest.MonkeyPatch, door: str, *, shared: bool
) -> None:
    connection = await begin(house, stream(), chunks=3, door=door)
    live = await hold_up(house)
    passed = live.tap.passed

    await arrive(house, kept=2, shared=shared, monkeypatch=monkeypatch)
    assert live.tap.passed == passed
    house.gate.on_go_on(live.call.id)
    house.provider.step()
    rest = await rest_of(connection)

    assert (rest.whole, rest.body) == (True, b"".join(EVENTS[3:]))
    assert (await house.row(ending="completed")).response_bytes == sum(map(len, EVENTS))
    assert connection.reusable
    connection.abort()


async def test_an_end_that_came_meanwhile_is_told_when_it_goes_on(house: Any, monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> None:
    connection = await begin(house, stream(*EVENTS[:3]), chunks=2)
    live = await hold_up(house)

    await arrive(house, kept=2, shared=shared, monkeypatch=monkeypatch, steps=1)
    assert live.call.id in house.proxy.calls.open
    house.gate.on_go_on(live.call.id)
    rest = await rest_of(connection)

    assert (rest.whole, rest.body) == (True, EVENTS[2])
    connection.abort()


async def test_one_that_goes_on_before_it_is_held_up_lost_nothing(house: Any, *, shared: bool) -> None:
    connection = await begin(house, stream(*EVENTS[:3]), chunks=2)
    live = live_of(house)

    assert house.gate.on_hold_up(live.call.id)
    house.gate.on_go_on(live.call.id)
    house.gate.on_go_on(live.call.id)
    house.provider.step()

    assert (await rest_of(connection)).body == EVENTS[2]
    assert isinstance(shared, bool)
    connection.abort()


async def test_one_that_is_held_up_between_two_events_is_ended_there(house: Any, monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> None:
    connection = await begin(house, stream(), chunks=3)
    live = await hold_up(house)
    await arrive(house, kept=2, shared=shared, monkeypatch=monkeypatch)

    house.gate.on_cut(live.call.id, VERDICT)
    rest = await rest_of(connection)

    assert rest.whole
    assert rest.body.startswith(b'data: {"error"')
    assert b"has nothing left" in rest.body
    assert (await house.row(ending="cut")).output_tokens > 0
    connection.abort()


async def test_one_that_is_held_up_within_an_event_is_ended_after_it(house: Any, monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> None:
    first, second, third = EVENTS[:3]
    connection = await begin(house, stream(first, second[:30], second[30:], third), chunks=2)
    live = await hold_up(house)
    await arrive(house, kept=3, shared=shared, monkeypatch=monkeypatch, steps=2)

    house.gate.on_cut(live.call.id, VERDICT)
    rest = await rest_of(connection)

    assert rest.whole
    assert rest.body.startswith(second[30:] + b'data: {"error"')
    assert third not in rest.body
    await house.row(ending="cut")
    connection.abort()


async def test_a_client_that_leaves_an_answer_that_is_held_up_has_left(house: Any, *, shared: bool) -> None:
    connection = await begin(house, stream(), chunks=3)
    live = await hold_up(house)

    connection.abort()

    assert (await house.row(ending="client_abort")).id == live.call.id
    house.gate.on_go_on(live.call.id)
    assert not house.gate.on_hold_up(live.call.id)
    assert isinstance(shared, bool)


async def test_an_upstream_that_breaks_off_meanwhile_has_broken_off(house: Any, *, shared: bool) -> None:
    connection = await begin(house, stream(*EVENTS[:3], then="reset"), chunks=3)
    live = await hold_up(house)

    house.gate.on_go_on(live.call.id)
    rest = await rest_of(connection)

    assert (rest.whole, rest.body) == (False, b"")
    assert (await house.row(ending="upstream_reset")).id == live.call.id
    assert isinstance(shared, bool)
    connection.abort()


async def test_what_is_used_up_by_what_was_kept_is_held_up_again(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.holding_up.SHARED", {None, b"", b"http/1.1"})
    monkeypatch.setattr("proxy.gauge.STEP", 1)
    connection = await begin(house, stream(), chunks=2)
    live = await hold_up(house)
    await arrive(house, kept=5, shared=True, monkeypatch=monkeypatch, steps=4)
    asked: list[int] = []

    def progress(call_id: str, *, output_tokens: int) -> None:
        asked.append(output_tokens)
        if len(asked) <= 2:
            assert house.gate.on_hold_up(call_id)

    house.gate.progress = progress
    before = live.tap.passed
    for event in EVENTS[2:4]:
        house.gate.on_go_on(live.call.id)
        before += len(event)
        await until(lambda reached=before: live.tap.passed >= reached)
        await asyncio.sleep(0.01)
        assert live.tap.passed == before
    house.gate.on_go_on(live.call.id)
    rest = await rest_of(connection)

    assert (rest.whole, rest.body) == (True, b"".join(EVENTS[2:]))
    connection.abort()


async def test_an_answer_that_brings_too_much_meanwhile_is_given_up(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up: list[str] = []
    monkeypatch.setattr("proxy.holding_up.SHARED", {None, b"", b"http/1.1"})
    monkeypatch.setattr("proxy.holding_up.MOST_KEPT", len(EVENTS[0]) * 3 // 2)
    connection = await begin(house, stream(), chunks=2)
    live = live_of(house)
    held = holding_up.HoldingUp(calls=house.proxy.calls, post=house.proxy._post, read=house.proxy._read, give_up=given_up.append)  # noqa: SLF001 - the proxy's own
    assert held.hold_up(live.call.id)

    house.provider.step()
    house.provider.step()
    await until(lambda: bool(given_up))
    house.gate.on_cut(live.call.id, VERDICT)

    assert given_up == [live.call.id]
    assert (await rest_of(connection)).body.startswith(b'data: {"error"')
    connection.abort()


async def test_what_is_no_running_stream_cannot_be_held_up(house: Any) -> None:
    house.provider.script = lambda _: answers.Answer(chunks=[b"{}"], then="hang", after_chunks=0)
    connection = await house.through(HOST)
    await connection.send("POST", PATH, headers=[("host", HOST), ("content-type", "application/json")], pieces=[STREAM])
    await until(lambda: bool(house.proxy.calls.open))

    assert not house.gate.on_hold_up(live_of(house).call.id)
    assert not house.gate.on_hold_up("nobody")
    connection.abort()


async def test_over_http2_one_stream_is_held_up_and_the_others_pass(house: Any) -> None:
    house.provider.script = lambda _: stream(*EVENTS[:2])
    client = await Http2.open(house, HOST)
    streams = [client.ask(HOST, STREAM) for _ in range(2)]
    await client.receive(lambda client: all(each in client.answers and client.answers[each][1] for each in streams))
    held, free = streams
    call_id = client.answers[held][0]["x-tollwatch-call"]

    assert house.gate.on_hold_up(call_id)
    await asyncio.sleep(0)
    house.provider.step()
    house.provider.step()
    await client.receive(lambda client: free in client.ended)
    assert held not in client.ended
    assert bytes(client.answers[held][1]) == EVENTS[0]
    house.gate.on_go_on(call_id)
    await client.receive(lambda client: held in client.ended)

    assert bytes(client.answers[held][1]) == b"".join(EVENTS[:2])
    client.close()
