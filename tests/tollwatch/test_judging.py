"""A call is settled by the gate that admitted it, whatever is in force by then."""

from typing import Any, cast

import pytest
import structlog

from alerting.finding import Action, Refusal, Verdict
from storage.database import StoreError
from tollwatch.judging import Judge


class Call:
    def __init__(self, call_id: str) -> None:
        self.id = call_id


class Gate:
    """Remembers what it was asked."""

    def __init__(self, action: Action = Action.ALLOW) -> None:
        self.action = action
        self.settled: list[str] = []
        self.heard: list[object] = []

    async def admit(self, _call: Call) -> Verdict:
        return Verdict(action=self.action)

    async def refuse(self, _call: Call, *, refusal: Refusal, message: str) -> Verdict:
        return Verdict(action=self.action, refusal=refusal, message=message)

    def reader(self, _call: Call, *, content_type: str | None, headers: Any = None) -> Any:  # noqa: ARG002  # as the gate takes it
        return content_type

    def give_up(self, call_id: str) -> None:
        self.heard.append(call_id)

    def settle(self, call: Call, _reply: object, _facts: object) -> Any:
        self.settled.append(call.id)

    def on_settled(self, settled: object) -> None:
        self.heard.append(settled)

    def on_health(self, failure: object) -> None:
        self.heard.append(failure)

    def degraded(self, component: str, message: str) -> None:
        self.heard.append((component, message))

    def recovered(self, component: str) -> None:
        self.heard.append(component)


def judge_of(gate: Gate) -> Any:
    judge = Judge()
    judge.swap(cast("Any", gate))
    return judge


async def test_a_call_in_flight_is_settled_where_it_was_admitted() -> None:
    old, new = Gate(), Gate()
    judge = judge_of(old)
    await judge.admit(Call("a"))
    await judge.refuse(Call("b"), refusal=Refusal.UNREADABLE, message="monitor mode lets it pass")

    judge.swap(new)
    await judge.admit(Call("c"))
    for name in "abc":
        judge.settle(Call(name), None, None)

    assert (old.settled, new.settled) == (["a", "b"], ["c"])


async def test_nothing_is_remembered_of_a_blocked_call() -> None:
    judge = judge_of(Gate(Action.BLOCK))
    await judge.admit(Call("a"))
    await judge.refuse(Call("b"), refusal=Refusal.UNREADABLE, message="")

    new = Gate()
    judge.swap(new)
    judge.settle(Call("a"), None, None)

    assert new.settled == ["a"]


async def test_answers_are_held_up_by_whoever_listens_and_given_up_where_they_were_admitted() -> None:
    old, new = Gate(), Gate()
    judge = judge_of(old)
    await judge.admit(Call("a"))
    judge.swap(cast("Any", new))
    gate: Any = new
    told: list[tuple[str, str]] = []

    assert not gate.on_hold_up("a")
    gate.on_go_on("a")
    judge.on_hold_up = lambda call_id: told.append(("held up", call_id)) is None
    judge.on_go_on = lambda call_id: told.append(("goes on", call_id))
    assert gate.on_hold_up("a")
    gate.on_go_on("a")
    judge.give_up("a")
    judge.give_up("b")

    assert told == [("held up", "a"), ("goes on", "a")]
    assert (old.heard, new.heard) == (["a"], [])


def test_what_the_ledger_says_is_passed_on() -> None:
    gate = Gate()
    judge = judge_of(gate)

    judge.on_settled([])
    judge.on_health(None)

    assert gate.heard == [[], None]
    assert judge.reader(Call("a"), content_type="text/plain") == "text/plain"


def test_a_store_that_fails_is_said_once_and_so_is_its_recovery() -> None:
    judge = judge_of(Gate())

    with structlog.testing.capture_logs() as lines:
        judge.on_health(None)
        judge.on_health(StoreError("Cannot write to a.db: the disk is full. Free some space"))
        judge.on_health(None)
        judge.on_health(None)

    assert [(line["log_level"], line["event"]) for line in lines] == [("error", "store_failing"), ("info", "store_well_again")]
    assert lines[0]["message"] == "Cannot write to a.db: the disk is full. Free some space"


def test_judging_before_the_wiring_is_a_fault() -> None:
    with pytest.raises(RuntimeError, match="before it is wired"):
        Judge().gate  # noqa: B018  # the property raises


def test_that_somebody_was_not_told_of_an_alert_is_said_and_taken_back() -> None:
    gate = Gate()
    judge = judge_of(gate)

    judge.on_channel("The webhook x was not told")
    judge.on_channel(None)

    assert gate.heard == [("channel", "The webhook x was not told"), "channel"]
