"""Factors: sane before any report, moved by the first, unmoved by one that is off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.estimates import Estimates, Factors, Parts


def parts(text: int, *, tools: int = 0, messages: int = 1) -> Parts:
    return Parts(text=text, tools=tools, framing=4 * messages + 3, messages=messages)


def test_shipped_factors_know_the_families() -> None:
    estimates = Estimates()

    assert estimates.tokens("openai", "gpt-4o", parts(100)) == 107
    assert estimates.tokens("anthropic", "claude-opus-4-7", parts(1000)) == pytest.approx(1420, abs=10)
    assert estimates.tokens("x_ai", "grok-4", parts(10)) == pytest.approx(204, abs=10)
    assert estimates.tokens("", None, parts(0, messages=0)) == 0


def test_reasoning_claude_is_told_more() -> None:
    factors = Factors("claude-sonnet-4-5")
    thinking = Parts(text=10, tools=0, framing=7, messages=1, thinking=True)

    assert factors.estimate(thinking) == factors.estimate(parts(10)) + 28


def test_the_first_report_of_an_unknown_model_moves_its_estimate_and_more_settle_it() -> None:
    estimates = Estimates()
    before = estimates.tokens("ollama", "mystery", parts(20))

    estimates.learn("ollama", "mystery", parts(20), 320)
    after = estimates.tokens("ollama", "mystery", parts(20))
    for _ in range(3):
        estimates.learn("ollama", "mystery", parts(20), 320)

    assert before < after < 320
    assert estimates.tokens("ollama", "mystery", parts(20)) == 320
    assert estimates.hidden("ollama", "mystery") >= 295


def test_long_prompts_teach_the_ratio() -> None:
    estimates = Estimates()
    for text in (1000, 3000, 5000):
        estimates.learn("ollama", "mystery", parts(text), 2 * text + 7)

    assert estimates.text_factor("ollama", "mystery") == pytest.approx(2.0, abs=0.01)


def test_a_report_far_off_leaves_a_known_model_as_it_was() -> None:
    estimates = Estimates()
    for _ in range(5):
        estimates.learn("openai", "gpt-4o", parts(50), 57)

    estimates.learn("openai", "gpt-4o", parts(50), 90_000)

    assert estimates.tokens("openai", "gpt-4o", parts(50)) == 57


def test_prompts_with_tools_teach_what_tools_cost_and_nothing_about_text() -> None:
    estimates = Estimates()
    for tools in (40, 60, 400, 600, 800):
        estimates.learn("ollama", "mystery", parts(100, tools=tools), 107 + 50 + tools // 2)

    assert estimates.tokens("ollama", "mystery", parts(100)) == 107
    assert estimates.tokens("ollama", "mystery", parts(100, tools=500)) == pytest.approx(107 + 300, rel=0.1)


def test_no_more_models_are_remembered_than_fit() -> None:
    estimates = Estimates()
    estimates.learn("a", "first", parts(10), 500)

    for number in range(1024):
        estimates.of("a", f"m{number}")

    assert estimates.of("a", "first").samples == 0


def test_what_was_learned_is_told_once() -> None:
    estimates = Estimates()
    estimates.learn("a", "M", parts(10), 50)

    assert set(estimates.changed()) == {("a", "m")}
    assert not estimates.changed()


@given(
    reports=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 50), st.integers(0, 10**9)), min_size=1, max_size=40
    ),
    model=st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "mystery"]),
)
def test_no_reports_make_factors_insane(reports: list[tuple[int, int, int, int]], model: str) -> None:
    factors = Factors(model)

    for text, tools, messages, reported in reports:
        factors.learn(parts(text, tools=tools, messages=messages), reported)

    assert 0.4 <= factors.text.slope <= 4
    assert 0.4 <= factors.tools.slope <= 4
    assert -500 <= factors.text.constant <= 30_000
    assert -500 <= factors.tools.constant <= 30_000
