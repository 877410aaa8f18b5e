"""How many tokens a text has, before a provider says so."""

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from metering.call import Prompt
from metering.encodings import EncodingName, encoding, encoding_name
from metering.estimates import Estimates, Parts
from metering.framing import framing, most_framing
from metering.images import media_bound, media_tokens

LONG = 64 << 10
"""Characters beyond which a prompt is counted in a thread."""
SAMPLED_BEYOND = 8 << 10
"""Characters of text not seen before beyond which an estimate counts only samples."""
_PIECE = 8192
"""tiktoken panics on a million spaces; a piece of this length is counted in a millisecond, whatever it holds."""
_BYTES_PER_TOKEN = 4
_SHORT = 1 << 10
_SAMPLE = 768
_SAMPLES = 3
_CACHED_FROM = 256
_CACHED = 8192
_ENDS = (KeyboardInterrupt, SystemExit)
_log = structlog.get_logger(__name__)


class TokenizerError(Exception):
    """A text could not be counted."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """About how many tokens a prompt has; `exact` when all of its text was counted."""

    tokens: int
    exact: bool


class TokenCounter:
    """Counts prompts and answers: exactly for text to OpenAI's models, by learned factors for others.

    Where the tokenizer fails (a native module may even panic) a text counts as its bytes, which it cannot exceed: no call is lost to it.
    """

    def __init__(self, estimates: Estimates | None = None) -> None:
        self._estimates = estimates or Estimates()
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._failures: set[str] = set()

    async def warm(self) -> None:
        """Load the encoding of current models, so that the first call does not wait for it."""
        await asyncio.to_thread(encoding, "o200k_base")

    def bound(self, prompt: Prompt, *, model: str | None = None, provider: str = "", tools: int = 1) -> int:
        """Return a number of tokens that the prompt does not exceed: a token is at least one byte of what the request shows.

        What it does not show (server tools, stored conversations, files that are only named) is an assumption, and what the provider was
        seen to add out of sight is taken half as much again.
        """
        text = sum(map(_bytes, prompt.system)) + sum(map(_bytes, prompt.texts)) + len(prompt.tools)
        hidden = self._estimates.hidden(provider, model) * 3 // 2
        return text + hidden + most_framing(prompt, model, tools) + media_bound(prompt, model)

    async def count(self, prompt: Prompt, *, model: str | None, provider: str = "") -> int:
        """Return the tokens of the prompt with its framing and media; beyond 64 KiB of text in a thread."""
        if prompt.chars + len(prompt.tools) <= LONG:
            return self._count(prompt, model, provider)
        return await asyncio.to_thread(self._count, prompt, model, provider)

    def count_now(self, prompt: Prompt, *, model: str | None, provider: str = "") -> int:
        """Return the same in this thread, however long the prompt is."""
        return self._count(prompt, model, provider)

    def estimate_input(self, prompt: Prompt, *, model: str | None, provider: str = "") -> int:
        """Return about how many tokens the prompt has, without leaving the thread and in less than a millisecond."""
        return self.estimate(prompt, model=model, provider=provider).tokens

    def estimate(self, prompt: Prompt, *, model: str | None, provider: str = "") -> Estimate:
        """Return the count where what is new in the prompt is short; of long new texts only samples are counted."""
        name = encoding_name(model)
        room = SAMPLED_BEYOND
        counts: list[int] = []
        exact = True
        for text in (*prompt.system, *prompt.texts, _text_of(prompt.tools)):
            tokens = self._remembered(text, name)
            if tokens is None and len(text) <= room:
                room -= len(text)
                tokens = self._at_most(text, name)
            if tokens is None:
                exact = False
                tokens = self._by_samples(text, name)
            counts.append(tokens)
        parts = _parts(prompt, model, text=sum(counts[:-1]), tools=counts[-1])
        return Estimate(self._whole(parts, prompt, model, provider), exact)

    def glance(self, prompt: Prompt, *, model: str | None, provider: str = "") -> int:
        """Return about how many tokens the prompt has, in microseconds: for the row of a call that is about to be sent.

        A short prompt is counted, a longer one is estimated by its length alone.
        """
        if prompt.chars + len(prompt.tools) <= _SHORT:
            return self._count(prompt, model, provider)
        text = sum(map(_by_length, prompt.system)) + sum(map(_by_length, prompt.texts))
        parts = _parts(prompt, model, text=text, tools=len(prompt.tools) // _BYTES_PER_TOKEN)
        return self._whole(parts, prompt, model, provider)

    def parts(self, prompt: Prompt, *, model: str | None) -> Parts:
        """Return what of a prompt can be counted; it may take long. Raises TokenizerError: nobody may learn from a bound."""
        try:
            return _measured(prompt, model, self._tokens)
        except _ENDS:
            raise
        except BaseException as error:  # noqa: BLE001  # a panic of a native module is no Exception
            name = encoding_name(model)
            self._failed(name, error)
            raise TokenizerError(f"The tokenizer {name} failed with {type(error).__name__}") from None  # its own words may hold the text

    def estimate_output(self, text: str, *, model: str | None, provider: str = "") -> int:
        """Return about how many tokens an answer's visible text took; of a very long one only the beginning is counted."""
        if not text:
            return 0
        counted = self._at_most(text[:LONG], encoding_name(model)) * max(1.0, len(text) / LONG)
        return max(1, math.ceil(counted * self._estimates.text_factor(provider, model)))

    def _count(self, prompt: Prompt, model: str | None, provider: str) -> int:
        return self._whole(_measured(prompt, model, self._at_most), prompt, model, provider)

    def _whole(self, parts: Parts, prompt: Prompt, model: str | None, provider: str) -> int:
        return self._estimates.tokens(provider, model, parts) + media_tokens(prompt, model)

    def _remembered(self, text: str, name: EncodingName) -> int | None:
        return self._known.get(_key(text, name)) if len(text) >= _CACHED_FROM else None

    def _at_most(self, text: str, name: EncodingName) -> int:
        """Return the tokens of a text, or its bytes where the tokenizer fails."""
        try:
            return self._tokens(text, name)
        except _ENDS:
            raise
        except BaseException as error:  # noqa: BLE001  # a panic of a native module is no Exception
            self._failed(name, error)
            return _bytes(text)

    def _failed(self, name: EncodingName, error: BaseException) -> None:
        """Say so once for each kind; what the error says may hold the text."""
        kind = type(error).__name__
        if kind not in self._failures:
            self._failures.add(kind)
            _log.error("tokenizer_failed", encoding=name, error=kind, effect="texts count as their bytes")

    def _by_samples(self, text: str, name: EncodingName) -> int:
        """Count some places of a long text, and take the rest to be like them."""
        step = (len(text) - _SAMPLE) // (_SAMPLES - 1)
        counted = sum(self._at_most(text[at : at + _SAMPLE], name) for at in range(0, _SAMPLES * step, step))
        return math.ceil(counted * len(text) / (_SAMPLE * _SAMPLES))

    def _tokens(self, text: str, name: EncodingName) -> int:
        if len(text) < _CACHED_FROM:
            return len(encoding(name).encode_ordinary(text))
        key = _key(text, name)
        if (known := self._known.get(key)) is not None:
            return known
        tokens = sum(len(encoding(name).encode_ordinary(piece)) for piece in pieces(text))
        self._known[key] = tokens
        while len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return tokens


def _measured(prompt: Prompt, model: str | None, tokens: Callable[[str, EncodingName], int]) -> Parts:
    name = encoding_name(model)
    text = sum(tokens(text, name) for text in (*prompt.system, *prompt.texts))
    return _parts(prompt, model, text=text, tools=tokens(_text_of(prompt.tools), name))


def _parts(prompt: Prompt, model: str | None, *, text: int, tools: int) -> Parts:
    return Parts(text=text, tools=tools, framing=framing(prompt, model), messages=prompt.messages, thinking=prompt.thinking)


def _key(text: str, name: EncodingName) -> bytes:
    """Agents send their history again with every call; a digest stands for the text, which is not kept."""
    return hashlib.blake2b(_encoded(text), digest_size=16, person=name.encode()).digest()


def _encoded(text: str) -> bytes:
    """Return bytes that stand for the text alone. A handler of errors would hold everything up at each of a million lone surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b"\xff" + text.encode("unicode-escape")  # no UTF-8 begins so


def _by_length(text: str) -> int:
    """Return about the tokens of a text: one in four characters of English or code, one in two of what takes more bytes to write."""
    return len(text) // (_BYTES_PER_TOKEN if text.isascii() else 2) + 1


def _text_of(tools: bytes) -> str:
    return tools.decode(errors="replace")


def _bytes(text: str) -> int:
    """Return the bytes of a text, or the most that it can have where it is no Unicode."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 4 * len(text)


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
