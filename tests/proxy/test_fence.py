"""A failure of the gateway's own code: in closed mode nothing leaves, in open mode all passes, and either way it is counted."""

from typing import Any

import orjson
import pytest

from proxy import flows
from proxy.addon import TollwatchAddon
from proxy.fence import hooks_of
from tests.support import answers

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})


class Panic(BaseException):  # what a native module raises
    pass


FAILURES = [ValueError, RecursionError, MemoryError, KeyboardInterrupt, Panic]

BEFORE_SENDING = {
    "connect": ("_forward", "connect"),
    "hello": ("_forward", "hello"),
    "next_layer": ("_forward", "next_layer"),
    "provider": ("_forward", "provider"),
    "names": ("_forward", "names"),
    "identity": ("_identity", "without_private"),
    "meaning": ("_calls", "meaning"),
    "call": ("_calls", "call"),
    "judge": ("_calls", "judge"),
    "dialing": ("_dialing", "connect"),
}


def fail(monkeypatch: pytest.MonkeyPatch, house: Any, part: str, method: str, error: type[BaseException]) -> None:
    def raising(*_: object, **__: object) -> None:
        raise error("forced")

    monkeypatch.setattr(getattr(house.proxy.addon, part), method, raising)


@pytest.mark.parametrize("error", FAILURES)
@pytest.mark.parametrize("place", BEFORE_SENDING)
async def test_a_failure_before_sending_is_a_json_error_and_nothing_leaves(
    house: Any, monkeypatch: pytest.MonkeyPatch, place: str, error: type[BaseException]
) -> None:
    fail(monkeypatch, house, *BEFORE_SENDING[place], error)

    status, body = await ask(house)

    assert status in {502, 503}
    assert "error" in orjson.loads(body)
    assert house.provider.connections == 0
    assert sum(house.counted("tollwatch_hook_failures_total", hook=hook) for hook in hooks_of(TollwatchAddon)) >= 1


async def ask(house: Any) -> tuple[int, bytes]:
    try:
        response = await house.post(CHAT)
    except Exception as error:  # noqa: BLE001  # a tunnel that was refused: the client's error has status and head
        status, head = error.args
        return status, head.partition(b"\r\n\r\n")[2] or b'{"error":{}}'
    return response.status, response.body


async def test_every_hook_stands_inside_the_fence() -> None:
    public = {name for name, member in vars(TollwatchAddon).items() if callable(member) and not name.startswith("_")}

    assert public - set(hooks_of(TollwatchAddon)) == {"hook_failed"}


async def test_a_call_whose_judge_fails_after_it_began_is_recorded_as_failed(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = house.proxy.calls.judge

    async def judge_and_fail(*arguments: Any, **more: Any) -> None:
        await judge(*arguments, **more)
        raise Panic

    monkeypatch.setattr(house.proxy.calls, "judge", judge_and_fail)

    response = await house.post(CHAT)

    assert (response.status, orjson.loads(response.body)["error"]["code"]) == (503, "tollwatch_degraded")
    assert house.provider.connections == 0
    row = await house.row(ending="failed")
    assert (row.id, row.source) == (response.call_id, "none")


@pytest.mark.parametrize("error", FAILURES)
async def test_in_open_mode_a_failing_judge_lets_the_call_pass_and_is_counted(
    open_house: Any, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    house = await open_house(proxy={"on_error": "open"})
    fail(monkeypatch, house, "_calls", "judge", error)

    response = await house.post(CHAT)

    assert response.status == 200
    assert len(house.provider.seen) == 1
    assert house.counted("tollwatch_hook_failures_total", hook="request") == 1


@pytest.mark.parametrize("mode", ["closed", "open"])
@pytest.mark.parametrize("error", FAILURES)
async def test_an_answer_whose_tap_fails_still_passes_whole(
    open_house: Any, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], mode: str
) -> None:
    house = await open_house(proxy={"on_error": mode})

    class Reader:
        def feed(self, _: bytes) -> None:
            raise error

    monkeypatch.setattr(house.gate, "reader", lambda *_, **__: Reader())

    response = await house.post(CHAT)

    assert response.whole
    assert response.body == answers.chat(orjson.loads(CHAT)).chunks[0]
    assert house.counted("tollwatch_hook_failures_total", hook="tap") == 1
    assert (await house.row(ending="completed")).source == "billed_unseen"


@pytest.mark.parametrize("mode", ["closed", "open"])
@pytest.mark.parametrize("hook", ["responseheaders", "response"])
async def test_a_failure_after_sending_lets_the_answer_pass_and_the_call_ends(
    open_house: Any, monkeypatch: pytest.MonkeyPatch, hook: str, mode: str
) -> None:
    house = await open_house(proxy={"on_error": mode})

    def raising(*_: object, **__: object) -> None:
        raise Panic

    monkeypatch.setattr(house.proxy.calls, {"responseheaders": "tap", "response": "end"}[hook], raising)

    response = await house.post(CHAT)

    assert (response.status, response.whole) == (200, True)
    assert house.counted("tollwatch_hook_failures_total", hook=hook) == 1
    assert (await house.row()).ending == "completed"


async def test_a_refusal_survives_a_failure_on_its_way_out(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "live_of", None)

    response = await house.post(b"{", path="/v1/chat/completions")

    assert response.status == 400
    assert house.provider.connections == 0
