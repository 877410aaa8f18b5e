"""How two sides of a day agree."""

from datetime import date
from typing import Any

import pytest

from metering.exports import ExportLine
from metering.reconcile import Agreement, CallOfDay, OurCalls, family, reconcile, theirs_of, with_calls

_DAY = date(2026, 11, 1)
_POINT = OurCalls(calls=2, input_tokens=1000, output_tokens=100, cost_nano=5000, floor_nano=5000, ceiling_nano=5000)
_OPEN = OurCalls(calls=2, input_tokens=1000, output_tokens=100, cost_nano=5000, floor_nano=4000, ceiling_nano=9000)


@pytest.mark.parametrize(
    ("ours", "theirs", "agreement"),
    [
        (_POINT, {"input_tokens": 1000, "output_tokens": 100, "cost_nano": 5000}, Agreement.EQUAL),
        (_POINT, {"input_tokens": 1009, "output_tokens": 100}, Agreement.EQUAL),
        (_POINT, {"input_tokens": 1020, "output_tokens": 100}, Agreement.DIFFERS),
        (_POINT, {"cost_nano": 5100}, Agreement.DIFFERS),
        (_OPEN, {"cost_nano": 8999}, Agreement.WITHIN),
        (_OPEN, {"cost_nano": 9200}, Agreement.DIFFERS),
        (_OPEN, {"cost_nano": 3900}, Agreement.DIFFERS),
        (_OPEN, {"input_tokens": 1000, "output_tokens": 150}, Agreement.WITHIN),
        (_OPEN, {"input_tokens": 900, "output_tokens": 150}, Agreement.DIFFERS),
        (None, {"input_tokens": 5}, Agreement.ONLY_THEIRS),
        (None, {"input_tokens": 0}, Agreement.EQUAL),
        (_POINT, None, Agreement.ONLY_OURS),
    ],
)
def test_a_group_agrees_or_not(ours: OurCalls | None, theirs: dict[str, Any] | None, agreement: Agreement) -> None:
    lines = [] if theirs is None else [ExportLine(day=_DAY, model="m", **theirs)]

    [match] = reconcile(theirs_of(lines), {} if ours is None else {(_DAY, "m"): ours}, tolerance=0.01)

    assert match.agreement is agreement
    assert match.outside == (agreement not in {Agreement.EQUAL, Agreement.WITHIN})
    assert match.as_json()["agreement"] == agreement.value


def test_lines_of_one_day_and_model_add_up_whatever_their_snapshot() -> None:
    lines = [
        ExportLine(day=_DAY, model="gpt-4o-2024-08-06", input_tokens=400, output_tokens=40),
        ExportLine(day=_DAY, model="gpt-4o", input_tokens=600, output_tokens=60),
    ]

    [match] = reconcile(theirs_of(lines), {(_DAY, "gpt-4o"): _POINT}, tolerance=0)

    assert match.agreement is Agreement.EQUAL
    assert family("claude-opus-4-5-20251101") == "claude-opus-4-5"
    assert family(None) is None


@pytest.mark.parametrize(
    ("exported", "answered"),
    [
        ("Claude Haiku 4.5", "claude-haiku-4-5-20251001"),
        ("Claude Sonnet 4", "claude-sonnet-4-20250514"),
        ("Claude Sonnet 3.7", "claude-3-7-sonnet-20250219"),
        ("Claude Opus 5.5", "claude-opus-5-5"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
    ],
)
def test_a_model_is_known_by_the_name_that_a_report_gives_it(exported: str, answered: str) -> None:
    assert family(exported) == family(answered)


def test_a_day_of_which_a_part_has_no_model_is_compared_as_a_whole() -> None:
    lines = [ExportLine(day=_DAY, model="Claude Haiku 4.5", cost_nano=8000), ExportLine(day=_DAY, model=None, cost_nano=2000)]

    [match] = reconcile(theirs_of(lines), {(_DAY, "claude-haiku-4-5"): _POINT, (_DAY, "b"): _POINT}, tolerance=0)

    assert (match.model, match.agreement) == (None, Agreement.EQUAL)


def test_a_line_that_says_nothing_is_no_agreement() -> None:
    [match] = reconcile(theirs_of([ExportLine(day=_DAY, model=None)]), {(_DAY, "a"): _POINT}, tolerance=0)

    assert (match.model, match.agreement) == ("a", Agreement.ONLY_OURS)


def test_a_report_without_models_is_compared_by_the_day() -> None:
    lines = [ExportLine(day=_DAY, model=None, cost_nano=10_000)]

    [match] = reconcile(theirs_of(lines), {(_DAY, "a"): _POINT, (_DAY, "b"): _POINT}, tolerance=0)

    assert (match.model, match.agreement) == (None, Agreement.EQUAL)
    assert match.ours == _POINT + _POINT


def test_the_calls_to_look_at_are_named() -> None:
    calls = [CallOfDay("1", "m-2026-01-01", "provider_reported"), CallOfDay("2", "m", "estimated"), CallOfDay("3", "n", None)]
    ours = {(_DAY, "m"): _OPEN, (_DAY, "n"): _OPEN}
    both = reconcile(theirs_of([ExportLine(day=_DAY, model="m", cost_nano=8000)]), ours, tolerance=0)

    assert [with_calls(match, calls).call_ids for match in both] == [("2",), ("3",)]
    alone = reconcile({}, {(_DAY, "m"): _OPEN}, tolerance=0)
    assert with_calls(alone[0], calls).call_ids == ("1", "2")
    equal = reconcile(theirs_of([ExportLine(day=_DAY, model="m", cost_nano=5000)]), {(_DAY, "m"): _POINT}, tolerance=0)
    assert with_calls(equal[0], calls).call_ids == ()
