"""Which calls a budget is about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from metering.budgets import Budget, BudgetBook
from metering.call import Caller
from metering.scope import compile_patterns, matches
from metering.settings import BudgetSettings, Scope


@pytest.mark.parametrize(
    ("patterns", "value", "matched"),
    [
        ("gpt-4*", "gpt-4o", True),
        ("gpt-4*", "GPT-4o", True),
        ("gpt-4*", "xgpt-4o", False),
        ("gpt-4", "gpt-4o", False),
        ("*", "anything", True),
        ("*", None, False),
        (("claude-*", "gpt-?"), "gpt-5", True),
        (("claude-*", "gpt-?"), "gpt-5o", False),
        ((), "gpt-5", False),
        ("us.anthropic.*:0", "us.anthropic.claude-v1:0", True),
    ],
)
def test_globs_match_whole_values_in_any_case(patterns: Any, value: str | None, *, matched: bool) -> None:
    assert compile_patterns(patterns)(value) is matched


@pytest.mark.parametrize(
    ("scope", "matched"),
    [
        ({}, True),
        ({"provider": "openai", "model": "gpt-*"}, True),
        ({"provider": "openai", "model": "claude-*"}, False),
        ({"user": ("ada", "bob"), "department": "research", "agent": "cli", "key_id": "ab*", "service": "bots"}, True),
        ({"user": "bob"}, False),
    ],
)
def test_every_field_of_a_scope_must_match(make_call: Any, scope: dict[str, Any], *, matched: bool) -> None:
    caller = Caller(user="ada", department="research", agent="cli", key_id="abcd", service="bots")

    assert matches(Scope(**scope), make_call(model="gpt-5", service="bots", caller=caller)) is matched


def test_a_scope_with_a_user_leaves_out_callers_that_are_not_known(make_call: Any) -> None:
    assert not matches(Scope(user="*"), make_call())


@pytest.mark.parametrize("remembered", [1, 100])
def test_the_book_finds_the_budgets_of_a_call(make_call: Any, remembered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.budgets._REMEMBERED", remembered)
    book = BudgetBook(
        [
            BudgetSettings(name="all", limit="1 USD"),
            BudgetSettings(name="ada", scope=Scope(user="ada"), limit="5 tokens", on_exceed="alert"),
        ]
    )

    for _ in range(2):
        assert [budget.id for budget in book.matching(make_call(caller=Caller(user="ada")))] == ["ada", "all"]
        assert [budget.id for budget in book.matching(make_call())] == ["all"]
    assert [budget.hard for budget in book.all] == [True, False]
    assert repr(book.all[1]) == "Budget('ada', 5 tokens, day)"
    assert BudgetBook([]).matching(make_call()) == ()


def test_the_budget_of_the_narrowest_scope_comes_first(make_call: Any) -> None:
    scopes: dict[str, dict[str, Any]] = {
        "everything": {},
        "provider": {"provider": "openai"},
        "department": {"department": "research"},
        "model": {"model": "gpt-*"},
        "user": {"user": "ada"},
        "user on a model": {"user": "ada", "model": "gpt-*"},
        "key": {"key_id": "abcd"},
    }
    book = BudgetBook([BudgetSettings(name=name, limit="9 USD", scope=Scope(**scope)) for name, scope in scopes.items()])
    caller = Caller(user="ada", department="research", key_id="abcd")

    assert [budget.id for budget in book.matching(make_call(model="gpt-5", caller=caller))] == [
        "key", "user on a model", "user", "model", "department", "provider", "everything",
    ]  # fmt: skip


def test_of_equal_scopes_the_smaller_limit_comes_first(make_call: Any) -> None:
    book = BudgetBook([BudgetSettings(name="month", limit="90 USD", period="month"), BudgetSettings(name="day", limit="9 USD")])

    assert [budget.id for budget in book.matching(make_call())] == ["day", "month"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wait": "6m"}, "at most 0:05:00"),
        ({"wait": "soon"}, "not a span of time"),
        ({"quantum": 3}, "greater than or equal to 16"),
        ({"reserve": "all"}, "lease"),
        ({"unpriced": "refuse", "on_exceed": "alert"}, "needs on_exceed: block"),
    ],
)
def test_what_cannot_be_reserved_so_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BudgetSettings(name="b", limit="1 USD", **settings)


def test_two_budgets_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two budgets are called 'a'"):
        BudgetBook([BudgetSettings(name="a", limit="1 USD"), BudgetSettings(name="a", limit="2 USD")])


def test_an_amount_is_in_the_unit_of_its_budget() -> None:
    dollars, tokens = (Budget(BudgetSettings(name="b", limit=limit)) for limit in ("1 USD", "10 tokens"))

    assert (dollars.amount(cost_nano=7, tokens=3), tokens.amount(cost_nano=7, tokens=3)) == (7, 3)


def test_a_budget_follows_its_calendar() -> None:
    budget = Budget(BudgetSettings(name="b", limit="1 USD", timezone="Asia/Tokyo"))

    evening, night = (budget.period(datetime(2026, 11, 2, hour, tzinfo=UTC)) for hour in (14, 15))

    assert evening.ends_at == night.starts_at == datetime(2026, 11, 2, 15, tzinfo=UTC)
    assert budget.period(datetime(2026, 11, 2, 14, tzinfo=UTC)) == evening
