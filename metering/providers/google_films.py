"""Google's films (Veo): an order whose result tells nothing of its length, so that the order itself tells what it costs."""

from dataclasses import replace

from metering.providers.answers import AnswerReader
from metering.providers.gemini_requests import read_predict
from metering.providers.requests import integer, mapping
from metering.providers.shapes import Json, error_type, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage

_USUAL_SECONDS = 8
_USUAL_SIZE = "720p"


class GoogleFilms:
    """`POST …/models/veo-…:predictLongRunning`."""

    name = "google.films"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        asked = mapping(body.get("parameters") or {}, "`parameters`")
        seconds = integer(asked, "durationSeconds", least=1) or _USUAL_SECONDS
        films = integer(asked, "sampleCount", "numberOfVideos", least=1) or 1
        size = text(asked.get("resolution")) or _USUAL_SIZE
        return replace(read_predict(body), asked=Usage(video_seconds=seconds * films), variant=size.lower())

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # both who serve it answer alike
        """Return a reader for the receipt."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=lambda _: ReplyFacts())


def _read_body(body: object) -> ReplyFacts:
    """Read the receipt. A film that is withheld later costs nothing: nothing is the least that the order costs."""
    answer = obj(body)
    error = error_type(answer.get("error"))
    return ReplyFacts(complete=bool(answer), error=error, unseen=error is None, also=Usage(video_seconds=0))


GOOGLE_FILMS = GoogleFilms()
