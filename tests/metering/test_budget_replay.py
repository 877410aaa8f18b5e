"""What a budget would have done to rows from before the ledger kept the steps of calls: sure where that is certain."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metering.budget_replay import BudgetReplay
from metering.ledger_rows import LedgerRow
from metering.recorded import Recorded
from metering.replay_told import Told
from metering.settings import BudgetSettings

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
