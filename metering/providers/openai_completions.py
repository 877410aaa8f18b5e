"""OpenAI's legacy completions; their answers differ from chat only in where the text stands."""

from metering.providers.openai_chat import OPENAI_CHAT
from metering.providers.openai_requests import read_completions
from metering.providers.shapes import Json
from metering.providers.wire import ReplyReader, RequestFacts


class OpenAiCompletions:
    """`POST …/completions`."""

    name = "openai.completions"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return read_completions(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer."""
        return OPENAI_CHAT.reader(provider=provider, content_type=content_type)


OPENAI_COMPLETIONS = OpenAiCompletions()
