"""Prompts at and beyond their limits."""

from typing import Any

import pytest

from alerting.detectors.prompt_size import PromptSize
from alerting.finding import Severity
from alerting.settings import PromptSizeSettings


def detector(**settings: object) -> PromptSize:
    return PromptSize(PromptSizeSettings.model_validate({"max_tokens": None, **settings}))


@pytest.mark.parametrize(("tokens", "found"), [(100, False), (101, True)])
def test_a_prompt_at_the_limit_passes(a_call: Any, tokens: Any, found: Any) -> None:
    assert (detector(max_tokens=100).check(a_call(), tokens=tokens) is not None) is found


@pytest.mark.parametrize(("chars", "found"), [(100, False), (101, True)])
def test_characters_are_limited_too(a_call: Any, chars: Any, found: Any) -> None:
    assert (detector(max_chars=100).check(a_call(text="x" * chars), tokens=10**9) is not None) is found


def test_without_limits_nothing_is_too_large(a_call: Any) -> None:
    nothing = detector()

    assert nothing.check(a_call(text="x" * 10_000), tokens=10**9) is None
    assert not nothing.exact_matters(bound=10**9)


def test_the_finding_tells_the_numbers_and_the_remedy(a_call: Any) -> None:
    found = detector(max_tokens=100, action="block").check(a_call(caller={"user": "ann"}), tokens=12_345)

    assert found is not None
    assert found.message == "The prompt has 12,345 tokens; the limit is 100."
    assert "detectors.prompt_size" in found.remedy
    assert (found.severity, found.episode) == (Severity.HIGH, ("openai", "ann"))
