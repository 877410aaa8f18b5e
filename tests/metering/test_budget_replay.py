"""What a budget would have done to calls whose rows do not tell all: sure where that is certain, else unknown."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metering.budget_replay import BudgetReplay
from metering.ledger_rows import LedgerRow
from metering.quote import Rates, quoted
from metering.recorded import Recorded, Step
from metering.replay_told import Told
from metering.settings import BudgetSettings
from metering.terms import Terms
from storage.times import to_micros

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CENT = 10_000_000


def a_row(number: int, *, cost: int | None = CENT, hold: int = 2 * CENT, begins: float = 0, lasts: float = 1, **more: Any) -> LedgerRow:
    """Return the row of a call that began `begins` minutes after noon; what it is not told is a settled chat of one cent."""
    started_at = NOON + timedelta(minutes=begins)
    values: dict[str, Any] = dict.fromkeys(LedgerRow.__dataclass_fields__)
    values |= {
        "id": f"call-{number}",
        "started_at": started_at,
        "ended_at": started_at + timedelta(minutes=lasts),
        "state": "settled",
        "verdict": "allow",
        "door": "forward",
        "provider": "openai",
        "service": "openai",
        "operation": "chat",
        "endpoint": "chat",
        "wire_format": "openai.chat",
        "method": "POST",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "request_model": "gpt-4o",
        "streamed": False,
        "request_bytes": 100,
        "input_tokens": 60,
        "output_tokens": 40,
        "cost_nano": cost,
        "source": "unpriced" if cost is None else "provider_reported",
        "hold_nano": hold,
        "hold_tokens": 500,
    }
    return LedgerRow(**{**values, **more})


def replayed(rows: list[LedgerRow], *, mode: str = "enforce", since: datetime = NOON, **settings: Any) -> Told:
    budget = BudgetSettings.model_validate({"name": "b", "limit": "0.05 USD", **settings})
    replay = BudgetReplay([budget], mode=mode, told_since=since)  # type: ignore[arg-type]  # the tests say which
    replay.add([Recorded(row=row) for row in rows])
    replay.end()
    return replay.told["b"]


def one_after_another(count: int, **more: Any) -> list[LedgerRow]:
    return [a_row(number, begins=2 * number, **more) for number in range(count)]


def test_each_share_is_reached_by_the_call_whose_settlement_reaches_it() -> None:
    replay = replayed(one_after_another(8), on_exceed="alert", warn_at=[0.4, 0.8])

    assert [(one.call_id, one.share, one.spent) for one in replay.crossings] == [
        ("call-1", 0.4, 2 * CENT),
        ("call-3", 0.8, 4 * CENT),
        ("call-4", 1.0, 5 * CENT),
    ]
    assert (replay.calls, replay.refused, replay.unknown) == (8, 0, 0)


def test_a_spent_budget_refuses_and_what_it_refuses_is_not_spent() -> None:
    replay = replayed(one_after_another(8))

    # The fifth fits by what it cost, and not by what it could have cost: what was held of it is not kept.
    assert (replay.refused, replay.unknown) == (0, 4)
    assert replayed(one_after_another(8, hold=CENT)).refused == 3
    assert [row.id for row in replayed(one_after_another(8, hold=CENT)).samples] == ["call-5", "call-6", "call-7"]


def test_in_monitor_mode_what_is_refused_is_spent_all_the_same() -> None:
    replay = replayed(one_after_another(12), mode="monitor")

    assert (replay.refused, replay.unknown) == (7, 1)
    assert replay.crossings[-1].spent == 5 * CENT


def test_calls_at_the_same_time_hold_their_dearest() -> None:
    rows = [a_row(number, begins=0.1 * number, lasts=10) for number in range(4)]

    replay = replayed(rows)

    assert (replay.refused, replay.unknown) == (0, 2)


def test_a_period_begins_anew_and_its_beginning_before_the_span_counts_untold() -> None:
    rows = [a_row(number, begins=60 * 6 * number, hold=CENT, cost=3 * CENT) for number in range(6)]

    replay = replayed(rows, mode="monitor", since=NOON + timedelta(hours=5), warn_at=[])

    assert [(one.call_id, one.starts_at.day) for one in replay.crossings] == [("call-1", 10), ("call-3", 11)]
    assert replay.calls == 5


TOKENS: list[tuple[dict[str, Any], int]] = [
    ({}, 100),
    ({"units": '{"billed_input_tokens": 10, "billed_output_tokens": 2}'}, 12),
    ({"output_tokens": None}, 60),
    ({"output_tokens": None, "source": "estimated"}, 500),
    ({"input_tokens": None, "output_tokens": None}, 500),
    ({"source": "none"}, 0),
    ({"source": "deferred"}, 0),
]


@pytest.mark.parametrize(("more", "charged"), TOKENS)
def test_tokens_are_charged_as_the_ledger_charges_them(more: Any, charged: Any) -> None:
    replay = replayed([a_row(0, **more)], limit="1 tokens", on_exceed="alert")

    assert [one.spent for one in replay.crossings[-1:]] == ([charged] if charged else [])


def test_a_stream_of_unknown_cost_counts_with_the_least_and_is_said_to() -> None:
    replay = replayed([a_row(0, cost=None, hold=6 * CENT, streamed=True), a_row(1, begins=5)])

    assert (replay.crossings, replay.uncertain, replay.unknown) == ([], 1, 2)


def test_what_is_refused_free_or_not_of_the_scope_holds_nothing() -> None:
    rows = [
        a_row(0, begins=0, state="refused", status=402),
        a_row(1, begins=1, state="refused", status=403),
        a_row(2, begins=2, method="GET", path="/v1/models", wire_format=None, source="none", cost=None),
        a_row(3, begins=3, request_model="o3", cost=9 * CENT),
        a_row(4, begins=4, state="intent", ended_at=None, source=None, cost=None, hold=CENT),
    ]

    replay = replayed(rows, scope={"model": "gpt-*"}, on_exceed="block")
    everything = replayed(rows)

    assert (replay.calls, replay.refused, replay.refused_live, replay.crossings) == (4, 0, 1, [])
    assert (everything.calls, everything.refused) == (5, 1)


def test_an_unread_call_leaves_nothing_certain() -> None:
    rows = [a_row(0, wire_format=None, path="/v1/new", source="unmetered", cost=None, hold=0), a_row(1, begins=5)]

    assert (replayed(rows).refused, replayed(rows).unknown) == (0, 1)


FIRST = to_micros(NOON)
"""What the numbers of steps are counted from."""
RATES = Rates(10**12, 10**13, flat=True)
"""A thousand nano-dollars for a token of input, ten thousand for one of output."""


def a_call(
    number: int, *, read: int = 1_000, wrote: int = 100, rates: Rates = RATES, cost: int | None = 1_000_000, **more: Any
) -> Recorded:
    """Return a call that was let through by a bound of `read` tokens and then settled; what it is not told is whole and not counted."""
    row = {name: more.pop(name) for name in list(more) if name in LedgerRow.__dataclass_fields__}
    terms = {name: more.pop(name) for name in list(more) if name in Terms.__dataclass_fields__}
    known: dict[str, Any] = {"cap": 100, "quantum": 0, "granted": 0, "placed_at": NOON, "unread": False, "judged": True}
    quote = quoted(rates, input_tokens=read, output_tokens=wrote, priced=True)
    kept = a_row(number, cost=cost, begins=number, **{"input_tokens_bound": read, **row})
    steps = {"admitted": FIRST + 10 * number + 1, "settled": FIRST + 10 * number + 9, **more}
    return Recorded(row=kept, terms=Terms(quote=quote, **{**known, **terms}), **steps)


def told_of(calls: list[Recorded], *, mode: str = "monitor", **settings: Any) -> tuple[int, int, int]:
    """Return how many calls are surely refused, surely cut, and neither known."""
    budget = BudgetSettings.model_validate({"name": "b", "limit": "0.002 USD", "warn_at": [], **settings})
    replay = BudgetReplay([budget], mode=mode, told_since=NOON)  # type: ignore[arg-type]  # the tests say which
    replay.add(calls)
    replay.end()
    told = replay.told["b"]
    return told.refused, told.cut, told.unknown


COUNTED = quoted(RATES, input_tokens=50, output_tokens=100, priced=True)
UNCOUNTED: list[tuple[str, dict[str, Any], str, tuple[int, int, int]]] = [
    ("the bound fits", {}, "0.002 USD", (0, 0, 0)),
    ("an empty prompt would fit", {}, "0.0019 USD", (0, 0, 1)),
    ("an empty prompt would not fit", {}, "0.0009 USD", (1, 0, 0)),
    ("a shorter prompt may have other rates", {"rates": Rates(10**12, 10**13)}, "0.0009 USD", (0, 0, 1)),
    ("tokens have no rates", {"rates": Rates(10**12, 10**13)}, "99 tokens", (1, 0, 0)),
    ("it was counted before it came", {"input_tokens_bound": None}, "0.0019 USD", (1, 0, 0)),
    ("it was counted, and fits", {"counted": COUNTED}, "0.0011 USD", (0, 0, 0)),
    ("it was counted, and does not fit", {"counted": COUNTED}, "0.001 USD", (1, 0, 0)),
    ("no count changes what is not read", {"unread": True}, "0.0019 USD", (1, 0, 0)),
    ("budgets were not asked", {"judged": False}, "0.0009 USD", (0, 0, 0)),
]


@pytest.mark.parametrize(("call", "limit", "wanted"), [pytest.param(*one[1:], id=one[0]) for one in UNCOUNTED])
def test_a_prompt_that_nobody_counted_is_unknown_only_where_its_count_matters(call: Any, limit: str, wanted: Any) -> None:
    assert told_of([a_call(0, **call)], limit=limit) == wanted


def test_a_stream_that_was_not_topped_up_then_may_have_been_ended() -> None:
    stream = a_call(
        0, streamed=True, quantum=16, granted=16, top_ups=(Step(FIRST + 2, 30, 30),), settled=FIRST + 5, input_tokens_bound=None
    )
    leased = {"quantum": 32, "reserve": "lease"}

    assert told_of([stream], limit="0.0021 USD", **leased) == (0, 0, 0)
    assert told_of([stream], limit="0.0019 USD", **leased) == (0, 0, 1)
    assert told_of([stream], limit="0.001 USD", **leased) == (1, 0, 0)
    assert told_of([stream], limit="0.0014 USD", **{**leased, "quantum": 16}) == (0, 1, 0)
    assert told_of([stream], limit="0.0014 USD", reserve="input_only") == (0, 0, 0)


def test_a_stream_that_asked_again_after_its_budget_was_spent_is_ended_in_enforce_mode() -> None:
    steps = (Step(FIRST + 5, 30, 30), Step(FIRST + 8, 30, 30))
    stream = a_call(0, streamed=True, quantum=16, granted=16, top_ups=steps, input_tokens_bound=None)
    dear = a_call(1, admitted=FIRST + 2, settled=FIRST + 4, read=100, wrote=0, cost=1_400_000, input_tokens_bound=None)
    quick = replace(stream, top_ups=steps[:1])

    assert told_of([stream], mode="enforce", limit="0.0015 USD", quantum=16) == (0, 0, 1)
    assert told_of([stream, dear], mode="enforce", limit="0.0015 USD", quantum=16) == (0, 1, 0)
    assert told_of([quick, dear], mode="enforce", limit="0.0015 USD", quantum=16) == (0, 0, 1)


@pytest.mark.parametrize("mode", ["monitor", "enforce"])
def test_a_call_that_a_budget_refused_is_judged_where_its_terms_are_kept(mode: str) -> None:
    refused = {"state": "refused", "status": 402, "ended_at": NOON, "settled": None, "input_tokens_bound": None}
    calls = [a_call(0), a_call(1, **refused), a_call(2, **{**refused, "status": 403})]

    assert told_of(calls, mode=mode, limit="0.002 USD") == (1, 0, 0)
    assert told_of(calls[1:], mode=mode, limit="0.0025 USD") == (0, 0, 0)
    assert told_of([a_call(1, **refused, rule_id="b")], mode=mode, limit="0.0025 USD") == (0, 0, int(mode == "enforce"))


@pytest.mark.parametrize("mode", ["monitor", "enforce"])
def test_an_answer_that_was_ended_is_judged_by_what_it_was_denied(mode: str) -> None:
    ended = a_call(
        0,
        streamed=True,
        quantum=16,
        granted=16,
        top_ups=(Step(FIRST + 5, 30, 0, 16), Step(FIRST + 6, 30, 30)),
        input_tokens_bound=None,
        ending="cut",
    )

    assert told_of([ended], mode=mode, limit="0.0012 USD", quantum=16) == (0, 1, 0)
    assert told_of([ended], mode=mode, limit="0.0014 USD", quantum=16) == ((0, 1, 0) if mode == "monitor" else (0, 0, 1))
    assert told_of([ended], mode=mode, limit="0.0016 USD", quantum=16) == (0, 0, 0)


def test_what_a_crash_left_open_is_charged_what_it_held_and_reaches_no_share_aloud() -> None:
    trimmed = a_call(
        0, state="unknown", source="billed_unseen", cost=None, ended_at=None, top_ups=(Step(FIRST + 2, 0, 0),), settled=FIRST + 3
    )
    budget = BudgetSettings.model_validate({"name": "b", "limit": "0.0025 USD", "warn_at": [0.1], "on_exceed": "alert"})
    replay = BudgetReplay([budget], mode="monitor", told_since=NOON)
    replay.add([trimmed, a_call(1)])
    replay.end()

    assert [(one.share, one.call_id) for one in replay.told["b"].crossings] == [(1.0, "call-1")]
