"""Replicate's predictions: run at once or in the background, measured by the time of the machine."""

from decimal import ROUND_CEILING

from metering.providers.answers import AnswerReader
from metering.providers.cohere_requests import without_output
from metering.providers.requests import PromptBuilder, string
from metering.providers.shapes import Json, amount, count, error_type, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage

_TEXTS = ("system_prompt", "prompt", "negative_prompt", "text", "input")


class ReplicatePredictions:
    """`POST …/predictions` and `GET /v1/predictions/{id}`."""

    name = "replicate.predictions"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for: `version` names the model where the path does not."""
        builder = PromptBuilder()
        given = obj(body.get("input"))
        for name in _TEXTS:
            if said := text(given.get(name)):
                builder.add(said, system=name == "system_prompt")
        return without_output({**body, "model": string(body, "version") or string(body, "model")}, builder)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=lambda _: ReplyFacts())


def _read_body(body: object) -> ReplyFacts:
    """Read a prediction; its `metrics` are there once it has ended, however it ended."""
    prediction = obj(body)
    metrics = obj(prediction.get("metrics"))
    seconds = amount(metrics.get("predict_time"))
    ended = text(prediction.get("status")) in {"succeeded", "failed", "canceled", "aborted"}
    usage = None
    if seconds is not None and ended:
        usage = Usage(
            compute_ms=int((seconds * 1000).to_integral_value(ROUND_CEILING)),
            input_tokens=count(metrics.get("input_token_count")),
            output_tokens=count(metrics.get("output_token_count")),
        )
    return ReplyFacts(
        usage=usage,
        model=text(prediction.get("model")),
        complete=bool(prediction),
        error=None if usage else error_type(prediction.get("error")),
        job=text(prediction.get("id")),
        deferred="id" in prediction and not ended,
        unseen=usage is None and ended,
    )


REPLICATE_PREDICTIONS = ReplicatePredictions()
