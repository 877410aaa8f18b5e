"""A running answer that has used up its budget is held up while others may still give back, and ended when none can."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from alerting.finding import AlertKind
from metering.call import Ending

LEASED = {"name": "b", "limit": "400 tokens", "quantum": 100, "wait": "60s"}
READ = 8
"""The tokens of each prompt."""


class Answers:
    """The proxy's part: what it was told to hold up, to let go on and to end."""

    def __init__(self, world: Any, *, can_hold_up: bool = True) -> None:
        self.told: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._can = can_hold_up
        world.gate.on_hold_up = self._hold_up
        world.gate.on_go_on = lambda call_id: self.told.append(("goes on", call_id))
        world.gate.on_cut = self._cut

    def _hold_up(self, call_id: str) -> bool:
        if self._can:
            self.told.append(("held up", call_id))
        return self._can

    def _cut(self, call_id: str, verdict: Any) -> None:
        self.told.append(("ended", call_id))
        self.words.append(verdict.message)


@pytest.fixture
def stream(a_call: Any) -> Callable[..., Any]:
    return lambda **changes: a_call(**{"streamed": True, "max_output_tokens": None, "text": "x" * 4, **changes})


async def quiet(world: Any) -> None:
    """Let all that was asked for be answered."""
    for _ in range(10):
        await world.ledger.drain()
        await asyncio.sleep(0)


async def begin(world: Any, *calls: Any) -> None:
    for call in calls:
        assert not (await world.gate.admit(call)).blocked


async def pass_on(world: Any, call: Any, *, to: int) -> None:
    """Let an answer run up to so many tokens, slowly."""
    for passed in range(10, to + 1, 10):
        world.gate.progress(call.id, output_tokens=passed)
        await quiet(world)


async def test_an_answer_waits_for_what_another_call_holds_and_goes_on(worlds: Any, stream: Any, a_call: Any) -> None:
    world = worlds(budgets=[LEASED])
    answers, other, call = Answers(world), a_call(max_output_tokens=192), stream()
    await begin(world, other, call)
    used_up = 400 - 200 - READ

    await pass_on(world, call, to=used_up + 8)
    assert answers.told == [("held up", call.id)]
    world.answer(other, input_tokens=READ, output_tokens=10)
    await quiet(world)

    assert answers.told == [("held up", call.id), ("goes on", call.id)]
    assert await world.alerts(AlertKind.BUDGET_EXCEEDED) == []
    await pass_on(world, call, to=300)
    assert len(answers.told) == 2


async def test_an_answer_is_ended_when_nothing_comes_back_in_time(worlds: Any, stream: Any, a_call: Any) -> None:
    world = worlds(budgets=[{**LEASED, "wait": "0.02s"}])
    answers, other, call = Answers(world), a_call(max_output_tokens=192), stream()
    await begin(world, other, call)

    await pass_on(world, call, to=200)
    async with asyncio.timeout(60):
        while ("ended", call.id) not in answers.told:  # noqa: ASYNC110 - the deadline is the loop's own
            await asyncio.sleep(0.005)

    assert answers.told == [("held up", call.id), ("ended", call.id)]
    assert "it ends here" in answers.words[0]


async def test_of_answers_that_wait_for_each_other_the_one_let_through_last_is_ended(worlds: Any, stream: Any) -> None:
    world = worlds(budgets=[LEASED])
    answers, first, second = Answers(world), stream(), stream()
    await begin(world, first, second)
    await pass_on(world, second, to=100)
    await pass_on(world, first, to=284)
    assert ("ended", second.id) not in answers.told

    for passed in (190, 200, 250):
        world.gate.progress(second.id, output_tokens=passed)
        await quiet(world)
    for passed in (290, 300, 350):
        world.gate.progress(first.id, output_tokens=passed)
        await quiet(world)

    assert [told for told in answers.told if told[0] == "ended"] == [("ended", second.id)]
    world.gate.settle(second, world.reply(ending=Ending.CUT), None)
    await quiet(world)
    assert answers.told[-1][1] == first.id


async def test_a_ring_is_not_ended_while_a_call_runs_that_may_break_it(worlds: Any, stream: Any, a_call: Any) -> None:
    narrow = {"name": "narrow", "scope": {"user": "ada"}, "limit": "300 tokens", "quantum": 100, "wait": "60s"}
    world = worlds(budgets=[{**LEASED, "limit": "600 tokens"}, narrow])
    ada, other = stream(caller={"user": "ada"}), stream()
    whole = a_call(max_output_tokens=150)
    answers = Answers(world)
    await begin(world, ada, other, whole)

    await pass_on(world, ada, to=300)  # all that is narrow
    assert answers.told == [("held up", ada.id), ("ended", ada.id)], "nobody else holds of what it waits for"
    world.answer(ada, input_tokens=READ, output_tokens=292)
    await quiet(world)
    await pass_on(world, other, to=160)
    assert ("held up", other.id) in answers.told
    assert ("ended", other.id) not in answers.told
    world.answer(whole, input_tokens=READ, output_tokens=20)
    await quiet(world)
    assert answers.told[-1] == ("goes on", other.id)


async def test_an_answer_that_waits_for_one_that_may_go_on_is_no_ring(worlds: Any, stream: Any, a_call: Any) -> None:
    narrow = {"name": "narrow", "scope": {"user": "ada"}, "limit": "300 tokens", "quantum": 100, "wait": "60s"}
    world = worlds(budgets=[{**LEASED, "scope": {"model": "gpt-4o"}, "limit": "300 tokens"}, narrow])
    ada, other = stream(caller={"user": "ada"}), stream()
    small = a_call(model="gpt-4o-mini", max_output_tokens=100, caller={"user": "ada"})
    answers = Answers(world)
    await begin(world, small, ada, other)

    await pass_on(world, ada, to=190)  # waits for the narrow one, which `small` holds
    await pass_on(world, other, to=110)  # waits for the wide one, which `ada` holds
    assert answers.told == [("held up", ada.id), ("held up", other.id)]
    world.answer(small, input_tokens=READ, output_tokens=1)
    await quiet(world)

    assert answers.told[2:] == [("ended", other.id)], "now both wait for the wide one, and nobody else holds of it"


async def test_an_answer_that_cannot_be_held_up_is_ended_at_once(worlds: Any, stream: Any, a_call: Any) -> None:
    world = worlds(budgets=[LEASED])
    answers, other, call = Answers(world, can_hold_up=False), a_call(max_output_tokens=192), stream()
    await begin(world, other, call)

    await pass_on(world, call, to=200)

    assert answers.told == [("ended", call.id)]


async def test_a_client_that_leaves_while_its_answer_waits_is_forgotten(worlds: Any, stream: Any, a_call: Any) -> None:
    world = worlds(budgets=[{**LEASED, "wait": "0.05s"}])
    answers, other, call = Answers(world), a_call(max_output_tokens=192), stream()
    await begin(world, other, call)
    await pass_on(world, call, to=200)

    world.gate.settle(call, world.reply(ending=Ending.CLIENT_ABORT), None)
    await asyncio.sleep(0.1)
    await quiet(world)

    assert answers.told == [("held up", call.id)]


async def test_the_proxy_may_give_an_answer_up_that_it_holds(worlds: Any, stream: Any, a_call: Any) -> None:
    world = worlds(budgets=[LEASED])
    answers, other, call, plain = Answers(world), a_call(max_output_tokens=92), stream(), stream()
    await begin(world, other, call, plain)
    await pass_on(world, call, to=200)

    world.gate.give_up(call.id)
    world.gate.give_up(plain.id)  # it asked for nothing yet, or its request is still with the store
    world.gate.give_up("nobody")

    assert answers.told == [("held up", call.id), ("ended", call.id), ("goes on", plain.id)]


async def test_a_burst_is_held_up_until_all_of_it_is_held(worlds: Any, stream: Any, a_call: Any) -> None:
    world = worlds(budgets=[{**LEASED, "limit": "1000 tokens"}])
    answers, others, call = Answers(world), [a_call(max_output_tokens=392) for _ in range(2)], stream()
    await begin(world, *others, call)
    await pass_on(world, call, to=190)
    world.gate.progress(call.id, output_tokens=600)
    await quiet(world)

    assert answers.told == [("held up", call.id)]
    for other in others:
        world.answer(other, input_tokens=READ, output_tokens=40)
        await quiet(world)

    assert answers.told == [("held up", call.id), ("goes on", call.id)]
    (held,) = await world.database.read("SELECT held FROM budget_periods")
    assert held[0] >= READ + 600


async def test_no_ring_is_ended_before_the_prompts_in_it_are_counted(
    worlds: Any, stream: Any, a_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {**LEASED, "name": "small", "scope": {"model": "gpt-4o-mini"}}
    world = worlds(budgets=[{**LEASED, "scope": {"model": "gpt-4o"}, "limit": "80000 tokens"}, small])
    counter, go = world.gate._counter, threading.Event()  # noqa: SLF001 - the gate's own
    count_now, answers = counter.count_now, Answers(world)
    long, late = a_call(text="the toll of the road " * 3_600), stream(model="gpt-4o-mini", text="the toll of the road " * 10)

    def count_slowly(prompt: Any, **more: Any) -> int:
        assert go.wait(10)
        return int(count_now(prompt, **more))

    monkeypatch.setattr(counter, "count_now", count_slowly)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(8):
        await begin(world, long)
        waits = tasks.create_task(world.gate.admit(a_call(max_output_tokens=30_000)))
        while not world.ledger.waiting:  # noqa: ASYNC110 - the ledger tells nobody that a call waits
            await asyncio.sleep(0)
        await begin(world, late)
        await pass_on(world, late, to=170)  # all that is left beside the bound of its prompt
        world.answer(long, input_tokens=9, output_tokens=9)  # so that counting it gives nothing back
        await quiet(world)
        before = [*answers.told]
        go.set()
        while len(answers.told) == len(before):
            await quiet(world)

    assert not waits.result().blocked
    assert before[-1] == ("held up", late.id)
    assert answers.told[-1] == ("goes on", late.id)
    assert "ended" not in dict(answers.told)
