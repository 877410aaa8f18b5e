"""AWS event streams: any split reads the same, botocore reads the same, and nothing that is broken is read as whole."""

import random
import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from metering.eventstream import MAX_HEADERS, MAX_MESSAGE, Message, MessageSplitter
from tests.support.eventstreams import event, message

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
MESSAGES = st.lists(
    st.tuples(st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=40), max_size=4), st.binary(max_size=300)), max_size=5
)


def read(data: bytes, sizes: list[int]) -> tuple[list[Message], MessageSplitter]:
    splitter, found, at = MessageSplitter(), list[Message](), 0
    for size in sizes:
        found += splitter.feed(data[at : at + size])
        at += size
    return found + splitter.feed(data[at:]), splitter


@given(MESSAGES, st.lists(st.integers(0, 60), max_size=60))
def test_any_split_reads_the_same_messages_as_botocore(parts: list[tuple[dict[str, str], bytes]], sizes: list[int]) -> None:
    data = b"".join(message(headers, payload) for headers, payload in parts)
    oracle = EventStreamBuffer()
    oracle.add_data(data)

    found, splitter = read(data, sizes)

    assert [(dict(each.headers), each.payload) for each in found] == [(each.headers, each.payload) for each in oracle] == parts
    assert splitter.fault is None
    assert not splitter.midway


def test_headers_that_are_no_texts_are_skipped() -> None:
    values = (
        b"\x01a\x00" + b"\x01b\x01" + b"\x01c\x02\x07" + b"\x01d\x03\x00\x07" + b"\x01e\x04" + bytes(4) + b"\x01f\x05" + bytes(8),
        b"\x01g\x06\x00\x03abc" + b"\x01h\x07\x00\x02hi" + b"\x01i\x08" + bytes(8) + b"\x01j\x09" + bytes(16),
    )

    (found,), _ = read(message(b"".join(values), b"{}"), [])

    assert found == Message({"h": "hi"}, b"{}")


@given(st.integers(0, 2**32 - 1))
def test_one_flipped_byte_is_a_fault_and_no_message(seed: int) -> None:
    chance = random.Random(seed)
    whole = [event("chunk", b'{"n": %d}' % number) for number in range(3)]
    data = bytearray(b"".join(whole))
    at = chance.randrange(len(data))
    data[at] ^= chance.randrange(1, 256)

    found, splitter = read(bytes(data), [chance.randrange(50) for _ in range(5)])

    intact = 0 if at < len(whole[0]) else 1 if at < len(whole[0]) * 2 else 2
    assert [each.payload for each in found] == [b'{"n": %d}' % number for number in range(intact)]
    assert splitter.fault is not None
    assert splitter.feed(event("chunk", b"{}")) == []


@given(st.integers(0, 200))
def test_a_stream_cut_short_says_that_it_ends_midway(cut: int) -> None:
    data = event("chunk", b'{"n": 1}') * 2
    cut = min(cut, len(data))

    found, splitter = read(data[:cut], [])

    assert len(found) == cut // (len(data) // 2)
    assert splitter.midway == bool(cut % (len(data) // 2))
    assert splitter.fault is None


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (MAX_MESSAGE + 1, 0), (200, 185), (MAX_MESSAGE, MAX_HEADERS + 1), (2**32 - 1, 0)])
def test_an_absurd_length_is_a_fault_before_anything_is_kept(total: int, headers: int) -> None:
    lengths = struct.pack(">II", total, headers)

    found, splitter = read(lengths + struct.pack(">I", crc32(lengths)), [])

    assert found == []
    assert splitter.fault is not None
    assert str(total) in splitter.fault
    assert not splitter.midway


@pytest.mark.parametrize(
    "headers", [b"\x05ab", b"\x01a", b"\x01a\x07", b"\x01a\x07\x00\x09x", b"\x01a\x0a", b"\x01\xff\x07\x00\x00", b"\x01a\x05\x00"]
)
def test_headers_that_cannot_be_read_are_a_fault(headers: bytes) -> None:
    found, splitter = read(message(headers, b"{}"), [])

    assert found == []
    assert splitter.fault == "the headers of a message cannot be read"


def test_noise_never_raises() -> None:
    chance = random.Random(5)
    seeds = [event("metadata", b'{"usage":{"inputTokens":1}}'), event("chunk", b"{}"), bytes(40)]
    for _ in range(3000):
        data = bytearray(chance.choice(seeds) * chance.randint(1, 3))
        for _ in range(chance.randint(0, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(len(data)) :]

        found, splitter = read(bytes(data), [chance.randrange(9) for _ in range(9)])

        assert len(found) <= 3
        assert not (splitter.fault and splitter.midway)
