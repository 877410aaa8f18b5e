"""Google's embeddings: embedContent and batchEmbedContents, and :predict at Vertex AI."""

from collections.abc import Callable

from metering.providers.answers import AnswerReader, Events
from metering.providers.gemini_requests import read_embed, read_predict
from metering.providers.gemini_usage import embed_usage, predict_usage
from metering.providers.shapes import Json, error_type, obj, objects
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage


class GeminiEmbeddings:
    """An API of Google that answers one JSON document and has no output of tokens."""

    def __init__(self, name: str, read_request: Callable[[Json], RequestFacts], usage: Callable[[Json], Usage | None]) -> None:
        self.name = name
        self._read_request = read_request
        self._usage = usage

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return self._read_request(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # both who serve these count alike
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=self._read_body, read_events=_read_events)

    def _read_body(self, body: object) -> ReplyFacts:
        answer = obj(body) or next(objects(body), obj(None))
        usage = self._usage(answer)
        unseen = usage is None and any("embeddings" not in each for each in objects(answer.get("predictions")))
        return ReplyFacts(usage=usage, complete=bool(answer), error=error_type(answer.get("error")), unseen=unseen)


def _read_events(_events: Events) -> ReplyFacts:
    return ReplyFacts()


GEMINI_EMBED = GeminiEmbeddings("gemini.embed_content", read_embed, embed_usage)
VERTEX_PREDICT = GeminiEmbeddings("vertex.predict", read_predict, predict_usage)
