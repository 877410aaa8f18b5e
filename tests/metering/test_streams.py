"""Server-sent events, however their bytes are split."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering import streams
from metering.streams import EventSplitter


def split(*pieces: bytes) -> list[bytes]:
    splitter = EventSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return [*events, *splitter.finish()]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_ends_a_line(newline: bytes) -> None:
    stream = newline.join([b": comment", b"event: x", b"data: one", b"", b"id: 7", b"data:two", b"data: three", b"", b""])

    assert split(stream) == [b"one", b"two\nthree"]


def test_an_event_without_data_is_none() -> None:
    assert split(b"event: ping\n\nretry: 5\n\n\n") == []


def test_the_end_of_the_stream_ends_the_last_event() -> None:
    assert split(b"data: one\n\ndata: two") == [b"one", b"two"]


def test_only_one_space_after_the_colon_belongs_to_the_field() -> None:
    assert split(b"data:  x\n\n") == [b" x"]


@given(
    lines=st.lists(st.sampled_from([b"data: {}", b"data:x", b"event: y", b": c", b"", b"", b"d", "data: ü".encode()]), max_size=20),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 300), max_size=20),
)
def test_any_split_gives_the_same_events(lines: list[bytes], newline: bytes, cuts: list[int]) -> None:
    stream = newline.join(lines)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]

    assert split(*pieces) == split(stream)


def test_an_event_beyond_the_limit_is_dropped_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_EVENT", 10)

    assert split(b"data: 0123", b"456789abcdef", b"ghi\n\n", b"data: next\n\n") == [b"next"]
    assert split(b"data: 01234\ndata: 567890\n\n") == [b"01234"]
    assert split(b"data: 0123456789abcdef") == []
