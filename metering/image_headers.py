"""The width and height of a picture, from its first bytes."""

import struct

HEADER = 64 << 10
"""Bytes that are looked at: a photograph may carry a preview and a colour profile before its size."""


def image_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, WebP or JPEG, or None for what is none of them or ends too soon."""
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack_from(">II", head, 16)
        elif head.startswith((b"GIF87a", b"GIF89a")):
            width, height = struct.unpack_from("<HH", head, 6)
        elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            width, height = _webp(head)
        elif head.startswith(b"\xff\xd8"):
            width, height = _jpeg(head)
        else:
            return None
    except (struct.error, IndexError):
        return None
    return (width, height) if width and height else None


def _webp(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _jpeg(head: bytes) -> tuple[int, int]:
    """Walk the segments to the first frame header (SOF0 to SOF15; DHT, JPG and DAC lie between their numbers)."""
    at = 2
    while True:
        while head[at] == 0xFF and head[at + 1] == 0xFF:
            at += 1
        marker = head[at + 1]
        if head[at] != 0xFF:
            raise IndexError
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", head, at + 2)
        at += 2 + length
