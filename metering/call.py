"""One request to a provider, and its outcome, in words that know no proxy and no wire format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from metering.usage import NO_USAGE, Usage


class Door(StrEnum):
    """Where the call came in."""

    FORWARD = "forward"
    BASE_URL = "base_url"


class Endpoint(StrEnum):
    """The fixed set of endpoint classes (API.md, entries feed)."""

    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    AUDIO = "audio"
    FILES = "files"
    MODELS = "models"
    OTHER = "other"


class Consumption(StrEnum):
    """Whether a call can cost anything, as far as its endpoint tells."""

    METERED = "metered"
    """Its wire format is read: usage is expected in the answer."""
    RESULT = "result"
    """Fetches the result of earlier work (a background response, a run, a batch): reserves nothing, and counts once, when usage shows."""
    FREE = "free"
    """A list, a count, a health probe: not consumption."""
    UNREAD = "unread"
    """A known provider in a format that is not read: recorded as unmetered, and said so (`meter_gap`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is charged. Unknown is None, never an error. `key_id` is the first 16 hex digits of an HMAC of the provider key."""

    user: str | None = None
    department: str | None = None
    service: str | None = None
    agent: str | None = None
    key_id: str | None = None
    certificate: str | None = None
    """The serial number of the client certificate that the connection was made with, revoked or not."""


type MediumKind = Literal["image", "audio", "video", "document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """One picture, sound, film or document in a prompt, as far as its first bytes tell what it is; it is not kept itself.

    `width` and `height` are pixels, None where they are not in the request (a URL, a file id). `size` is its bytes, 0 where it is only
    named. `detail` is how closely OpenAI's models are to look at it.
    """

    kind: MediumKind
    width: int | None = None
    height: int | None = None
    detail: str | None = None
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The text that a call sends, held in memory only, for counting and fingerprints.

    `system` are the instructions (system, developer, `instructions`), `texts` all other text in order, `tools` the compact JSON
    bytes of the tool definitions and output schemas. `media` counts images, audio and documents; their bytes are never counted as text.
    `attached` says what these are, one each where the format tells.

    The rest is what a count needs to know beside the text: `answers` are messages of the model, `calls` the tool calls in them, `named`
    the messages with a name, `sealed` the bytes of encrypted reasoning and results, `server_tools` the types of tools that run at the
    provider, `thinking` whether the model is told to reason before it answers, and `stored` whether the prompt goes on from text that the
    provider keeps (an earlier response, a conversation, a template).
    """

    system: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    tools: bytes = b""
    messages: int = 0
    media: int = 0
    attached: tuple[Medium, ...] = ()
    answers: int = 0
    calls: int = 0
    named: int = 0
    sealed: int = 0
    server_tools: tuple[str, ...] = ()
    thinking: bool = False
    stored: bool = False
    system_at: tuple[int, ...] = field(default=(), compare=False, repr=False)
    texts_at: tuple[int, ...] = field(default=(), compare=False, repr=False)
    """The message that each text of `system` and `texts` stands in, counted from 1; 0 for one beside the messages."""

    @property
    def chars(self) -> int:
        """Characters of text, instructions included."""
        return sum(map(len, self.system)) + sum(map(len, self.texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a call asks for beside its own: one request of a batch, or another model that it names. What is None is as in the call."""

    model: str | None = None
    prompt: Prompt | None = field(default=None, repr=False)
    tools: tuple[str, ...] | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Rpc:
    """One JSON-RPC request; an answer to a server's own request has the method ''."""

    method: str
    params: object
    id: object


@dataclass(frozen=True, slots=True)
class RpcBody:
    """The JSON-RPC requests of a call, and the chain of the node that it goes to, where the config knows it."""

    requests: tuple[Rpc, ...]
    batch: bool
    chain_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a provider, read once at the edge; everything after trusts it."""

    id: str
    started_at: datetime
    door: Door
    provider: str
    service: str
    operation: str
    endpoint: Endpoint
    wire_format: str | None
    consumption: Consumption
    method: str
    host: str
    path: str
    model: str | None
    streamed: bool
    caller: Caller
    request_bytes: int
    prompt: Prompt = field(default_factory=Prompt, repr=False)
    max_output_tokens: int | None = None
    choices: int = 1
    tools: tuple[str, ...] = ()
    service_tier: str | None = None
    models: tuple[str, ...] = ()
    """The other models that the request names: what it falls back to, or what the requests in an order ask for."""
    asked: Usage = NO_USAGE
    """What the request itself fixes of what is charged by the piece: characters to speak, pictures, seconds of film."""
    variant: str | None = None
    """What else a price by the piece goes by, lower-case: the size and quality of a picture, the size of a film."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Only `user-agent`, lower-case; credentials are gone before a Call is built."""
    rpc: RpcBody | None = field(default=None, repr=False)
    """What a node of a blockchain, or a tool, is asked; held in memory only."""
    parts: tuple[Part, ...] = field(default=(), repr=False)
    """What else is asked for; rules judge each as if it were a call of its own."""


class Ending(StrEnum):
    """The terminal state of a call; each call has exactly one."""

    COMPLETED = "completed"
    REFUSED = "refused"
    """Never sent: a rule, a budget, a limit or the reading of the request refused it."""
    CLIENT_ABORT = "client_abort"
    CUT = "cut"
    """The gateway ended a running stream: a hard budget had nothing left for what was still to come."""
    UPSTREAM_RESET = "upstream_reset"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    FAILED = "failed"
    """The gateway itself failed; in closed mode nothing was sent."""
    UNKNOWN = "unknown"
    """The gateway ended while the call was open; charged at its hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, whatever way it ended. `status` is None when no answer began."""

    ending: Ending
    status: int | None
    first_byte_at: datetime | None
    ended_at: datetime
    response_bytes: int
    sent: bool = True
    """Whether the request left for the provider: what was not sent consumed nothing."""
    retry_after: timedelta | None = None
    """How long the provider asks to wait, where it refused the call for its own rate limit (429) and says so."""
