"""What a request is for, by its method and path alone."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from metering.call import Consumption, Endpoint
from metering.providers.provider import Dialect, Provider

WEBSOCKET = "openai.websocket"
"""The wire format of an upgrade whose events are read: it costs nothing itself, and each response in it is a call of its own."""
JSON_RPC = "json_rpc"
"""The wire format of nodes and tools: free, and read for what it would send."""


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

    only: frozenset[str] = frozenset()
    """The providers (ids) that the rule is for; empty for all."""


def _pattern(suffix: str) -> re.Pattern[str]:
    """Return the pattern of a path's end. Some servers do not look at case (Azure), so that `/Chat/Completions` is read too."""
    return re.compile(suffix, re.IGNORECASE)


def _read(suffix: str, operation: str, endpoint: Endpoint, wire_format: str, *only: str) -> _Rule:
    return _Rule(_pattern(suffix), operation, endpoint, wire_format, Consumption.METERED, frozenset(only))


def _result(suffix: str, operation: str, endpoint: Endpoint, wire_format: str, *only: str) -> _Rule:
    return _Rule(_pattern(suffix), operation, endpoint, wire_format, Consumption.RESULT, frozenset(only))


def _unread(suffix: str, operation: str, endpoint: Endpoint = Endpoint.OTHER) -> _Rule:
    return _Rule(_pattern(suffix), operation, endpoint)


def _free(suffix: str, operation: str, endpoint: Endpoint = Endpoint.OTHER) -> _Rule:
    return _Rule(_pattern(suffix), operation, endpoint, None, Consumption.FREE)


_VERTEX = ("gcp.vertex_ai",)
_OLLAMA = ("ollama", "openai_compatible")
_MISTRAL = ("mistral_ai", "azure.ai.inference", "gcp.vertex_ai", "openai_compatible")
_OPENAI_BATCHES = ("openai", "azure.ai.openai", "mistral_ai", "groq", "together", "x_ai", "openai_compatible")
_OPENAI_VIDEOS = ("openai", "azure.ai.openai", "openai_compatible")

_POSTS = (
    # Counts look like usage, and are not: by their path, before anything else.
    _free(
        r"/messages/count_tokens$|/responses/input_tokens$|:countTokens$|:computeTokens$|/count-tokens$|/tokenize$|/detokenize$"
        r"|/models/count-tokens:rawPredict$",
        "count_tokens",
    ),
    _free(r"/threads$|/threads/(?!runs$)[^/]+(?:/messages)?$|/assistants(?:/[^/]+)?$", "other"),
    _read(r"/threads/runs$|/threads/[^/]+/runs(?:/[^/]+/submit_tool_outputs)?$", "invoke_agent", Endpoint.OTHER, "openai.runs"),
    _read(
        r"/chat/completions$|/publishers/(?:mistralai|ai21)/models/[^/]+:(?:streamRawPredict|rawPredict)$",
        "chat",
        Endpoint.CHAT,
        "openai.chat",
        *_VERTEX,
    ),
    _read(r"/chat/completions$|/agents/completions$", "chat", Endpoint.CHAT, "openai.chat"),
    _read(r"/responses(?:/compact)?$", "chat", Endpoint.RESPONSES, "openai.responses"),
    _read(
        r"/messages$|/publishers/anthropic/models/[^/]+:(?:streamRawPredict|rawPredict)$", "chat", Endpoint.MESSAGES, "anthropic.messages"
    ),
    _read(r"/api/embed(?:dings)?$", "embeddings", Endpoint.EMBEDDINGS, "ollama.embed", *_OLLAMA),
    _read(r"/embeddings$", "embeddings", Endpoint.EMBEDDINGS, "openai.embeddings"),
    _read(r"/completions$", "text_completion", Endpoint.CHAT, "openai.completions"),
    _read(r":generateContent$", "generate_content", Endpoint.CHAT, "gemini.generate_content"),
    _read(r":streamGenerateContent$", "generate_content", Endpoint.CHAT, "gemini.stream_generate_content"),
    _read(r":(?:batchEmbedContents|embedContent)$", "embeddings", Endpoint.EMBEDDINGS, "gemini.embed_content"),
    _read(r"/publishers/google/models/[^/]*embedding[^/]*:predict$", "embeddings", Endpoint.EMBEDDINGS, "vertex.predict"),
    _read(r"/publishers/google/models/[^/]+:predict$", "generate_content", Endpoint.OTHER, "vertex.predict"),
    _read(r":(?:batchGenerateContent|asyncBatchEmbedContent)$", "batch", Endpoint.OTHER, "batch.create"),
    _read(r"/models/imagen[^/]*:predict$", "image_generation", Endpoint.IMAGES, "vertex.predict", "gcp.gemini"),
    _read(r"/models/veo[^/]*:predictLongRunning$", "video_generation", Endpoint.OTHER, "google.films", "gcp.gemini", *_VERTEX),
    _read(r"/interactions$", "generate_content", Endpoint.CHAT, "gemini.interactions", "gcp.gemini", *_VERTEX),
    _unread(r":(?:streamRawPredict|rawPredict|predict|predictLongRunning)$", "generate_content"),
    _read(r"/model/.+/converse$", "chat", Endpoint.CHAT, "bedrock.converse"),
    _read(r"/model/.+/converse-stream$", "chat", Endpoint.CHAT, "bedrock.converse_stream"),
    _read(r"/model/[^/]*embed[^/]*/invoke$", "embeddings", Endpoint.EMBEDDINGS, "bedrock.invoke"),
    _read(r"/model/.+/invoke$", "generate_content", Endpoint.CHAT, "bedrock.invoke"),
    _read(r"/model/.+/invoke-with-response-stream$", "generate_content", Endpoint.CHAT, "bedrock.invoke_stream"),
    _read(r"/v[12]/chat$", "chat", Endpoint.CHAT, "cohere.chat", "cohere"),
    _read(r"/v1/generate$", "text_completion", Endpoint.CHAT, "cohere.chat", "cohere"),
    _read(r"/v[12]/embed$", "embeddings", Endpoint.EMBEDDINGS, "cohere.embed", "cohere"),
    _read(r"/rerank$", "rerank", Endpoint.OTHER, "cohere.rerank", "cohere"),
    _read(r"/rerank$", "rerank", Endpoint.OTHER, "openai.rerank"),
    _read(r"/api/chat$", "chat", Endpoint.CHAT, "ollama.chat", *_OLLAMA),
    _read(r"/api/generate$", "text_completion", Endpoint.CHAT, "ollama.generate", *_OLLAMA),
    _read(r"/v1/complete$", "text_completion", Endpoint.CHAT, "anthropic.complete"),
    _unread(r"/v[12]/chat$|/api/chat$", "chat", Endpoint.CHAT),
    _unread(r"/api/generate$", "text_completion", Endpoint.CHAT),
    _unread(r"/v[12]/embed$|/api/embed$", "embeddings", Endpoint.EMBEDDINGS),
    _read(r"/images(?:/(?:generations|edits|variations))?$", "image_generation", Endpoint.IMAGES, "openai.images"),
    _read(r"/audio/speech$", "speech", Endpoint.AUDIO, "openai.speech"),
    _read(r"/audio/(?:transcriptions|translations)$", "transcription", Endpoint.AUDIO, "openai.transcriptions"),
    _read(r"/v1/speak$", "speech", Endpoint.AUDIO, "deepgram.speak", "deepgram"),
    _read(r"/v1/listen$", "transcription", Endpoint.AUDIO, "deepgram.listen", "deepgram"),
    _read(r"/predictions$", "generate_content", Endpoint.OTHER, "replicate.predictions", "replicate"),
    _unread(r"/v1/speak$|/text-to-speech/", "speech", Endpoint.AUDIO),
    _unread(r"/v1/listen$|/speech-to-text$", "transcription", Endpoint.AUDIO),
    _read(r"/videos(?:/[^/]+/remix)?$", "video_generation", Endpoint.OTHER, "openai.videos", *_OPENAI_VIDEOS),
    _read(r"/videos/generations$", "video_generation", Endpoint.OTHER, "xai.videos", "x_ai"),
    _read(r"/ocr$", "ocr", Endpoint.OTHER, "mistral.ocr", *_MISTRAL),
    _read(r"/conversations(?:/[^/]+(?:/restart)?)?$", "invoke_agent", Endpoint.CHAT, "mistral.conversations", "mistral_ai"),
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
    _free(r"^/api/(?:event_logging|claude_code|claude_cli|oauth|hello)(?:/|$)|/analytics-events/|/telemetry$|/statsig", "telemetry"),
    _read(r"/batches$|/batch/jobs$|/batches/[^/]+/requests$", "batch", Endpoint.OTHER, "batch.create"),
)

_GETS = (
    _result(r"/responses/[^/]+$", "chat", Endpoint.RESPONSES, "openai.responses"),
    _result(r"/threads/[^/]+/runs/[^/]+$", "invoke_agent", Endpoint.OTHER, "openai.runs"),
    _result(r"/interactions/[^/]+$", "generate_content", Endpoint.CHAT, "gemini.interactions", "gcp.gemini", *_VERTEX),
    _result(r"/videos/[^/]+$", "video_generation", Endpoint.OTHER, "xai.videos", "x_ai"),
    _result(r"/videos/[^/]+$", "video_generation", Endpoint.OTHER, "openai.videos", *_OPENAI_VIDEOS),
    _result(r"/predictions/[^/]+$", "generate_content", Endpoint.OTHER, "replicate.predictions", "replicate"),
    _result(r"/messages/batches/[^/]+/results$", "batch", Endpoint.OTHER, "anthropic.batch_results"),
    _result(r"/batches/[^/]+$", "batch", Endpoint.OTHER, "gemini.batch", "gcp.gemini", *_VERTEX),
    _result(r"/batches/[^/]+$", "batch", Endpoint.OTHER, "openrouter.batch", "openrouter"),
    _result(r"/batch/jobs/[^/]+$", "batch", Endpoint.OTHER, "mistral.batch", "mistral_ai"),
    _result(r"/files/[^/]+:download$", "batch", Endpoint.FILES, "gemini.batch_results", "gcp.gemini"),
    _result(r"/files/[^/]+/content$", "batch", Endpoint.FILES, "openai.batch_results", *_OPENAI_BATCHES),
    _result(r"/batches/[^/]+/results$", "batch", Endpoint.OTHER, "xai.batch_results", "x_ai"),
)

_LISTS = re.compile(r"/(?:models|available-models|tags)(?:/[^/]+)?$")
_SEGMENT_MODEL = re.compile(r"/(?:deployments|engines)/([^/]+)/|/serving-endpoints/([^/]+)/invocations$", re.IGNORECASE)
_BEDROCK_MODEL = re.compile(r"/model/(.+)/[^/]+$", re.IGNORECASE)
_GOOGLE_MODEL = re.compile(r"/((?<=/models/)[^/:]+|tunedModels/[^/:]+):[^/]*$", re.IGNORECASE)
_RUN_MODEL = re.compile(r"/ai/run/(.+)$|/(?:models|deployments)/([^/]+/[^/]+)/predictions$")


def route(provider: Provider, method: str, path: str, *, websocket: bool = False) -> Route:
    """Return what `method path` on `provider` is for; the query of `path` is not looked at.

    Endpoints are known by how a path ends, so that any OpenAI-compatible server is read. What is neither read nor known to be free
    is UNREAD, and so is a `websocket` on any path but OpenAI's `/realtime` and `/responses`, whose responses are metered. Where the
    path names a model, that one counts, not the one in the body.
    """
    path = path.partition("?")[0].rstrip("/")
    model = _model_in(path)
    if (elsewhere := _no_ai(provider, path)) is not None:
        return elsewhere
    if websocket and provider.dialect is Dialect.OPENAI and path.endswith(("/realtime", "/responses")):
        return Route(operation="realtime", endpoint=Endpoint.OTHER, wire_format=WEBSOCKET, consumption=Consumption.FREE, model=model)
    if websocket or path.endswith("/realtime"):
        return Route(operation="realtime", endpoint=Endpoint.OTHER, wire_format=None, consumption=Consumption.UNREAD, model=model)
    if found := _matching({"POST": _POSTS, "GET": _GETS}.get(method.upper(), ()), provider, path):
        return Route(
            operation=found.operation,
            endpoint=found.endpoint,
            wire_format=found.wire_format,
            consumption=found.consumption,
            model=model,
        )
    if method.upper() != "POST":
        return _free_route(path, model)
    return Route(operation="other", endpoint=Endpoint.OTHER, wire_format=None, consumption=Consumption.UNREAD, model=model)


def _no_ai(provider: Provider, path: str) -> Route | None:
    """Return what a path is for that is none of an AI model's: those of nodes and tools, and of hosts that also serve other things."""
    if provider.dialect is Dialect.JSON_RPC:
        return Route(operation="json_rpc", endpoint=Endpoint.OTHER, wire_format=JSON_RPC, consumption=Consumption.FREE)
    if provider.ai_paths and not any(part in f"{path}/".lower() for part in provider.ai_paths):
        return Route(operation="other", endpoint=Endpoint.OTHER, wire_format=None, consumption=Consumption.FREE)
    return None


def _matching(rules: tuple[_Rule, ...], provider: Provider, path: str) -> _Rule | None:
    return next((rule for rule in rules if (not rule.only or provider.id in rule.only) and rule.suffix.search(path)), None)


def _free_route(path: str, model: str | None) -> Route:
    if _LISTS.search(path):
        return Route(operation="models", endpoint=Endpoint.MODELS, wire_format=None, consumption=Consumption.FREE, model=model)
    endpoint = Endpoint.FILES if re.search(r"/(?:files|uploads)(?:/|$)", path) else Endpoint.OTHER
    return Route(operation="other", endpoint=endpoint, wire_format=None, consumption=Consumption.FREE, model=model)


def _model_in(path: str) -> str | None:
    """Return the model of `/models/M:verb` (Google), `/model/M/verb` (Bedrock), `/deployments/M/…` (Azure) and the like."""
    for pattern in (_GOOGLE_MODEL, _BEDROCK_MODEL, _RUN_MODEL, _SEGMENT_MODEL):
        if match := pattern.search(path):
            return unquote(match[match.lastindex or 1])
    return None
