"""An answer is what comes after 1xx, and only that counts."""

import pytest

from tests.support.between import Between, post, request_of

HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    "pieces", [[HINTS + ANSWER], [CONTINUE, HINTS, ANSWER], [HINTS[:11], HINTS[11:30], HINTS[30:] + ANSWER[:9], ANSWER[9:]]]
)
async def test_what_comes_before_an_answer_is_not_the_answer(between: Between, pieces: list[bytes]) -> None:
    between.writer.write(post())
    reader, writer = await between.upstream()
    await request_of(reader)

    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    got = await between.until(b"{}")
    between.writer.write(post())
    await request_of(reader)  # on the same connection
    writer.write(ANSWER)
    await between.until(b"{}")

    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert {(row.ending, row.status) for row in await between.house.rows()} == {("completed", 200)}
