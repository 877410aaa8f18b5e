"""Rate limits are exact over any window, and say when a call would pass."""

import asyncio
import math
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerting.detectors.rate_limit import RateLimits
from alerting.finding import Action, Refusal
from alerting.settings import RateLimitSettings
from alerting.windows import Window

SECOND = 1_000_000_000


class Ticks:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.at = 0

    def __call__(self) -> int:
        return self.at


def limits(*settings_of: dict[str, object]) -> tuple[RateLimits, Ticks]:
    ticks = Ticks()
    return RateLimits([RateLimitSettings.model_validate(one) for one in settings_of], clock=ticks), ticks


def test_the_call_after_the_last_one_waits_exactly_until_the_first_leaves(a_call: Any) -> None:
    rates, ticks = limits({"requests": 3, "per": "minute"})
    for second in (0, 10, 20):
        ticks.at = second * SECOND
        assert rates.take(a_call(), input_tokens=1, enforce=True) == ()

    ticks.at = 30 * SECOND
    [hit] = rates.take(a_call(), input_tokens=1, enforce=True)

    assert hit.retry_after == timedelta(seconds=30)
    ticks.at += 30 * SECOND - 1
    assert rates.take(a_call(), input_tokens=1, enforce=True)
    ticks.at += 1
    assert rates.take(a_call(), input_tokens=1, enforce=True) == ()


def test_a_refused_call_takes_no_place(a_call: Any) -> None:
    rates, ticks = limits({"requests": 1, "per": "second"})
    rates.take(a_call(), input_tokens=1, enforce=True)
    for _ in range(10):
        assert rates.take(a_call(), input_tokens=1, enforce=True)

    ticks.at = SECOND

    assert rates.take(a_call(), input_tokens=1, enforce=True) == ()


@settings(max_examples=100, deadline=None)
@given(gaps=st.lists(st.integers(0, 2 * SECOND), max_size=60), limit=st.integers(1, 5))
def test_no_window_of_any_place_holds_more_calls_than_the_limit(gaps: Any, limit: Any) -> None:
    window, now, passed = Window(SECOND), 0, []
    for gap in gaps:
        now += gap
        window.move_to(now)
        wait = window.wait_for_request(limit, now)
        if wait == 0:
            window.add(now, 1)
            passed.append(now)
        else:
            later = Window(SECOND)
            for at in passed:
                later.add(at, 1)
            later.move_to(now + wait)
            assert later.wait_for_request(limit, now + wait) == 0
            assert 0 < wait <= SECOND

    assert all(last - first >= SECOND for first, last in zip(passed, passed[limit:], strict=False))
    assert all(first <= last for first, last in pairwise(passed))


@settings(max_examples=100, deadline=None)
@given(calls=st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 60)), max_size=40))
def test_no_window_of_any_place_holds_more_tokens_than_the_limit(calls: Any) -> None:
    window, now, passed = Window(SECOND), 0, []
    for gap, tokens in calls:
        now += gap
        window.move_to(now)
        if window.wait_for_tokens(100, tokens, now) == 0:
            window.add(now, tokens)
            passed.append((now, tokens))

    for start, _tokens in passed:
        assert sum(tokens for at, tokens in passed if start <= at < start + SECOND) <= 100


def test_tokens_are_corrected_when_a_call_is_settled(a_call: Any) -> None:
    rates, _ticks = limits({"tokens": 1000})
    call = a_call(max_output_tokens=600)
    assert rates.take(call, input_tokens=300, enforce=True) == ()
    assert rates.take(a_call(max_output_tokens=600), input_tokens=300, enforce=True)

    rates.settle(call.id, 50)
    rates.settle(call.id, 5000)

    assert rates.take(a_call(max_output_tokens=600), input_tokens=300, enforce=True) == ()


def test_tokens_of_a_call_whose_usage_is_unknown_stay_as_estimated(a_call: Any) -> None:
    rates, _ticks = limits({"tokens": 1000})
    call = a_call(max_output_tokens=600)
    rates.take(call, input_tokens=300, enforce=True)

    rates.settle(call.id, None)

    assert rates.take(a_call(max_output_tokens=600), input_tokens=300, enforce=True)


def test_the_wait_for_tokens_is_until_enough_of_them_leave(a_call: Any) -> None:
    rates, ticks = limits({"tokens": 100, "per": "minute"})
    for second, tokens in ((0, 20), (10, 30), (20, 50)):
        ticks.at = second * SECOND
        rates.take(a_call(max_output_tokens=None), input_tokens=tokens, enforce=True)

    [hit] = rates.take(a_call(max_output_tokens=None), input_tokens=40, enforce=True)

    assert hit.retry_after == timedelta(seconds=50)
    ticks.at += 50 * SECOND
    assert rates.take(a_call(max_output_tokens=None), input_tokens=40, enforce=True) == ()


def test_a_call_larger_than_the_whole_limit_is_told_that_waiting_does_not_help(a_call: Any) -> None:
    rates, _ticks = limits({"tokens": 100})

    [hit] = rates.take(a_call(max_output_tokens=None), input_tokens=101, enforce=True)

    assert hit.retry_after is None
    assert "larger than the whole limit" in hit.remedy


def test_a_correction_after_the_window_is_over_changes_nothing(a_call: Any) -> None:
    rates, ticks = limits({"tokens": 100, "per": "second"})
    call = a_call(max_output_tokens=None)
    rates.take(call, input_tokens=100, enforce=True)
    ticks.at = SECOND
    assert rates.take(a_call(max_output_tokens=None), input_tokens=90, enforce=True) == ()

    rates.settle(call.id, 1_000)

    assert rates.take(a_call(max_output_tokens=None), input_tokens=10, enforce=True) == ()


def test_a_call_that_is_given_back_leaves_its_place(a_call: Any) -> None:
    rates, ticks = limits({"requests": 1, "per": "second"})
    call = a_call()
    rates.take(call, input_tokens=1, enforce=True)

    rates.give_back(call.id)

    second = a_call()
    assert rates.take(second, input_tokens=1, enforce=True) == ()
    ticks.at = 2 * SECOND
    assert rates.take(a_call(), input_tokens=1, enforce=True) == ()
    rates.give_back(second.id)
    assert rates.take(a_call(), input_tokens=1, enforce=True)


def test_each_value_of_the_counted_field_has_its_own_window(a_call: Any) -> None:
    rates, _ticks = limits({"requests": 1, "by": "user"})

    assert rates.take(a_call(caller={"user": "ann"}), input_tokens=1, enforce=True) == ()
    assert rates.take(a_call(caller={"user": "bob"}), input_tokens=1, enforce=True) == ()
    assert rates.take(a_call(), input_tokens=1, enforce=True) == ()
    [hit] = rates.take(a_call(caller={"user": "ann"}), input_tokens=1, enforce=True)

    assert hit.episode == ("rate-limit-1", "ann")
    assert "'ann'" in hit.message


def test_a_scope_says_which_calls_count(a_call: Any) -> None:
    rates, _ticks = limits({"requests": 1, "scope": {"model": "gpt-4*"}})

    rates.take(a_call(model="gpt-4o"), input_tokens=1, enforce=True)

    assert rates.take(a_call(model="o3"), input_tokens=1, enforce=True) == ()
    assert rates.take(a_call(model="gpt-4o"), input_tokens=1, enforce=True)


def test_where_nothing_is_enforced_a_call_over_the_limit_counts_too(a_call: Any) -> None:
    rates, ticks = limits({"requests": 1, "per": "second"})
    rates.take(a_call(), input_tokens=1, enforce=False)
    ticks.at = SECOND // 2
    [hit] = rates.take(a_call(), input_tokens=1, enforce=False)
    assert hit.action is Action.BLOCK

    ticks.at = SECOND
    [again] = rates.take(a_call(), input_tokens=1, enforce=False)

    assert again.retry_after == timedelta(seconds=0.5)


def test_windows_that_stand_empty_are_forgotten(a_call: Any) -> None:
    rates, ticks = limits({"requests": 1, "per": "second", "by": "user"})

    for number in range(5_000):
        ticks.at = number * SECOND
        rates.take(a_call(caller={"user": f"user-{number}"}), input_tokens=1, enforce=True)

    assert len(rates._limits[0]._windows) < 2_000  # noqa: SLF001 - what is kept in memory shows nowhere else


def test_prompts_are_counted_exactly_only_where_a_token_limit_is_near(a_call: Any) -> None:
    rates, _ticks = limits({"tokens": 8_000}, {"requests": 5}, {"tokens": 10, "scope": {"model": "o3"}})

    assert not rates.exact_matters(a_call(), bound=1_000)
    assert rates.exact_matters(a_call(), bound=1_001)


def test_two_limits_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="two rate limits are called 'a'"):
        limits({"requests": 1, "name": "a"}, {"requests": 2, "name": "a"})


async def test_the_limit_that_lasts_longest_sets_retry_after(worlds: Any, a_call: Any, clock: Any) -> None:
    rates = [{"requests": 1, "per": "second", "name": "burst"}, {"requests": 1, "per": "hour", "name": "hourly"}]
    world = worlds(detectors={"rate_limits": rates, "prompt_drift": {"enabled": False}})
    await world.gate.admit(a_call())
    clock.pass_by(seconds=0.25)

    verdict = await world.gate.admit(a_call())

    assert (verdict.refusal, verdict.retry_after) == (Refusal.RATE_LIMIT, timedelta(seconds=3599.75))
    assert "'hourly'" in verdict.message
    assert "Try again in 3600 s." in verdict.message


async def test_the_tokens_of_an_answer_count_until_they_leave_the_window(worlds: Any, a_call: Any, clock: Any) -> None:
    world = worlds(detectors={"rate_limits": [{"tokens": 1_000}], "prompt_drift": {"enabled": False}})
    call = a_call()
    await world.gate.admit(call)
    world.answer(call, input_tokens=500, output_tokens=490)

    early = await world.gate.admit(a_call())
    clock.pass_by(seconds=60)
    late = await world.gate.admit(a_call())

    assert (early.refusal, early.retry_after, late.blocked) == (Refusal.RATE_LIMIT, timedelta(seconds=60), False)


def test_a_limit_on_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs `requests` or `tokens`"):
        RateLimitSettings()


def test_of_requests_and_tokens_the_one_that_lasts_longer_says_when_to_try_again(a_call: Any) -> None:
    rates, ticks = limits({"requests": 2, "tokens": 100, "per": "minute"})
    for second, tokens in ((0, 10), (20, 90)):
        ticks.at = second * SECOND
        rates.take(a_call(max_output_tokens=None), input_tokens=tokens, enforce=True)

    [small] = rates.take(a_call(max_output_tokens=None), input_tokens=10, enforce=True)
    [large] = rates.take(a_call(max_output_tokens=None), input_tokens=50, enforce=True)
    [never] = rates.take(a_call(max_output_tokens=None), input_tokens=500, enforce=True)

    assert (small.retry_after, small.evidence["unit"]) == (timedelta(seconds=40), "requests")
    assert (large.retry_after, large.evidence["unit"]) == (timedelta(seconds=60), "tokens")
    assert (never.retry_after, never.evidence["unit"]) == (None, "tokens")


@dataclass
class Taken:
    """What the model knows of one call."""

    at: int
    tokens: int
    user: str
    model: str


class Model:
    """What rate limits mean, without windows: all calls that were let through, looked at anew for each question."""

    def __init__(self, limits_of: list[dict[str, Any]]) -> None:
        self.limits = limits_of
        self.taken: dict[str, Taken] = {}

    def inside(self, limit: dict[str, Any], one: Taken, now: int) -> list[Taken]:
        """Return the calls that count beside `one`."""
        span = {"second": SECOND, "minute": 60 * SECOND}[limit["per"]]
        return [
            other
            for other in self.taken.values()
            if now - span < other.at
            and (limit["scope"] in {None, other.model})
            and (limit["by"] is None or getattr(other, limit["by"]) == getattr(one, limit["by"]))
        ]

    def over(self, one: Taken, now: int) -> set[str]:
        """Return the names of the limits that one more call would break."""
        broken: set[str] = set()
        for limit in self.limits:
            if limit["scope"] not in {None, one.model}:
                continue
            beside = self.inside(limit, one, now)
            requests, tokens = limit["requests"], limit["tokens"]
            if requests and len(beside) + 1 > requests:
                broken.add(limit["name"])
            if tokens and sum(other.tokens for other in beside) + one.tokens > tokens:
                broken.add(limit["name"])
        return broken


LIMITS = [
    {"name": "a", "per": "second", "by": None, "scope": None, "requests": 3, "tokens": None},
    {"name": "b", "per": "minute", "by": "user", "scope": None, "requests": None, "tokens": 200},
    {"name": "c", "per": "minute", "by": "model", "scope": "o3", "requests": 4, "tokens": 120},
]
STEP = st.tuples(
    st.sampled_from(["call", "call", "call", "settle", "give back", "reload"]),
    st.integers(0, 20 * SECOND),
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["o3", "gpt-4o"]),
    st.integers(1, 90),
)


def as_config(limit: dict[str, Any]) -> dict[str, object]:
    return {**limit, "scope": {"model": limit["scope"]} if limit["scope"] else {}}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=60), enforce=st.booleans())
def test_what_passes_is_what_a_model_without_windows_lets_pass(a_call: Any, steps: Any, *, enforce: bool) -> None:
    rates, ticks = limits(*map(as_config, LIMITS))
    model, open_calls = Model(LIMITS), []
    for what, gap, user, name, tokens in steps:
        ticks.at += gap
        one = Taken(ticks.at, tokens, user, name)
        if what == "call":
            call = a_call(model=name, max_output_tokens=None, caller={"user": user})
            found = rates.take(call, input_tokens=tokens, enforce=enforce)
            assert {finding.episode[0] for finding in found} == model.over(one, ticks.at)
            if not (found and enforce):
                model.taken[call.id] = one
                open_calls.append(call)
            assert all(timedelta(0) < finding.retry_after <= timedelta(minutes=1) for finding in found if finding.retry_after is not None)
        elif what == "reload":
            rates = RateLimits([RateLimitSettings.model_validate(as_config(each)) for each in LIMITS], clock=ticks, earlier=rates)
            open_calls.clear()  # they are settled by the gate that admitted them
        elif open_calls:
            call = open_calls.pop(0)
            if what == "settle":
                rates.settle(call.id, tokens)
                model.taken[call.id].tokens = tokens
            else:
                rates.give_back(call.id)
                del model.taken[call.id]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.tuples(st.integers(0, 5 * SECOND), st.integers(1, 60)), min_size=5, max_size=40))
def test_a_caller_who_waits_as_told_passes_and_one_who_waits_a_second_less_does_not(a_call: Any, calls: Any) -> None:
    rates, ticks = limits({"requests": 4, "tokens": 100, "per": "minute"})
    for gap, tokens in calls:
        ticks.at += gap
        if not (found := rates.take(a_call(max_output_tokens=None), input_tokens=tokens, enforce=True)):
            continue
        told = math.ceil(found[0].retry_after.total_seconds())
        refused_at = ticks.at
        if told > 1:
            ticks.at = refused_at + (told - 1) * SECOND
            if timedelta(seconds=told - 1) < found[0].retry_after:
                assert rates.take(a_call(max_output_tokens=None), input_tokens=tokens, enforce=True)

        ticks.at = refused_at + told * SECOND

        assert rates.take(a_call(max_output_tokens=None), input_tokens=tokens, enforce=True) == ()


async def test_of_many_calls_at_once_exactly_as_many_pass_as_the_limit_allows(worlds: Any, a_call: Any) -> None:
    world = worlds(detectors={"rate_limits": [{"requests": 50, "per": "hour"}], "prompt_drift": {"enabled": False}})

    verdicts = await asyncio.gather(*(world.gate.admit(a_call()) for _ in range(200)))

    assert sum(not verdict.blocked for verdict in verdicts) == 50
    assert {verdict.refusal for verdict in verdicts if verdict.blocked} == {Refusal.RATE_LIMIT}
    assert await world.database.read("SELECT state, COUNT(*) FROM calls GROUP BY state ORDER BY state") == [
        ("intent", 50),
        ("refused", 150),
    ]


def test_a_limit_that_counts_the_same_goes_on_counting_after_a_reload(a_call: Any) -> None:
    before, ticks = limits({"requests": 2, "by": "user", "name": "old"}, {"requests": 9, "per": "hour"})
    flying = a_call(caller={"user": "ann"})
    before.take(flying, input_tokens=1, enforce=True)
    settings_of = [{"requests": 3, "by": "user", "name": "new"}, {"requests": 1, "per": "day"}]

    after = RateLimits([RateLimitSettings.model_validate(one) for one in settings_of], clock=ticks, earlier=before)

    assert after.take(a_call(caller={"user": "ann"}), input_tokens=1, enforce=True) == ()  # the day's window is a new one
    assert {hit.episode[0] for hit in after.take(a_call(caller={"user": "ann"}), input_tokens=1, enforce=False)} == {"rate-limit-2"}
    assert {hit.episode[0] for hit in after.take(a_call(caller={"user": "ann"}), input_tokens=1, enforce=False)} == {"new", "rate-limit-2"}
    before.give_back(flying.id)
    assert len(after._limits[0]._windows["ann"]) == 3  # noqa: SLF001 - the call of before has left the shared window


def test_two_limits_that_count_the_same_keep_a_window_each(a_call: Any) -> None:
    both = [{"requests": 5, "action": "alert", "name": "soft"}, {"requests": 9, "name": "hard"}]
    before, ticks = limits(*both)
    before.take(a_call(), input_tokens=1, enforce=True)

    after = RateLimits([RateLimitSettings.model_validate(one) for one in reversed(both)], clock=ticks, earlier=before)
    after.take(a_call(), input_tokens=1, enforce=True)

    assert [len(limit._windows["all"]) for limit in after._limits] == [2, 2]  # noqa: SLF001 - what is kept in memory shows nowhere else


def test_windows_shared_over_a_reload_are_swept_in_place(a_call: Any) -> None:
    before, ticks = limits({"requests": 1, "per": "second", "by": "user"})
    after = RateLimits([RateLimitSettings.model_validate({"requests": 1, "per": "second", "by": "user"})], clock=ticks, earlier=before)

    for number in range(3_000):
        ticks.at = number * SECOND
        after.take(a_call(caller={"user": f"user-{number}"}), input_tokens=1, enforce=True)

    assert before.take(a_call(caller={"user": "user-2999"}), input_tokens=1, enforce=True)
