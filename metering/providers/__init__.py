"""How providers write calls, replies and stream events: one file per wire format."""

from collections.abc import Mapping

from metering.providers.anthropic_messages import ANTHROPIC_MESSAGES
from metering.providers.bedrock_converse import BEDROCK_CONVERSE, BEDROCK_CONVERSE_STREAM
from metering.providers.bedrock_invoke import BEDROCK_INVOKE, BEDROCK_INVOKE_STREAM
from metering.providers.openai_chat import OPENAI_CHAT
from metering.providers.openai_completions import OPENAI_COMPLETIONS
from metering.providers.openai_embeddings import OPENAI_EMBEDDINGS
from metering.providers.openai_responses import OPENAI_RESPONSES
from metering.providers.wire import HeaderedFormat, ReplyReader, RequestFacts, WireFormat

FORMATS: Mapping[str, WireFormat] = {
    wire.name: wire
    for wire in (
        OPENAI_CHAT,
        OPENAI_RESPONSES,
        OPENAI_COMPLETIONS,
        OPENAI_EMBEDDINGS,
        ANTHROPIC_MESSAGES,
        BEDROCK_CONVERSE,
        BEDROCK_CONVERSE_STREAM,
        BEDROCK_INVOKE,
        BEDROCK_INVOKE_STREAM,
    )
}
"""Every wire format that is read, by its name."""

__all__ = ["FORMATS", "HeaderedFormat", "ReplyReader", "RequestFacts", "WireFormat"]
