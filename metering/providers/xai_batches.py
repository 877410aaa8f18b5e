"""Results of xAI's batches: pages of answers, each of which counts once, whatever page it is fetched on."""

from metering.providers.answers import AnswerReader
from metering.providers.openai_usage import chat_usage, reported_cost, responses_usage
from metering.providers.shapes import Json, error_type, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts, Result
from metering.usage import NO_USAGE


class XaiResults:
    """`GET /v1/batches/{id}/results`."""

    name = "xai.batch_results"

    def read_request(self, body: Json) -> RequestFacts:
        """Refuse: results are fetched, nothing is sent."""
        raise ValueError(f"the results of a batch are fetched without a body; this one has {len(body)} members")

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one page."""
        return AnswerReader(content_type=content_type, read_body=_read_page, read_events=lambda _: ReplyFacts())


def _read_page(body: object) -> ReplyFacts:
    page = obj(body)
    found = tuple(result for each in objects(page.get("results")) if (result := _result(each)))
    return ReplyFacts(
        results=found,
        model=found[0].model if found else None,
        complete=bool(page),
        error=error_type(page.get("error")),
        service_tier="batch",
    )


def _result(each: Json) -> Result | None:
    """Return what one answer counts. It stands under the kind of its request (`chat_get_completion`, `responses` …)."""
    for answer in map(obj, obj(obj(each.get("batch_result")).get("response")).values()):
        counted = obj(answer.get("usage"))
        cost = reported_cost(counted, provider="x_ai")
        model = text(answer.get("model"))
        usage = responses_usage(counted) if "input_tokens" in counted else chat_usage(counted, provider="x_ai", model=model)
        known = text(answer.get("id")) or text(each.get("batch_request_id"))
        if known and (usage is not None or cost is not None):
            return Result(id=known, model=model, usage=usage or NO_USAGE, cost_nano=cost)
    return None


XAI_RESULTS = XaiResults()
