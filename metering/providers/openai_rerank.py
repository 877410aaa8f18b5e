"""Rerank, as OpenRouter, Voyage and Jina answer it: usage in the shape of embeddings."""

from metering.providers.cohere_requests import read_rerank
from metering.providers.openai_chat import OPENAI_CHAT
from metering.providers.shapes import Json
from metering.providers.wire import ReplyReader, RequestFacts


class OpenAiRerank:
    """`POST …/rerank`."""

    name = "openai.rerank"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return read_rerank(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer: its usage is that of chat without an output."""
        return OPENAI_CHAT.reader(provider=provider, content_type=content_type)


OPENAI_RERANK = OpenAiRerank()
