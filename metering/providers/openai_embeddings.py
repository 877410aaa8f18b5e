"""OpenAI embeddings, also as Mistral, Voyage, Perplexity and others write them."""

from metering.providers.openai_chat import OPENAI_CHAT
from metering.providers.openai_requests import read_embeddings
from metering.providers.shapes import Json
from metering.providers.wire import ReplyReader, RequestFacts


class OpenAiEmbeddings:
    """`POST …/embeddings`."""

    name = "openai.embeddings"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return read_embeddings(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer: its usage is that of chat without an output."""
        return OPENAI_CHAT.reader(provider=provider, content_type=content_type)


OPENAI_EMBEDDINGS = OpenAiEmbeddings()
