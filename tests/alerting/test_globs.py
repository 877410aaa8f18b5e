"""Whether one text can meet some globs and none of others."""

import random
from itertools import product
from typing import Any

import pytest

from alerting.globs import UndecidedError, common_text
from metering.scope import compile_patterns

DECIDED = [
    (("gpt-4*", "*o"), (), "gpt-4o"),
    (("gpt-4*",), ("gpt-4o",), "gpt-4"),
    (("gpt-4*",), ("gpt*",), None),
    (("GPT-4",), ("gpt-4",), None),
    (("GPT-4*",), ("gpt-4?*",), "gpt-4"),
    (("o3", "o4"), (), None),
    ((("o3", "o4"), ("o4", "o5")), (), "o4"),
    (((),), (), None),
    (("*",), (), "a"),
    (("*",), ("?*",), ""),
    (("*",), ("*",), None),
    (("[a-c]x",), ("[!c]*",), "cx"),
    (("[!a]",), ("[!b]",), "b"),
    (("[!a]",), ("[!ab]",), "b"),
    (("x[",), (), "x["),
    (("[[]x",), (), "[x"),
    (("[]a]",), ("a",), "]"),
    (("[!]]",), ("[!a]",), "a"),
    (("[z-a]",), (), None),
    (("straße-*",), ("STRASSE*",), "straße-"),
    (("[\u03b1-\u03c9]",), ("[\u0391-\u03a9]",), None),
    (("?",), ("[\u0000-\U0010ffff]",), None),
    (("a**b",), ("a*b",), None),
    (("a*b*c",), ("*bc", "a?*c"), None),
    (("a\nb",), ("a?b",), None),
]


@pytest.mark.parametrize(("wanted", "unwanted", "expected"), DECIDED)
def test_a_shortest_common_text_is_found_or_shown_to_be_none(wanted: Any, unwanted: Any, expected: Any) -> None:
    found = common_text(wanted, unwanted)

    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert len(found) == len(expected)
        assert _is_common(found, wanted, unwanted)


def _is_common(text: str, wanted: Any, unwanted: Any) -> bool:
    return all(compile_patterns(patterns)(text) for patterns in wanted) and not any(
        compile_patterns(patterns)(text) for patterns in unwanted
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.untraced
def test_random_globs_have_a_common_text_exactly_when_one_exists_among_all_short_ones(seed: int) -> None:
    chance = random.Random(seed)
    parts = ["a", "b", "B", "*", "?", "[ab]", "[!a]", "[a-b]", "[", "k", "]"]
    # 'K' (the sign of Kelvin) is one with k where case does not matter; 'z' stands for every sign that no glob names.
    texts = ["".join(signs) for length in range(5) for signs in product("abk[]z\u212a", repeat=length)]
    outcomes = set[bool]()

    for _ in range(60):
        wanted = tuple(_patterns(chance, parts) for _ in range(chance.randint(1, 2)))
        unwanted = tuple(_patterns(chance, parts) for _ in range(chance.randint(0, 2)))
        found = common_text(wanted, unwanted)
        among = [text for text in texts if _is_common(text, wanted, unwanted)]
        outcomes.add(bool(among))

        if found is None:
            assert not among, (wanted, unwanted, among[0])
        else:
            assert _is_common(found, wanted, unwanted), (wanted, unwanted, found)
            assert len(found) <= min(map(len, filter(None, among)), default=len(found)), (wanted, unwanted, found)

    assert outcomes == {True, False}


def _patterns(chance: random.Random, parts: list[str]) -> str | tuple[str, ...]:
    globs = tuple("".join(chance.choices(parts, k=chance.randint(1, 3))) for _ in range(chance.randint(1, 2)))
    return globs if len(globs) > 1 or chance.random() < 0.5 else globs[0]


def test_globs_that_are_too_entangled_are_said_to_be_undecided() -> None:
    of_131_thousand_states = f"*a{'?' * 16}"

    with pytest.raises(UndecidedError, match="20,000 states"):
        common_text((of_131_thousand_states,), (of_131_thousand_states.upper(),))


def test_what_globs_have_in_common_is_found_however_entangled_they_are() -> None:
    entangled = f"*a{'?' * 16}"

    assert common_text((entangled, entangled.upper(), "*b"), ()) == "a" * 16 + "b"
