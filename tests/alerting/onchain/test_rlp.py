"""RLP is read in the one way in which it may be written."""

from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from alerting.onchain.rlp import RlpError, decode

ITEMS = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=5), max_leaves=30)


def depth(item: Any) -> int:
    return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0


@given(ITEMS.filter(lambda item: depth(item) <= 8))
def test_what_another_encoder_writes_is_read(item: Any) -> None:
    assert decode(rlp.encode(item)) == item


@given(st.binary(max_size=60))
def test_of_any_bytes_only_those_are_read_that_would_be_written_so(data: bytes) -> None:
    try:
        item = decode(data)
    except RlpError:
        return
    assert rlp.encode(item) == data


@pytest.mark.parametrize(
    "text",
    ["", "00" * 2, "8100", "81", "b800", "b80161", "b9003861", "c1", "c2c1", "f800", "b8", "bfffffffffffffffff", "f9ffff", "83616263ff"],
)
def test_other_ways_of_writing_are_refused(text: str) -> None:
    with pytest.raises(RlpError):
        decode(bytes.fromhex(text))


def test_what_nests_too_deep_or_has_too_many_items_is_refused() -> None:
    with pytest.raises(RlpError, match="deeper"):
        decode(rlp.encode([[[[[[[[[b"x"]]]]]]]]]))
    with pytest.raises(RlpError, match="items"):
        decode(rlp.encode([b""] * 100_001))
