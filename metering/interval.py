"""Between which usages that of a call lies of which no usage, or not all of it, was seen."""

from dataclasses import replace

from metering.call import Call
from metering.reading import ReplyFacts
from metering.tokens import TokenCounter
from metering.usage import NO_USAGE, Usage

_CERTAIN = 0.5
"""The share of an estimate that is certainly there: other tokenizers, summaries shown in place of the reasoning that is billed."""

_CHARS_PER_TOKEN = 4
_TURNS = 4
"""How often a tool that runs at the provider may have the whole prompt read again; there is no true bound."""
_PRICE_THEMSELVES = frozenset({"openrouter", "perplexity", "vercel", "x_ai"})
"""Providers whose own figure counts; our table can be above it (fees for requests, cheaper routes)."""


def least_usage(call: Call, facts: ReplyFacts, *, answered: bool, input_tokens: int, counter: TokenCounter) -> Usage:
    """Return what the call certainly used. What a provider reported while a tool of its own ran may still be taken back.

    `input_tokens` is the estimate of the prompt; all of it may have come from the provider's cache, which is cheaper.
    """
    known = facts.usage or NO_USAGE
    running = known.output_tokens
    if running is not None and call.prompt.server_tools:
        return Usage()
    if running is not None and call.provider == "aws.bedrock":
        running = int(running * _CERTAIN)  # its own metrics, which end the stream, count less at times than the maker's message
    if facts.usage is None and call.provider in _PRICE_THEMSELVES:
        return Usage()
    shown = int(counter.estimate_output(facts.output_text, model=facts.model or call.model, provider=call.provider) * _CERTAIN)
    written = shown if running is None else running
    visible = min(input_tokens, call.prompt.chars // _CHARS_PER_TOKEN)  # an estimate counts hidden text too, which is not certain
    read = int(visible * _CERTAIN) if answered else 0
    if known.input_tokens is not None and not facts.running:
        return replace(known, output_tokens=written)
    if known.input_tokens is not None:
        read = min(read, known.input_tokens)  # Gemini corrects the count of its first events, downwards too
    return Usage(input_tokens=read, cache_read_tokens=read, output_tokens=written)


def most_usage(call: Call, facts: ReplyFacts, *, input_bound: int, output_cap: int) -> Usage:
    """Return what the call can have used at most: its prompt as reported or bounded, and the output that was held for it."""
    known = facts.usage or NO_USAGE
    written = max(output_cap, known.output_tokens or 0)
    if call.prompt.server_tools:
        return Usage(input_tokens=_TURNS * max(input_bound, known.input_tokens or 0), output_tokens=_TURNS * written)
    if known.input_tokens is not None:
        return replace(known, output_tokens=written)
    return Usage(input_tokens=input_bound, output_tokens=written)
