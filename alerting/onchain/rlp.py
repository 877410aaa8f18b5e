"""Recursive Length Prefix, the encoding of Ethereum's transactions; only the one way in which each value may be written is read.

https://ethereum.org/en/developers/docs/data-structures-and-encoding/rlp/
"""

type Item = bytes | list["Item"]

_DEEPEST = 8
"""A transaction nests five levels: the wrapper of blobs, the body, the access list, its entries, their keys."""
_MOST_ITEMS = 100_000


class RlpError(ValueError):
    """The bytes are no RLP, or are not written in the one way they may be."""


def decode(data: bytes) -> Item:
    """Return the one item that `data` is: bytes, or a list of items. Raises RlpError."""
    reader = _Reader(data)
    item = reader.item(0, len(data), depth=0)
    if reader.at != len(data):
        raise RlpError(f"{len(data) - reader.at} bytes follow the item")
    return item


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _MOST_ITEMS
        self.at = 0

    def item(self, start: int, end: int, *, depth: int) -> Item:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise RlpError(f"it nests deeper than {_DEEPEST} levels or has more than {_MOST_ITEMS:,} items")
        if start >= end:
            raise RlpError("it ends in the middle of an item")
        first = self._data[start]
        if first < 0x80:
            self.at = start + 1
            return self._data[start : start + 1]
        is_list = first >= 0xC0
        begin, stop = self._span(start, end, first - (0xC0 if is_list else 0x80))
        if is_list:
            return self._items(begin, stop, depth=depth)
        if stop - begin == 1 and self._data[begin] < 0x80:
            raise RlpError("a single small byte has a length before it")
        self.at = stop
        return self._data[begin:stop]

    def _span(self, start: int, end: int, size: int) -> tuple[int, int]:
        """Return where the payload of an item begins and stops; `size` is its length, or beyond 55 that of its length."""
        begin = start + 1
        if size > 55:
            begin += size - 55
            written = self._data[start + 1 : begin]
            size = int.from_bytes(written)
            if begin > end or written[:1] == b"\0" or size <= 55:
                raise RlpError("a length is not written in the shortest way")
        if begin + size > end:
            raise RlpError("it ends in the middle of an item")
        return begin, begin + size

    def _items(self, begin: int, stop: int, *, depth: int) -> list[Item]:
        items: list[Item] = []
        self.at = begin
        while self.at < stop:
            items.append(self.item(self.at, stop, depth=depth + 1))
        return items
