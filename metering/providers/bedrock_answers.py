"""Reads an answer of Amazon Bedrock as it passes: a JSON body, or a stream of messages that is parsed once it has ended."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from metering.eventstream import Message, MessageSplitter
from metering.providers.answers import MAX_BODY, MAX_KEPT
from metering.providers.shapes import Json, load, obj, text
from metering.reading import ReplyFacts

NO_HEADERS: Mapping[str, str] = {}


@dataclass(slots=True)
class Messages:
    """What was kept of a stream of messages."""

    opening: list[Message] = field(default_factory=list[Message])
    closing: deque[Message] = field(default_factory=lambda: deque[Message](maxlen=8))
    kept: list[Message] = field(default_factory=list[Message])
    """All, as far as they fit."""
    error: str | None = None
    """The exception that ended the stream."""
    size: int = 0
    number: int = 0

    def add(self, message: Message) -> None:
        """Sort one message away; nothing is parsed here, since this runs once a chunk."""
        kind = message.headers.get(":message-type")
        if kind in {"exception", "error"}:
            self.error = self.error or message.headers.get(":exception-type") or message.headers.get(":error-code") or "error"
            return
        self.number += 1
        if len(self.opening) < 2:
            self.opening.append(message)
        self.closing.append(message)
        self.size += len(message.payload)
        if self.size <= MAX_KEPT:
            self.kept.append(message)

    @property
    def ends(self) -> Sequence[Message]:
        """The first and the last messages: what usage there is stands there."""
        return self.kept if self.number == len(self.kept) <= 10 else (*self.opening, *self.closing)


class BedrockReader:
    """Reads one answer: `read_body` makes facts of a whole JSON document, `read_stream` of messages.

    The first byte tells which it is, for recordings and gateways leave the content type out: a message begins with its length, whose
    highest byte is zero below 16 MiB.
    """

    __slots__ = ("_body", "_messages", "_read_body", "_read_stream", "_size", "_splitter")

    def __init__(self, *, read_body: Callable[[bytes], ReplyFacts], read_stream: Callable[[Messages], ReplyFacts]) -> None:
        self._read_body = read_body
        self._read_stream = read_stream
        self._splitter: MessageSplitter | None = None
        self._messages = Messages()
        self._body: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._splitter is None and not self._size and data[:1] in {b"\0", b"\1"}:
            self._splitter = MessageSplitter()
        if self._splitter is not None:
            for message in self._splitter.feed(data):
                self._messages.add(message)
            return
        self._size += len(data)
        if self._size <= MAX_BODY:
            self._body.append(data)

    def finish(self) -> ReplyFacts:
        """Return what the answer said."""
        if self._splitter is not None:
            return self._read_stream(self._messages)
        body = b"".join(self._body) if self._size <= MAX_BODY else b""
        self._body = []
        return self._read_body(body)


def payload(message: Message) -> Json:
    """Return the JSON of a message."""
    return obj(load(message.payload))


def error_of(body: Json, headers: Mapping[str, str]) -> str | None:
    """Return the type of an error answer: AWS names it in a header, some of its services in the body."""
    named = headers.get("x-amzn-errortype") or text(body.get("__type"))
    if named:
        return named.partition(":")[0].rpartition("#")[2][:100]
    return "error" if text(body.get("message")) and len(body) == 1 else None
