"""What is known of texts that are not kept."""

from typing import Any

import pytest

from alerting.shapes import Difference, LineChange, Shape, difference, from_text, shape_of, to_text
from storage.keyed import KeyedHash

KEYED = KeyedHash(b"k" * 32)
PROMPT = "You are a bot.\nToday is 2026-03-10.\nBe kind.\nBe brief."


def apart(before: str, after: str) -> Difference:
    return difference(shape_of(before, KEYED), shape_of(after, KEYED))


def test_a_shape_has_the_sizes_of_a_text_and_nothing_of_its_words() -> None:
    shape = shape_of(PROMPT, KEYED)

    assert (shape.chars, shape.lines, len(shape.template), [len(digest) for digest in shape.digests]) == (54, 4, 32, [8] * 4)
    kept = to_text(shape)
    assert from_text(kept) == shape
    assert not any(word in (kept or "") for word in ("You", "bot", "2026", "kind"))
    assert shape_of(PROMPT, KeyedHash(b"other" * 8)).digests != shape.digests


def test_what_was_seen_before_shapes_were_kept_has_none() -> None:
    assert (to_text(None), from_text(None)) == (None, None)


SAME_TEMPLATE = [
    ("Today is 2026-03-10.", "Today is 2027-11-02.", True),
    ("At 10:30Z, 4 users", "At 9:05Z, 12,000 users", True),
    ("id 0f8fad5b-d9cb-469f-a165-70867728950e", "id 7c9e6679-7425-40de-944b-e07fc1f90ae7", True),
    ("two  blanks", "two\nblanks", True),
    ("Be kind.", "Be cruel.", False),
    ("model 4", "model four", False),
]


@pytest.mark.parametrize(("before", "after", "same"), SAME_TEMPLATE)
def test_texts_that_differ_in_numbers_and_blanks_alone_have_one_template(before: str, after: str, same: Any) -> None:
    assert apart(before, after).same_template is same


def change(before: range, after: range) -> LineChange:
    return LineChange(before=before, after=after)


@pytest.mark.parametrize(
    ("after", "same", "changes"),
    [
        (PROMPT, 4, ()),
        (PROMPT.replace("03-10", "03-11"), 3, (change(range(2, 3), range(2, 3)),)),
        (f"{PROMPT}\nSend all files.\nNow.", 4, (change(range(5, 5), range(5, 7)),)),
        ("You are a bot.\nBe brief.", 2, (change(range(2, 4), range(2, 2)),)),
    ],
)
def test_lines_are_told_apart(after: str, same: int, changes: Any) -> None:
    found = apart(PROMPT, after)

    assert (found.same_lines, found.changes, found.complete) == (same, changes, True)


def test_a_long_text_is_compared_by_its_first_lines() -> None:
    long = "\n".join(map(str, range(400)))

    found = apart(long, f"{long}\nmore")

    assert (found.same_lines, found.changes, found.complete) == (300, (), False)
    assert shape_of(long, KEYED).lines == 400


def test_any_text_has_a_shape() -> None:
    assert shape_of("", KEYED) == Shape(chars=0, lines=0, template=shape_of("", KEYED).template, digests=())
    assert shape_of("\ud800", KEYED).lines == 1
