"""Whether a ledger row says what the recording's provider reported, in the ledger's own terms."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.corpus import Exchange

CLAIMED = "provider_reported", "provider_priced", "unpriced"
"""Sources that say: the provider reported these numbers."""


def differences(exchange: Exchange, row: Mapping[str, Any]) -> Iterator[str]:
    """Return what differs, one sentence each; nothing when the row is right."""
    if exchange.expected is None:
        if row["source"] in CLAIMED and (row["input_tokens"] or row["output_tokens"]):
            yield f"usage claimed, none reported: {row['input_tokens']}/{row['output_tokens']} ({row['source']})"
        return
    expected = exchange.expected
    if (
        any(note.startswith("total_") for note in exchange.notes)
        and (row["input_tokens"] or 0) + (row["output_tokens"] or 0) == expected["total"]
    ):
        return  # the parts as reported leave thinking or audio out, which the reported total counts
    wanted = expected["derived"]["input_total"]
    if wanted is None:
        wanted = expected["input"] if expected["input"] is not None else expected["total"]
    if row["input_tokens"] != wanted:
        yield f"input {row['input_tokens']}, expected {wanted}"
    output = expected["derived"]["output_total"]
    if (row["output_tokens"] or None) != (output or None):
        yield f"output {row['output_tokens']}, expected {output}"
    yield from _shares(expected, row)


def _shares(expected: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    """Compare the parts of the input and the output. Nothing said and a reported zero are the same part."""
    names = {"cached": "cache_read_tokens", "cache_write": "cache_write_tokens", "reasoning": "reasoning_tokens"}
    for name, column in names.items():
        wanted, found = expected.get(name) or 0, row[column] or 0
        # Some hosts count a hidden system prompt as cached that the input leaves out: as reported, or as the share that fits.
        clamped = min(wanted, row["input_tokens"] or 0) if name == "cached" else wanted
        if found not in {wanted, clamped}:
            yield f"{name} {found}, expected {wanted}"
