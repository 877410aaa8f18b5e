"""What a request is for, by its method and path alone."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from metering.call import Consumption, Endpoint
from metering.providers.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The meaning of a path: the operation (OpenTelemetry), its class, the wire format if it is read, and a model that the path names."""

    operation: str
    endpoint: Endpoint
    wire_format: str | None
    consumption: Consumption
    model: str | None = None


@dataclass(frozen=True, slots=True)
class _Rule:
    suffix: re.Pattern[str]
    operation: str
    endpoint: Endpoint
    wire_format: str | None = None
    consumption: Consumption = Consumption.UNREAD


def _read(suffix: str, operation: str, endpoint: Endpoint, wire_format: str) -> _Rule:
    return _Rule(re.compile(suffix), operation, endpoint, wire_format, Consumption.METERED)


def _unread(suffix: str, operation: str, endpoint: Endpoint = Endpoint.OTHER) -> _Rule:
    return _Rule(re.compile(suffix), operation, endpoint)


def _free(suffix: str, operation: str, endpoint: Endpoint = Endpoint.OTHER) -> _Rule:
    return _Rule(re.compile(suffix), operation, endpoint, None, Consumption.FREE)


_POSTS = (
    # Counts look like usage, and are not: by their path, before anything else.
    _free(
        r"/messages/count_tokens$|/responses/input_tokens$|:countTokens$|:computeTokens$|/count-tokens$|/tokenize$|/detokenize$",
        "count_tokens",
    ),
    _free(r"/threads$|/threads/(?!runs$)[^/]+(?:/messages)?$|/assistants(?:/[^/]+)?$", "other"),
    _read(r"/chat/completions$|/agents/completions$", "chat", Endpoint.CHAT, "openai.chat"),
    _read(r"/responses(?:/compact)?$", "chat", Endpoint.RESPONSES, "openai.responses"),
    _read(
        r"/messages$|/publishers/anthropic/models/[^/]+:(?:streamRawPredict|rawPredict)$", "chat", Endpoint.MESSAGES, "anthropic.messages"
    ),
    _read(r"/embeddings$", "embeddings", Endpoint.EMBEDDINGS, "openai.embeddings"),
    _read(r"/completions$", "text_completion", Endpoint.CHAT, "openai.completions"),
    _unread(r":(?:streamGenerateContent|generateContent)$", "generate_content", Endpoint.CHAT),
    _unread(r":(?:batchEmbedContents|embedContent)$", "embeddings", Endpoint.EMBEDDINGS),
    _unread(r":(?:streamRawPredict|rawPredict|predict|predictLongRunning)$", "generate_content"),
    _read(r"/model/.+/converse$", "chat", Endpoint.CHAT, "bedrock.converse"),
    _read(r"/model/.+/converse-stream$", "chat", Endpoint.CHAT, "bedrock.converse_stream"),
    _read(r"/model/[^/]*embed[^/]*/invoke$", "embeddings", Endpoint.EMBEDDINGS, "bedrock.invoke"),
    _read(r"/model/.+/invoke$", "generate_content", Endpoint.CHAT, "bedrock.invoke"),
    _read(r"/model/.+/invoke-with-response-stream$", "generate_content", Endpoint.CHAT, "bedrock.invoke_stream"),
    _unread(r"/v[12]/chat$|/api/chat$", "chat", Endpoint.CHAT),
    _unread(r"/api/generate$|/v1/complete$", "text_completion", Endpoint.CHAT),
    _unread(r"/v[12]/embed$|/api/embed$", "embeddings", Endpoint.EMBEDDINGS),
    _unread(r"/rerank$", "rerank"),
    _unread(r"/images(?:/(?:generations|edits|variations))?$", "image_generation", Endpoint.IMAGES),
    _unread(r"/audio/speech$|/v1/speak$|/text-to-speech/", "speech", Endpoint.AUDIO),
    _unread(r"/audio/(?:transcriptions|translations)$|/v1/listen$|/speech-to-text$", "transcription", Endpoint.AUDIO),
    _free(r"/moderations$", "moderation"),
    _free(
        r"/files$|/files/[^/]+/content$|/uploads(?:/[^/]+(?:/parts|/complete|/cancel))?$|/upload/v1(?:beta)?/files$",
        "files",
        Endpoint.FILES,
    ),
    _free(r"/cancel$|/realtime/client_secrets$", "other"),
    _free(r"/conversations(?:/[^/]+(?:/items)?)?$|/vector_stores(?:/.*)?$|/api/show$", "other"),
    _free(r"/chat/completions/[^/]+$", "other"),
    # What agent CLIs report home.
    _free(r"^/api/(?:event_logging|claude_code|claude_cli|oauth|hello)(?:/|$)|/analytics-events/|/telemetry$|/statsig", "other"),
    _unread(r"/batches$|/batch/jobs$", "batch"),
)

_LISTS = re.compile(r"/(?:models|available-models|tags)(?:/[^/]+)?$")
_SEGMENT_MODEL = re.compile(r"/(?:deployments|engines)/([^/]+)/")
_BEDROCK_MODEL = re.compile(r"/model/(.+)/[^/]+$")
_GOOGLE_MODEL = re.compile(r"/models/([^/:]+):")


def route(provider: Provider, method: str, path: str, *, websocket: bool = False) -> Route:
    """Return what `method path` on `provider` is for; the query of `path` is not looked at.

    Endpoints are known by how a path ends, so that any OpenAI-compatible server is read. What is neither read nor known to be free
    is UNREAD, and so is a `websocket` on any path. Where the path names a model, that one counts, not the one in the body.
    """
    path = path.partition("?")[0].rstrip("/")
    model = _model_in(path)
    if provider.ai_paths and not any(part in f"{path}/" for part in provider.ai_paths):
        return Route(operation="other", endpoint=Endpoint.OTHER, wire_format=None, consumption=Consumption.FREE)
    if websocket or path.endswith("/realtime"):
        return Route(operation="realtime", endpoint=Endpoint.OTHER, wire_format=None, consumption=Consumption.UNREAD, model=model)
    if method.upper() != "POST":
        return _free_route(path, model)
    for rule in _POSTS:
        if rule.suffix.search(path):
            return Route(
                operation=rule.operation,
                endpoint=rule.endpoint,
                wire_format=rule.wire_format,
                consumption=rule.consumption,
                model=model,
            )
    return Route(operation="other", endpoint=Endpoint.OTHER, wire_format=None, consumption=Consumption.UNREAD, model=model)


def _free_route(path: str, model: str | None) -> Route:
    if _LISTS.search(path):
        return Route(operation="models", endpoint=Endpoint.MODELS, wire_format=None, consumption=Consumption.FREE, model=model)
    endpoint = Endpoint.FILES if re.search(r"/(?:files|uploads)(?:/|$)", path) else Endpoint.OTHER
    return Route(operation="other", endpoint=endpoint, wire_format=None, consumption=Consumption.FREE, model=model)


def _model_in(path: str) -> str | None:
    """Return the model of `/models/M:verb` (Google), `/model/M/verb` (Bedrock) and `/deployments/M/…` (Azure)."""
    match = _GOOGLE_MODEL.search(path) or _BEDROCK_MODEL.search(path) or _SEGMENT_MODEL.search(path)
    return unquote(match[1]) if match else None
