"""What each model makes of a text that OpenAI's encoding has counted: factors that are learned from what providers report.

A prompt is estimated as `around + a · text + b`, and with tools `+ c · tools + d`, where `text` and `tools` are o200k tokens. The four
factors of a provider and model begin at shipped values and are medians over the last reports, the shipped values among them: short
prompts teach the constants, long ones the ratios. So the first report already moves them, and one that is far off (hidden text, a tool
that ran at the provider) moves them no farther than any other.
"""

import math
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

_MOST_MODELS = 1024
_REMEMBERED = 15
_RATIOS = (0.4, 4.0)
_CONSTANTS = (-500.0, 30_000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What of a prompt can be counted: o200k tokens of its text and of its tool definitions, its framing at OpenAI, its messages."""

    text: int
    tools: int
    framing: int
    messages: int
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class _Family:
    """The shipped factors of the models whose name matches: `text` is (a, b), `tools` is (c, d).

    `per_message` is what a message more brings, None for OpenAI's framing; `thinking` what Claude is told when it is to reason.
    `trust` is how many reports the shipped values weigh.
    """

    model: re.Pattern[str]
    text: tuple[float, float]
    per_message: float | None = 1.0
    tools: tuple[float, float] = (1.0, 30.0)
    thinking: float = 0.0
    trust: int = 1


def _of(name: str) -> re.Pattern[str]:
    return re.compile(name)


_FAMILIES = (
    _Family(_of(r"gpt-oss"), (0.97, 63.0), 4.0, (1.0, 30.0)),
    _Family(_of(r"gpt-|^o\d|/o\d|chatgpt|davinci|babbage|text-embedding|codex|computer-use"), (1.0, 0.0), None, (0.75, 10.0), trust=4),
    _Family(_of(r"claude-[a-z]+-4[.-][78]"), (1.41, 8.0), 1.5, (1.3, 400.0), 28.0, trust=4),
    _Family(_of(r"claude-[a-z]+-5(?!\d)"), (1.35, 5.0), 1.0, (1.2, 400.0), 28.0, trust=2),
    _Family(_of(r"claude"), (1.15, 5.0), 2.0, (1.15, 320.0), 28.0, trust=6),
    _Family(_of(r"gemini|gemma"), (1.03, 0.0), 0.6, (0.7, 10.0), trust=4),
    _Family(_of(r"mistral|ministral|codestral|magistral|devstral|pixtral|voxtral"), (1.06, 8.0), 2.0, (1.4, 10.0)),
    _Family(_of(r"qwen|qwq"), (1.05, 5.0), 5.0, (1.1, 100.0)),
    _Family(_of(r"nova-2"), (1.1, 44.0), 1.0, (1.2, 600.0)),
    _Family(_of(r"nova-"), (1.2, 0.0), 1.0, (1.2, 320.0)),
    _Family(_of(r"llama"), (1.0, 25.0), 5.0, (1.2, 60.0)),
    _Family(_of(r"command|north-mini|c4ai|aya"), (1.1, 0.0)),
    _Family(_of(r"grok"), (1.0, 190.0), 4.0),
)
"""Measured over recorded calls."""
_UNKNOWN = _Family(_of(""), (1.0, 3.0), 4.0)


class Line:
    """`slope · x + constant`, learned by medians: `x` beyond the pivot teaches the slope, below it the constant."""

    __slots__ = ("_constants", "_pivot", "_ratios", "_shipped", "_trust", "constant", "slope")

    def __init__(self, shipped: tuple[float, float], *, pivot: int, trust: int) -> None:
        self.slope, self.constant = shipped
        self._shipped = shipped
        self._pivot = pivot
        self._trust = trust
        self._ratios: deque[float] = deque(maxlen=_REMEMBERED)
        self._constants: deque[float] = deque(maxlen=_REMEMBERED)

    def at(self, x: float) -> float:
        """Return the value at `x`."""
        return self.slope * x + self.constant

    def learn(self, x: float, y: float) -> None:
        """Follow one report."""
        if x >= self._pivot:
            self._ratios.append(_clamped((y - self.constant) / x, _RATIOS))
        else:
            self._constants.append(_clamped(y - self.slope * x, _CONSTANTS))
        self._settle()

    @property
    def learned(self) -> tuple[list[float], list[float]]:
        """The ratios and the constants of the last reports."""
        return list(self._ratios), list(self._constants)

    def restore(self, ratios: Iterable[float], constants: Iterable[float]) -> None:
        """Take in what was learned before."""
        self._ratios.extend(_clamped(ratio, _RATIOS) for ratio in ratios)
        self._constants.extend(_clamped(constant, _CONSTANTS) for constant in constants)
        self._settle()

    def _settle(self) -> None:
        slope, constant = self._shipped
        # A ratio is known well before any report (it is the tokenizer's); a constant is anybody's guess.
        self.slope = median((*(slope,) * (1 + self._trust), *self._ratios))
        self.constant = median((*(constant,) * self._trust, *self._constants))


def _clamped(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1]) if math.isfinite(value) else bounds[0]


class Factors:
    """The factors of one provider and model."""

    __slots__ = ("_family", "changed", "samples", "text", "tools")

    def __init__(self, model: str) -> None:
        """Begin with what is shipped for a model."""
        family = self._family = next((family for family in _FAMILIES if family.model.search(model)), _UNKNOWN)
        self.text = Line(family.text, pivot=200, trust=family.trust)
        self.tools = Line(family.tools, pivot=100, trust=family.trust)
        self.samples = 0
        self.changed = False

    def estimate(self, parts: Parts) -> float:
        """Return the tokens of a prompt without its media."""
        tools = self.tools.at(parts.tools) if parts.tools else 0.0
        return self._around(parts) + self._text(parts) + tools

    def learn(self, parts: Parts, reported: int) -> None:
        """Follow one report of a prompt without media. One with tools says nothing about text."""
        rest = reported - self._around(parts)
        if parts.tools:
            self.tools.learn(parts.tools, rest - self._text(parts))
        elif parts.messages:
            self.text.learn(parts.text, rest)
        self.samples += 1
        self.changed = True

    def _text(self, parts: Parts) -> float:
        """Return the tokens of the text; what has no messages (embeddings, completions) has nothing hidden either."""
        return self.text.at(parts.text) if parts.messages else self.text.slope * parts.text

    def _around(self, parts: Parts) -> float:
        family = self._family
        messages = parts.framing if family.per_message is None else family.per_message * parts.messages
        return messages + family.thinking * parts.thinking


class Estimates:
    """The factors of all models, in memory."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Factors] = OrderedDict()

    def tokens(self, provider: str, model: str | None, parts: Parts) -> int:
        """Return about how many tokens a prompt has without its media; at least one for any text."""
        estimated = round(self.of(provider, model).estimate(parts))
        return max(estimated, 1 if parts.text or parts.tools else 0)

    def text_factor(self, provider: str, model: str | None) -> float:
        """Return how many tokens of the model an o200k token of text is."""
        return self.of(provider, model).text.slope

    def hidden(self, provider: str, model: str | None) -> int:
        """Return the tokens that the provider is known to add out of sight, with tools or without."""
        factors = self.of(provider, model)
        return math.ceil(max(0.0, factors.text.constant) + max(0.0, factors.tools.constant))

    def of(self, provider: str, model: str | None) -> Factors:
        """Return the factors of a provider's model, the shipped ones where nothing was learned."""
        key = (provider, (model or "").lower())
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Factors(key[1])
            if len(self._known) > _MOST_MODELS:
                self._known.popitem(last=False)
        return known

    def learn(self, provider: str, model: str | None, parts: Parts, reported: int) -> None:
        """Follow what the provider reported for a prompt without media."""
        self.of(provider, model).learn(parts, reported)

    def restore(self, factors: Mapping[tuple[str, str], Factors]) -> None:
        """Take in what was learned before."""
        self._known.update(factors)

    def changed(self) -> dict[tuple[str, str], Factors]:
        """Return what was learned since this was last asked."""
        found = {key: factors for key, factors in self._known.items() if factors.changed}
        for factors in found.values():
            factors.changed = False
        return found
