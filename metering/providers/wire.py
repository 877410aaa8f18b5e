"""What a wire format can do: read the request of a call, and read its answer as it passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from metering.call import Prompt, RpcBody
from metering.reading import ReplyFacts
from metering.usage import NO_USAGE, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What the body of a request says, read once at the edge."""

    model: str | None
    streamed: bool
    max_output_tokens: int | None
    choices: int
    prompt: Prompt
    tools: tuple[str, ...]
    service_tier: str | None
    models: tuple[str, ...] = ()
    """The other models that it names."""
    rpc: RpcBody | None = None
    """What it asks, where it is JSON-RPC."""
    asked: Usage = NO_USAGE
    """What it fixes of what is charged by the piece."""
    variant: str | None = None
    """What else a price by the piece goes by."""


class ReplyReader(Protocol):
    """Reads one answer while it passes; it never delays a byte, since it only sees a copy."""

    def feed(self, data: bytes) -> None:
        """Take the next identity-decoded bytes, split anywhere."""
        ...

    def finish(self) -> ReplyFacts:
        """Return what the answer said; call it once, also after the answer broke off."""
        ...


class WireFormat(Protocol):
    """How one provider API writes calls, replies and stream events."""

    @property
    def name(self) -> str:
        """The name that stands in the ledger, for example `openai.chat`."""
        ...

    def read_request(self, body: Mapping[str, object]) -> RequestFacts:
        """Return what the request asks for; ValueError(reason) for a body that has no meaning in this format."""
        ...

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer of `provider` (an OpenTelemetry id: some deviate in what their counts include)."""
        ...


@runtime_checkable
class FormFormat(Protocol):
    """A wire format whose requests may also be uploads (`multipart/form-data`)."""

    def read_form(self, fields: Mapping[str, str], *, files: int) -> RequestFacts:
        """Return what an upload with these fields and so many files asks for; ValueError(reason) as for `read_request`."""
        ...


@runtime_checkable
class HeaderedFormat(Protocol):
    """A wire format that counts in the headers of an answer too (Bedrock)."""

    def reader_with(self, *, provider: str, content_type: str | None, headers: Mapping[str, str]) -> ReplyReader:
        """Return a reader for one answer with these headers, looked up by lower-case name."""
        ...
