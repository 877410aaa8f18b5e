"""Answers that tell nothing of what they cost, to requests that fix it: the characters of a speech."""

from dataclasses import replace

from metering.providers.wire import ReplyReader
from metering.reading import ReplyFacts
from metering.usage import Usage


class AskedReader:
    """Reads as another reader does, and puts in what was asked for where the answer came and counts nothing."""

    def __init__(self, reader: ReplyReader, asked: Usage) -> None:
        self._reader = reader
        self._asked = asked

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._reader.feed(data)

    def finish(self) -> ReplyFacts:
        """Return what the answer said, or what was asked for."""
        facts = self._reader.finish()
        return replace(facts, usage=self._asked, unseen=False) if facts.unseen else facts
