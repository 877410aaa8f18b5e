"""What pictures, sounds, films and documents cost in tokens, by each provider's size rules: an estimate, and a bound that it stays under.

Sources: OpenAI's "Images and vision" (tiles of 512 pixels with a base, or patches of 32), Anthropic's "Vision" (patches of 28, which is
about width by height / 750), Google's "Understand and count tokens" (258 a tile of 768, 1,120 a picture from Gemini 3), and recordings.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from metering.call import Medium, Prompt

type Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a family of models counts a picture: `of` by its size in pixels, `most` for one of unknown size."""

    model: re.Pattern[str]
    of: Callable[[Size], int]
    most: int
    low: int | None = None
    """OpenAI's `detail: low`."""


def _tiled(base: int, tile: int) -> Callable[[Size], int]:
    """Scale into 2048 by 2048, then the short side to 768, and count tiles of 512."""

    def count(size: Size) -> int:
        width, height = _within(size, 2048)
        scale = min(1.0, 768 / min(width, height))
        return base + tile * math.ceil(width * scale / 512) * math.ceil(height * scale / 512)

    return count


def _patched(factor: float, *, most: int = 1536) -> Callable[[Size], int]:
    """Count patches of 32, scaled down to `most` of them."""
    return lambda size: math.ceil(min(most, _patches(size, 32)) * factor)


def _patches(size: Size, edge: int) -> int:
    return math.ceil(size[0] / edge) * math.ceil(size[1] / edge)


def _claude(longest: int, most: int) -> Callable[[Size], int]:
    return lambda size: min(most, _patches(_within(size, longest), 28))


def _gemini(size: Size) -> int:
    """Up to 384 on both sides one tile; beyond it, tiles of a crop unit of two thirds of the short side, between 256 and 768."""
    if max(size) <= 384:
        return 258
    unit = min(768, max(256, int(min(size) / 1.5)))
    return 258 * _patches(size, unit)


def _grok(size: Size) -> int:
    tiles = min(6, _patches(size, 448))
    return 256 * (tiles if tiles == 1 else tiles + 1)


def _within(size: Size, longest: int) -> Size:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _rule(model: str, of: Callable[[Size], int], most: int, low: int | None = None) -> Rule:
    return Rule(re.compile(model), of, most, low)


_RULES = (
    _rule(r"gpt-4o-mini", _tiled(2833, 5667), 48169, 2833),
    _rule(r"(gpt-[45][.\d]*|o4)(-codex)?-nano", _patched(2.46), 3779),
    _rule(r"o4-mini", _patched(1.72), 2642),
    _rule(r"gpt-[45][.\d]*(-codex)?-mini|gpt-5\.[4-9]|gpt-[6-9]", _patched(1.62, most=2500), 4050),
    _rule(r"gpt-5", _tiled(70, 140), 1190, 70),
    _rule(r"\bo[13]\b|\bo[13]-", _tiled(75, 150), 1275, 75),
    _rule(r"computer-use", _tiled(65, 129), 1097, 65),
    _rule(r"gpt-|chatgpt", _tiled(85, 170), 1445, 85),
    _rule(r"claude-[a-z]+-(4[.-][7-9]|[5-9](?!\d))", _claude(2576, 4784), 4784),
    _rule(r"claude", _claude(1568, 1600), 1600),
    _rule(r"gemini-(1|2)", _gemini, 4128),
    _rule(r"gemini|gemma", lambda _size: 1120, 1120),
    _rule(r"grok", _grok, 1792),
    _rule(r"llama", lambda size: 288 * (1 + min(16, _patches(size, 336))), 4896),
)
_OTHER = _rule("", lambda size: 16 + _patches(_within(size, 1540), 28), 3100)
"""Pixtral, Qwen and GLM count patches of 28."""

_UNSEEN_IMAGE = 1000
_PAGE = 1600
_BYTES_A_PAGE = 100_000
_BYTES_A_SECOND_OF_SOUND = 6000
_SOUND = 32
"""Tokens a second (Gemini); OpenAI's are fewer."""
_UNSEEN = {"image": _UNSEEN_IMAGE, "audio": 500, "video": 3000, "document": 3000}
_MOST_UNSEEN = {"image": 0, "audio": 32_768, "video": 65_536, "document": 32_768}
"""Taken for what is only named (a URL, a file id): a quarter of an hour of sound, ten minutes of film, a dozen full pages."""


def media_tokens(prompt: Prompt, model: str | None) -> int:
    """Return about how many tokens the media of a prompt take; those without a description as an unseen picture each."""
    if not prompt.media:
        return 0
    rule = _rule_of(model)
    return sum(_estimate(medium, rule) for medium in prompt.attached) + _UNSEEN_IMAGE * (prompt.media - len(prompt.attached))


def media_bound(prompt: Prompt, model: str | None) -> int:
    """Return a number of tokens that the media of a prompt do not exceed, so far as they are in the request."""
    if not prompt.media:
        return 0
    rule = _rule_of(model)
    return sum(_bound(medium, rule) for medium in prompt.attached) + rule.most * max(0, prompt.media - len(prompt.attached))


def _rule_of(model: str | None) -> Rule:
    name = (model or "").lower()
    return next((rule for rule in _RULES if rule.model.search(name)), _OTHER)


def _estimate(medium: Medium, rule: Rule) -> int:
    if medium.kind == "image" and medium.width and medium.height:
        return rule.low if medium.detail == "low" and rule.low is not None else rule.of((medium.width, medium.height))
    if not medium.size:
        return min(_UNSEEN["image"], rule.most) if medium.kind == "image" else _UNSEEN[medium.kind]
    if medium.kind == "document":
        return min(medium.size // 3, _PAGE * (1 + medium.size // _BYTES_A_PAGE))
    if medium.kind == "image":
        return min(_UNSEEN_IMAGE, rule.most)
    return 10 + medium.size * _SOUND // _BYTES_A_SECOND_OF_SOUND


def _bound(medium: Medium, rule: Rule) -> int:
    if medium.kind == "image":
        # A quarter above the rule and a thousand: providers change how they scale, and servers of open models cut as they like.
        known = medium.width and medium.height
        return max(rule.most, 1000) if not known else rule.of((medium.width or 1, medium.height or 1)) * 5 // 4 + 1000
    if not medium.size:
        return _MOST_UNSEEN[medium.kind]
    # A page has at least some hundred bytes and is counted as text and as a picture; a token of sound has at least 64 bytes.
    return medium.size + 2 * _PAGE if medium.kind == "document" else 1000 + medium.size // 64
