import random
from typing import Any

import h11
import pytest
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer

from proxy.straight import payload_of


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b"5\r\nhello\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n there\r\n", b"hello there"),
        (b"0000000a\r\n0123456789\r\n", b"0123456789"),
        (b"A\r\n01234\r\n789\r\n", b"01234\r\n789"),
        (b"", None),
        (b"0\r\n\r\n", None),
        (b"5\r\nhello\r\n0\r\n\r\n", None),
        (b"5\r\nhello\r", None),
        (b"5\r\nhello", None),
        (b"5\r\nhelloxx", None),
        (b"5;a=b\r\nhello\r\n", None),
        (b"+5\r\nhello\r\n", None),
        (b" 5\r\nhello\r\n", None),
        (b"1_0\r\n0123456789abcdef\r\n", None),
        (b"g\r\nhello\r\n", None),
        (b"\r\n5\r\nhello\r\n", None),
        (b"000000005\r\nhello\r\n", None),
    ],
)
def test_only_whole_chunks_are_taken(data: bytes, payload: bytes | None) -> None:
    assert payload_of(data) == payload


def test_what_is_taken_is_what_the_layers_would_read() -> None:
    chance = random.Random(3)
    for _ in range(2000):
        alphabet = b"0123456789abcdefg\r\n;+ "
        data = bytes(chance.choice(alphabet) for _ in range(chance.randint(0, 14)))
        if chance.random() < 0.6:
            data = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data, b"x" * chance.randint(1, 40)) if part)

        if (payload := payload_of(data)) is not None:
            assert payload == read_by_h11(data)


def read_by_h11(data: bytes) -> bytes:
    reader, buffer = ChunkedReader(), ReceiveBuffer()
    buffer += data
    parts = []
    while isinstance(part := reader(buffer), h11.Data):
        parts.append(part.data)
    assert part is None
    state: Any = reader
    assert not buffer
    assert not any(getattr(state, name) for name in ("_bytes_in_chunk", "_bytes_to_discard", "_reading_trailer"))
    return b"".join(parts)
