"""xAI's videos: ordered, then asked about until they are done; the last answer has the price."""

from metering.providers.answers import AnswerReader
from metering.providers.cohere_requests import without_output
from metering.providers.openai_usage import reported_cost
from metering.providers.requests import PromptBuilder, string
from metering.providers.shapes import Json, error_type, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts


class XaiVideos:
    """`POST /v1/videos/generations` and `GET /v1/videos/{id}`."""

    name = "xai.videos"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        builder = PromptBuilder()
        builder.add(string(body, "prompt"))
        return without_output(body, builder)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=lambda _: ReplyFacts())


def _read_body(body: object) -> ReplyFacts:
    answer = obj(body)
    cost = reported_cost(obj(answer.get("usage")), provider="x_ai")
    return ReplyFacts(
        model=text(answer.get("model")),
        complete=bool(answer),
        error=error_type(answer.get("error")),
        reported_cost_nano=cost,
        deferred=bool(answer) and cost is None,
    )


XAI_VIDEOS = XaiVideos()
