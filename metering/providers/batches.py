"""Results of batches: many answers in one file, metered when they are fetched.

Anthropic, OpenAI, Mistral, Groq and xAI give lines of JSON, one an answer; Gemini gives one document. Each line is read as it comes, so
that a file of any length takes no memory. A file that is not the result of a batch (an upload read back) counts nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from metering.providers.answers import MAX_BODY, AnswerReader
from metering.providers.anthropic_messages import messages_usage
from metering.providers.gemini_usage import generate_usage
from metering.providers.openai_usage import chat_usage, reported_cost, responses_usage
from metering.providers.requests import PromptBuilder, sequence, string
from metering.providers.shapes import Json, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts, WireFormat
from metering.reading import ReplyFacts
from metering.streams import LineSplitter
from metering.usage import Usage


@dataclass(frozen=True, slots=True)
class Counted:
    """What one answer counts, and the provider's own price of it."""

    model: str | None
    usage: Usage
    cost_nano: int | None = None
    variant: str | None = None
    """Where it was made, if the price goes by that."""


class BatchResults:
    """One shape of results; `count` makes model and usage of one answer in it."""

    def __init__(self, name: str, count: Callable[[Json, str], Counted | None]) -> None:
        self.name = name
        self._count = count

    def read_request(self, body: Json) -> RequestFacts:
        """Refuse: results are fetched, nothing is sent."""
        raise ValueError(f"the results of a batch are fetched without a body; this one has {len(body)} members")

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # the lines tell what they are
        """Return a reader for one file of results."""
        return _LinesReader(lambda line: self._count(line, provider))


class BatchCreate:
    """Orders a batch: nothing is charged before its results are there.

    The model is that of the batch or of its first request, and the other models those of the rest.
    """

    name = "batch.create"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the batch asks for, as far as the order itself says it."""
        requests = (obj(each) for each in (*sequence(body, "requests"), *sequence(body, "batch_requests")))
        models = list(dict.fromkeys(model for holder in (body, *_holders(requests)) if (model := string(holder, "model"))))
        return RequestFacts(
            model=models[0] if models else None,
            streamed=False,
            max_output_tokens=0,
            choices=1,
            prompt=PromptBuilder().build(),
            tools=(),
            service_tier="batch",
            models=tuple(models[1:]),
        )

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # whatever is answered, no usage is
        """Return a reader for the receipt."""
        return AnswerReader(content_type=content_type, read_body=_receipt, read_events=lambda _: ReplyFacts())


def _holders(requests: Iterable[Json]) -> Iterable[Json]:
    """Yield what may name the model of each request: Gemini `request`, Anthropic `params`, Mistral `body`, xAI `batch_request`."""
    for request in requests:
        yield request
        yield from (obj(request.get(name)) for name in ("params", "body", "request"))
        yield from map(obj, obj(request.get("batch_request")).values())


def _receipt(body: object) -> ReplyFacts:
    answer = obj(body)
    return ReplyFacts(complete=True, error=error_type(answer.get("error")), deferred="error" not in answer)


class BatchObject(BatchResults):
    """A batch whose one document holds its results."""

    def __init__(self, name: str, answers: Callable[[Json], Iterable[Json]], count: Callable[[Json, str], Counted | None]) -> None:
        super().__init__(name, count)
        self._answers = answers

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # the document tells what it is
        """Return a reader for one document."""
        return _DocumentReader(self._answers, lambda answer: self._count(answer, provider))


class _Sum:
    """Adds usage up by model."""

    def __init__(self) -> None:
        self._models: dict[str | None, Usage] = {}
        self._costs: list[int | None] = []
        self._variants: set[str | None] = set()

    def add(self, counted: Counted | None) -> None:
        if counted is not None:
            self._costs.append(counted.cost_nano)
            self._variants.add(counted.variant)
            known = self._models.get(counted.model)
            self._models[counted.model] = counted.usage if known is None else known + counted.usage

    def facts(self) -> ReplyFacts:
        """Return the usage of the first model, with that of the others beside it."""
        if not self._models:
            return ReplyFacts(complete=True)
        (model, usage), *others = self._models.items()
        for name, more in others:
            usage = usage + Usage(other_models=((name or "", more),))
        costs = [cost for cost in self._costs if cost is not None]
        whole = sum(costs) if len(costs) == len(self._costs) else None
        variant = self._variants.pop() if len(self._variants) == 1 else None
        return ReplyFacts(usage=usage, model=model, complete=True, service_tier="batch", reported_cost_nano=whole, variant=variant)


class _LinesReader:
    def __init__(self, count: Callable[[Json], Counted | None]) -> None:
        self._count = count
        self._lines = LineSplitter()
        self._sum = _Sum()
        self._started = False
        self._other = False

    def feed(self, data: bytes) -> None:
        if not self._started and data.lstrip():
            self._started = True
            self._other = data.lstrip()[:1] != b"{"
        if not self._other:
            self._add(self._lines.feed(data))

    def finish(self) -> ReplyFacts:
        self._add(self._lines.finish())
        return self._sum.facts()

    def _add(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if found := obj(load(line)):
                self._sum.add(self._count(found))


class _DocumentReader:
    def __init__(self, answers: Callable[[Json], Iterable[Json]], count: Callable[[Json], Counted | None]) -> None:
        self._answers = answers
        self._count = count
        self._body: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_BODY:
            self._body.append(data)

    def finish(self) -> ReplyFacts:
        found = _Sum()
        body = obj(load(b"".join(self._body))) if self._size <= MAX_BODY else obj(None)
        for answer in self._answers(body):
            found.add(self._count(answer))
        return found.facts()


def _anthropic(line: Json, _provider: str) -> Counted | None:
    message = obj(obj(line.get("result")).get("message"))
    counted = obj(message.get("usage"))
    usage = messages_usage(counted)
    return None if usage is None else Counted(text(message.get("model")), usage, variant=text(counted.get("inference_geo")))


def _openai(line: Json, provider: str) -> Counted | None:
    """Return what one line of an output file counts: chat, embeddings or Responses; anything but a batch's answer counts nothing."""
    body = obj(obj(line.get("response")).get("body"))
    counted = obj(body.get("usage"))
    if "custom_id" not in line or not counted:
        return None
    model = text(body.get("model"))
    usage = responses_usage(counted) if "input_tokens" in counted else chat_usage(counted, provider=provider, model=model)
    return None if usage is None else Counted(model, usage, reported_cost(counted, provider=provider))


def _gemini_answers(batch: Json) -> Iterable[Json]:
    """Return the answers inside a batch or the operation that stands for it."""
    for holder in (batch, obj(batch.get("response")), obj(obj(batch.get("metadata")).get("output")), obj(batch.get("dest"))):
        for name in ("inlinedResponses", "inlinedEmbedContentResponses"):
            inlined = holder.get(name)
            yield from objects(obj(inlined).get(name) or inlined)


def _gemini(answer: Json, _provider: str) -> Counted | None:
    """Return what one answer counts; in a file of results it stands under `response` likewise."""
    response = obj(answer.get("response"))
    counted = obj(response.get("usageMetadata"))
    return Counted(text(response.get("modelVersion")), generate_usage(counted)) if counted else None


ANTHROPIC_RESULTS = BatchResults("anthropic.batch_results", _anthropic)
OPENAI_RESULTS = BatchResults("openai.batch_results", _openai)
GEMINI_RESULTS = BatchResults("gemini.batch_results", _gemini)
GEMINI_BATCH = BatchObject("gemini.batch", _gemini_answers, _gemini)

OPENROUTER_BATCH = BatchObject("openrouter.batch", lambda batch: objects(batch.get("results")), _openai)
MISTRAL_BATCH = BatchObject("mistral.batch", lambda batch: objects(batch.get("outputs")), _openai)
BATCH_CREATE = BatchCreate()

BATCH_FORMATS: Sequence[WireFormat] = (
    BATCH_CREATE,
    ANTHROPIC_RESULTS,
    OPENAI_RESULTS,
    GEMINI_RESULTS,
    GEMINI_BATCH,
    MISTRAL_BATCH,
    OPENROUTER_BATCH,
)
