"""What stands around the text of a prompt."""

import pytest

from metering.call import Prompt
from metering.framing import framing, most_framing


@pytest.mark.parametrize(
    ("model", "prompt", "tokens"),
    [
        ("gpt-4o", Prompt(messages=3, answers=1), 15),
        ("gpt-4o", Prompt(messages=2, named=1), 12),
        ("gpt-5-nano", Prompt(messages=4, answers=1), 20),
        ("openai/gpt-5.4", Prompt(messages=1), 6),
        ("o3-mini", Prompt(messages=3, answers=1), 14),
        ("gpt-4o-search-preview", Prompt(messages=2), 0),
        ("gpt-3.5-turbo", Prompt(messages=2, calls=1), 18),
        ("text-embedding-3-small", Prompt(), 0),
        (None, Prompt(messages=1), 7),
    ],
)
def test_openai_frames_its_messages(model: str | None, prompt: Prompt, tokens: int) -> None:
    assert framing(prompt, model) == tokens


@pytest.mark.parametrize(
    ("fuller", "least"),
    [
        (Prompt(messages=1, tools=b"[]"), 700),
        (Prompt(messages=1, stored=True), 10_000),
        (Prompt(messages=1, server_tools=("web_search_20250305",)), 30_000),
        (Prompt(messages=1, server_tools=("openrouter:web_search",)), 30_000),
        (Prompt(messages=1, server_tools=("googleSearch",)), 30_000),
        (Prompt(messages=1, server_tools=("nobody_knows",)), 16_000),
        (Prompt(messages=1, sealed=5000), 5000),
    ],
)
def test_what_is_hidden_widens_the_bound(fuller: Prompt, least: int) -> None:
    bare = most_framing(Prompt(messages=1), "gpt-4o", 0)

    assert most_framing(fuller, "gpt-4o", 1) >= bare + least
    assert bare < 100


def test_models_that_hide_more_are_known() -> None:
    prompt = Prompt(messages=1)

    assert most_framing(prompt, "grok-4", 0) > most_framing(prompt, "gpt-4o", 0) + 500
