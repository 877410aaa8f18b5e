"""How providers write calls, replies and stream events: one file per wire format."""

from collections.abc import Mapping

from metering.providers.anthropic_complete import ANTHROPIC_COMPLETE
from metering.providers.anthropic_messages import ANTHROPIC_MESSAGES
from metering.providers.batches import BATCH_FORMATS
from metering.providers.bedrock_converse import BEDROCK_CONVERSE, BEDROCK_CONVERSE_STREAM
from metering.providers.bedrock_invoke import BEDROCK_INVOKE, BEDROCK_INVOKE_STREAM
from metering.providers.cohere import COHERE_CHAT, COHERE_EMBED, COHERE_RERANK
from metering.providers.deepgram import DEEPGRAM_LISTEN, DEEPGRAM_SPEAK
from metering.providers.gemini import GEMINI_GENERATE, GEMINI_STREAM
from metering.providers.gemini_embeddings import GEMINI_EMBED, VERTEX_PREDICT
from metering.providers.gemini_interactions import GEMINI_INTERACTIONS
from metering.providers.google_films import GOOGLE_FILMS
from metering.providers.mistral import MISTRAL_CONVERSATIONS, MISTRAL_OCR
from metering.providers.ollama import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE
from metering.providers.openai_chat import OPENAI_CHAT
from metering.providers.openai_completions import OPENAI_COMPLETIONS
from metering.providers.openai_embeddings import OPENAI_EMBEDDINGS
from metering.providers.openai_media import OPENAI_IMAGES, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS
from metering.providers.openai_rerank import OPENAI_RERANK
from metering.providers.openai_responses import OPENAI_RESPONSES
from metering.providers.openai_runs import OPENAI_RUNS
from metering.providers.openai_videos import OPENAI_VIDEOS
from metering.providers.realtime import OPENAI_REALTIME
from metering.providers.replicate import REPLICATE_PREDICTIONS
from metering.providers.wire import FormFormat, HeaderedFormat, ReplyReader, RequestFacts, WireFormat
from metering.providers.xai_batches import XAI_RESULTS
from metering.providers.xai_videos import XAI_VIDEOS

_READ: tuple[WireFormat, ...] = (
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    OPENAI_COMPLETIONS,
    OPENAI_EMBEDDINGS,
    OPENAI_RERANK,
    OPENAI_RUNS,
    OPENAI_REALTIME,
    OPENAI_SPEECH,
    OPENAI_TRANSCRIPTIONS,
    OPENAI_IMAGES,
    OPENAI_VIDEOS,
    XAI_VIDEOS,
    XAI_RESULTS,
    GOOGLE_FILMS,
    DEEPGRAM_LISTEN,
    DEEPGRAM_SPEAK,
    REPLICATE_PREDICTIONS,
    ANTHROPIC_MESSAGES,
    ANTHROPIC_COMPLETE,
    GEMINI_GENERATE,
    GEMINI_STREAM,
    GEMINI_EMBED,
    VERTEX_PREDICT,
    GEMINI_INTERACTIONS,
    COHERE_CHAT,
    COHERE_EMBED,
    COHERE_RERANK,
    OLLAMA_CHAT,
    OLLAMA_GENERATE,
    OLLAMA_EMBED,
    MISTRAL_OCR,
    MISTRAL_CONVERSATIONS,
    *BATCH_FORMATS,
    BEDROCK_CONVERSE,
    BEDROCK_CONVERSE_STREAM,
    BEDROCK_INVOKE,
    BEDROCK_INVOKE_STREAM,
)

FORMATS: Mapping[str, WireFormat] = {wire.name: wire for wire in _READ}
"""Every wire format that is read, by its name."""

FORMS: Mapping[str, FormFormat] = {name: wire for name, wire in FORMATS.items() if isinstance(wire, FormFormat)}
"""Those that read uploads too. (To ask a format itself what it is costs more than to look it up here.)"""

SOUNDS = frozenset({DEEPGRAM_LISTEN.name})
"""Those whose request may be the sound itself: what is asked of it stands in the query."""

QUERIED = SOUNDS | {DEEPGRAM_SPEAK.name}
"""Those whose model stands in the query."""

HEADERED: Mapping[str, HeaderedFormat] = {name: wire for name, wire in FORMATS.items() if isinstance(wire, HeaderedFormat)}
"""Those that read the headers of an answer too."""

__all__ = ["FORMATS", "FORMS", "HEADERED", "QUERIED", "SOUNDS", "FormFormat", "HeaderedFormat", "ReplyReader", "RequestFacts", "WireFormat"]
