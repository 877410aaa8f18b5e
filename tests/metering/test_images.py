"""What pictures, sounds and documents come to, by what their first bytes tell."""

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.call import Medium, Prompt
from metering.image_headers import image_size
from metering.images import media_bound, media_tokens
from metering.providers.media import medium, medium_of


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)


def jpeg(width: int, height: int) -> bytes:
    app = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    huffman = b"\xff\xc4" + struct.pack(">H", 4) + bytes(2)
    return b"\xff\xd8" + app + huffman + b"\xff\x01\xff\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3)


def webp(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 10) + rest


_PICTURES = {
    "png": png(640, 480),
    "gif": b"GIF89a" + struct.pack("<HH", 640, 480),
    "jpeg": jpeg(640, 480),
    "webp lossy": webp(b"VP8 ", bytes(6) + struct.pack("<HH", 640, 480)),
    "webp lossless": webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14)),
    "webp extended": webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
}


@pytest.mark.parametrize("head", _PICTURES.values(), ids=_PICTURES)
def test_a_picture_tells_its_size_at_once(head: bytes) -> None:
    assert image_size(head) == (640, 480)


_NONE = {
    "nothing": b"",
    "a document": b"%PDF-1.7",
    "no width": png(0, 5),
    "no segments": b"\xff\xd8\x00\x00",
    **{f"half of a {name}": head[: len(head) // 2] for name, head in _PICTURES.items()},
}


@pytest.mark.parametrize("head", _NONE.values(), ids=_NONE)
def test_what_is_none_or_ends_too_soon_has_no_size(head: bytes) -> None:
    assert image_size(head) is None


@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP", b"GIF87a"]))
def test_no_bytes_make_it_fail(noise: bytes, start: bytes) -> None:
    size = image_size(start + noise)

    assert size is None or min(size) > 0


_ENCODED = base64.b64encode(png(640, 480)).decode()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_ENCODED}", "detail": "low"}},
        {"type": "input_image", "image_url": f"data:image/png;base64,{_ENCODED}", "detail": "low"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _ENCODED}, "detail": "low"},
        {"image": {"format": "png", "source": {"bytes": _ENCODED}}, "detail": "low"},
        {"type": "file", "file": {"file_data": f"data:image/png;base64,{_ENCODED}"}, "detail": "low"},
    ],
)
def test_each_way_to_send_a_picture_is_read(part: dict[str, Any]) -> None:
    assert medium_of(part) == Medium(kind="image", width=640, height=480, detail="low", size=len(_ENCODED) * 3 // 4)


def test_what_is_only_named_has_no_size() -> None:
    assert medium("https://example.com/a.png", kind="image") == Medium(kind="image")
    assert medium("gs://bucket/a.mp4", kind="document", mime="video/mp4") == Medium(kind="video")
    assert medium_of({"type": "file", "file": {"file_id": "file-1"}}) == Medium(kind="document")


@pytest.mark.parametrize(
    ("content", "mime", "kind"), [("JVBERi0=", "application/pdf", "document"), ("UklGRg==", "audio/wav", "audio"), ("%%% é", None, "image")]
)
def test_what_it_is_goes_by_its_type(content: str, mime: str | None, kind: str) -> None:
    found = medium(content, kind="image", mime=mime)

    assert (found.kind, found.width) == (kind, None)
    assert found.size > 0


def with_picture(width: int, height: int, detail: str | None = None) -> Prompt:
    return Prompt(messages=1, media=1, attached=(Medium(kind="image", width=width, height=height, size=5000, detail=detail),))


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        ("gpt-4o", 1024, 1024, 85 + 4 * 170),
        ("gpt-4o", 2048, 4096, 85 + 6 * 170),
        ("gpt-4o-mini", 60, 30, 2833 + 5667),
        ("gpt-5", 50, 50, 210),
        ("o3", 50, 50, 225),
        ("computer-use-preview", 50, 50, 194),
        ("gpt-4.1-mini", 1024, 1024, 1659),
        ("gpt-4.1-nano", 128, 128, 40),
        ("o4-mini", 1024, 1024, 1762),
        ("claude-haiku-4-5", 128, 128, 25),
        ("claude-sonnet-4-5", 166, 282, 66),
        ("claude-sonnet-4-5", 8000, 8000, 1600),
        ("claude-opus-4-7", 8000, 8000, 4784),
        ("gemini-2.5-flash", 128, 128, 258),
        ("gemini-2.5-flash", 960, 540, 6 * 258),
        ("gemini-3-flash-preview", 128, 128, 1120),
        ("grok-4", 128, 128, 256),
        ("grok-4", 900, 400, 4 * 256),
        ("llama-4-scout", 597, 566, 5 * 288),
        ("qwen2.5-vl", 597, 566, 16 + 22 * 21),
        (None, 280, 280, 116),
    ],
)
def test_a_picture_costs_by_the_rules_of_its_model(model: str | None, width: int, height: int, tokens: int) -> None:
    assert media_tokens(with_picture(width, height), model) == tokens


def test_a_look_at_low_detail_costs_the_base() -> None:
    assert media_tokens(with_picture(4000, 4000, "low"), "gpt-4o") == 85


_KINDS = st.sampled_from(["image", "audio", "video", "document"])
_SIZES = st.none() | st.integers(1, 20_000)


@given(
    media=st.lists(st.builds(Medium, kind=_KINDS, width=_SIZES, height=_SIZES, size=st.integers(0, 10**7)), max_size=3),
    more=st.integers(0, 2),
    model=st.sampled_from(
        ["gpt-4o", "gpt-4o-mini", "gpt-5-nano", "claude-opus-4-8", "gemini-2.5-pro", "gemini-3-pro", "grok-4", "qwen", None]
    ),
)
def test_the_bound_of_media_is_above_the_estimate(media: list[Medium], more: int, model: str | None) -> None:
    prompt = Prompt(messages=1, media=len(media) + more, attached=tuple(media))

    assert media_tokens(prompt, model) <= media_bound(prompt, model)
    assert media_bound(Prompt(), model) == 0
