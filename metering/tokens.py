"""How many tokens a text has, before a provider says so."""

import asyncio
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metering.call import Prompt
from metering.encodings import encoding, encoding_name

LONG = 64 << 10
"""Characters beyond which a prompt is counted in a thread."""
_PIECE = 8192
"""tiktoken panics on a million spaces; a piece of this length is counted in a millisecond, whatever it holds."""
_MEDIUM = 1600
"""Tokens taken for an image, a sound or a document, whose size is not known before the provider tells."""
_CACHED_FROM = 256
_CACHED = 8192

# Chat framing (OpenAI): 3 and the role for each message; 3 for the reply, or 2 with reasoning models.
_PER_MESSAGE = 4
_PER_CHAT = 3
_PER_REASONING_CHAT = 2
_REASONING = re.compile(r"gpt-5|o3|o4")
_MOST_PER_MESSAGE = 8
_MOST_PER_CHAT = 16
_MOST_FOR_TOOLS = 600
"""What providers add out of sight when a call defines tools (Anthropic 264 to 530)."""


@dataclass(frozen=True, slots=True)
class _Family:
    """What another family of models makes of text that o200k counts: `factor` times as many tokens, and `hidden` ones."""

    model: re.Pattern[str]
    factor: float
    hidden: int = 0


_FAMILIES = (
    _Family(re.compile(r"claude.*4[.-][78]"), 1.41),
    _Family(re.compile(r"claude.*-5"), 1.29),
    _Family(re.compile(r"claude.*4[.-]6"), 1.14),
    _Family(re.compile(r"claude"), 1.12),
    _Family(re.compile(r"gemini"), 1.05),
    _Family(re.compile(r"mistral|ministral|codestral|magistral|devstral"), 1.08),
    _Family(re.compile(r"qwen"), 1.11),
    _Family(re.compile(r"nova-"), 1.29),
    _Family(re.compile(r"llama"), 1.17),
    _Family(re.compile(r"command-|north-mini"), 1.25, 300),
    _Family(re.compile(r"grok"), 1.0, 190),
    _Family(re.compile(r"gpt-oss"), 1.0, 67),
)
"""Measured over recorded calls; the hidden ones are system text that a provider adds to each."""


class TokenCounter:
    """Counts prompts and answers: exactly for text to OpenAI's models, as an estimate for others."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    async def warm(self) -> None:
        """Load the encoding of current models, so that the first call does not wait for it."""
        await asyncio.to_thread(encoding, "o200k_base")

    def bound(self, prompt: Prompt) -> int:
        """Return a number of tokens that the prompt does not exceed: a token is at least one byte. Media are an assumption."""
        text = sum(map(_bytes, prompt.system)) + sum(map(_bytes, prompt.texts)) + len(prompt.tools)
        tools = _MOST_FOR_TOOLS if prompt.tools else 0
        return text + tools + _MOST_PER_CHAT + _MOST_PER_MESSAGE * prompt.messages + _MEDIUM * prompt.media

    async def count(self, prompt: Prompt, *, model: str | None) -> int:
        """Return the tokens of the prompt with its framing; beyond 64 KiB of text in a thread."""
        if prompt.chars + len(prompt.tools) <= LONG:
            return self._count(prompt, model)
        return await asyncio.to_thread(self._count, prompt, model)

    def estimate_input(self, prompt: Prompt, *, model: str | None) -> int:
        """Return the tokens of the prompt without leaving the thread: of a very long one only a part is counted."""
        size = prompt.chars + len(prompt.tools)
        if size <= LONG:
            return self._count(prompt, model)
        share = "".join(_beginning((*prompt.system, *prompt.texts, prompt.tools.decode())))
        return self.estimate_output(share, model=model) * size // LONG + _framing(prompt.messages, model) + _MEDIUM * prompt.media

    def estimate_output(self, text: str, *, model: str | None) -> int:
        """Return about how many tokens an answer's visible text took; of a very long one only the beginning is counted."""
        if not text:
            return 0
        counted = self._tokens(text[:LONG], model) * max(1.0, len(text) / LONG)
        return max(1, math.ceil(counted * _family(model).factor))

    def _count(self, prompt: Prompt, model: str | None) -> int:
        texts = (*prompt.system, *prompt.texts, prompt.tools.decode())
        family = _family(model)
        tokens = math.ceil(sum(self._tokens(text, model) for text in texts) * family.factor)
        hidden = family.hidden if prompt.messages else 0
        return tokens + hidden + _framing(prompt.messages, model) + _MEDIUM * prompt.media

    def _tokens(self, text: str, model: str | None) -> int:
        name = encoding_name(model)
        if len(text) < _CACHED_FROM:
            return len(encoding(name).encode_ordinary(text))
        # Agents send their history again with every call; a digest stands for the text, which is not kept.
        key = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16, person=name.encode()).digest()
        if (known := self._known.get(key)) is not None:
            return known
        tokens = sum(len(encoding(name).encode_ordinary(piece)) for piece in pieces(text))
        if len(self._known) >= _CACHED:
            self._known.clear()
        self._known[key] = tokens
        return tokens


def _beginning(texts: Sequence[str]) -> Iterator[str]:
    room = LONG
    for text in texts:
        yield text[:room]
        room -= min(room, len(text))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _framing(messages: int, model: str | None) -> int:
    if not messages:
        return 0
    reasons = _REASONING.match((model or "").rpartition("/")[2])
    return _PER_MESSAGE * messages + (_PER_REASONING_CHAT if reasons else _PER_CHAT)


def _family(model: str | None) -> _Family:
    name = (model or "").lower()
    return next((family for family in _FAMILIES if family.model.search(name)), _PLAIN)


_PLAIN = _Family(re.compile(""), 1.0)


def pieces(text: str) -> Iterator[str]:
    """Split a text where no token can span: before a space between two words. A run without such a place is cut anywhere."""
    start = 0
    while len(text) - start > _PIECE:
        end = _seam(text, start, start + _PIECE)
        yield text[start:end]
        start = end
    yield text[start:]


def _seam(text: str, start: int, end: int) -> int:
    at = end
    for _ in range(8):
        at = text.rfind(" ", start + 1, at)
        if at < 0:
            break
        if not text[at - 1].isspace() and not text[at + 1].isspace():
            return at
    return end
