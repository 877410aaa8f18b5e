"""Tokens as Amazon Bedrock counts them: in bodies, in headers and in the metrics of a stream."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

from metering.providers.shapes import Json, count, first_count, obj, objects
from metering.usage import NO_USAGE, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The input here EXCLUDES what was read from and written to the cache, as in all that Bedrock itself reports. None is not said."""

    fresh: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None

    @property
    def cached(self) -> int:
        """All that was read from or written to the cache."""
        return (self.cache_read or 0) + (self.cache_write or 0)

    def over(self, other: "Counts") -> "Counts":
        """Return these counts, and those of `other` where these say nothing."""
        said = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}
        return replace(other, **said)

    @classmethod
    def of(cls, usage: Usage | None) -> Self:
        """Return the counts of a usage."""
        known = usage or NO_USAGE
        whole = known.input_tokens
        return cls(
            fresh=None if whole is None else max(0, whole - (known.cache_read_tokens or 0) - (known.cache_write_tokens or 0)),
            output=known.output_tokens,
            cache_read=known.cache_read_tokens,
            cache_write=known.cache_write_tokens,
            cache_write_1h=known.cache_write_1h_tokens,
        )

    def onto(self, usage: Usage | None = None) -> Usage | None:
        """Return the usage that these counts are, with what else `usage` holds; None when they count neither input nor output."""
        if self.fresh is None and self.output is None:
            return None
        write, hour = self.cache_write, self.cache_write_1h
        return replace(
            usage or NO_USAGE,
            input_tokens=None if self.fresh is None else self.fresh + self.cached,
            output_tokens=self.output,
            cache_read_tokens=self.cache_read,
            cache_write_tokens=write,
            cache_write_1h_tokens=hour if hour is None or write is None else min(hour, write),
        )


def filled(body: Counts, headers: Counts) -> Counts:
    """Return what a body counts, and what the headers count beside it.

    A body that knows no cache may count it in its input (the OpenAI-like do); where the headers tell the cache, theirs is the input.
    """
    if headers.fresh is not None and headers.cached and body.cache_read is None and body.cache_write is None:
        body = replace(body, fresh=None)
    return body.over(headers)


def corrected(body: Counts, metrics: Counts) -> Counts:
    """Return what the metrics of a stream count, and what its maker's own events count beside them.

    Metrics without a cache that equal the whole input of the events have counted the cache in it.
    """
    if metrics.cache_read is None and metrics.cache_write is None and metrics.fresh == (body.fresh or 0) + body.cached:
        metrics = replace(metrics, fresh=body.fresh)
    return metrics.over(body)


def converse_counts(usage: Json) -> Counts:
    """Return what the `usage` of Converse says; Nova's own bodies say it alike."""
    by_age = tuple(objects(usage.get("cacheDetails")))
    hour = sum(count(each.get("inputTokens")) or 0 for each in by_age if each.get("ttl") == "1h")
    return Counts(
        fresh=count(usage.get("inputTokens")),
        output=count(usage.get("outputTokens")),
        cache_read=first_count(usage.get("cacheReadInputTokens"), usage.get("cacheReadInputTokenCount")),
        cache_write=first_count(usage.get("cacheWriteInputTokens"), usage.get("cacheWriteInputTokenCount")),
        cache_write_1h=hour if by_age and hour else None,
    )


def metric_counts(chunk: Json) -> Counts:
    """Return what `amazon-bedrock-invocationMetrics` in the last chunk of a stream says."""
    metrics = obj(chunk.get("amazon-bedrock-invocationMetrics"))
    return Counts(
        fresh=count(metrics.get("inputTokenCount")),
        output=count(metrics.get("outputTokenCount")),
        cache_read=count(metrics.get("cacheReadInputTokenCount")),
        cache_write=count(metrics.get("cacheWriteInputTokenCount")),
    )


def header_counts(headers: Mapping[str, str]) -> Counts:
    """Return what the headers of an InvokeModel answer say; many models report nothing else."""
    return Counts(
        fresh=_header(headers, "input"),
        output=_header(headers, "output"),
        cache_read=_header(headers, "cache-read-input"),
        cache_write=_header(headers, "cache-write-input"),
    )


def _header(headers: Mapping[str, str], what: str) -> int | None:
    value = headers.get(f"x-amzn-bedrock-{what}-token-count", "").strip()
    return count(int(value)) if value.isascii() and value.isdigit() and len(value) < 16 else None
