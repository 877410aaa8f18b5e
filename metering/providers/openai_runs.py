"""Runs of OpenAI's Assistants API: started, streamed, or asked about until they have ended."""

from functools import partial

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.openai_requests import read_run
from metering.providers.openai_usage import chat_usage
from metering.providers.shapes import Json, error_type, load, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts

_ENDED = frozenset({"completed", "failed", "cancelled", "expired", "incomplete"})


class OpenAiRuns:
    """`POST …/threads/{id}/runs`, `POST …/threads/runs`, `GET …/threads/{id}/runs/{id}`."""

    name = "openai.runs"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for; the messages and often the model are stored at OpenAI."""
        return read_run(body)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=partial(_read_body, provider), read_events=partial(_read_events, provider))


def _read_body(provider: str, body: object) -> ReplyFacts:
    return _facts(provider, obj(body))


def _read_events(provider: str, events: Events) -> ReplyFacts:
    """Read a stream: the last run object has the usage; the steps of the run repeat their parts of it."""
    runs = [event for event in (*parsed(events.opening), *parsed(events.usages), *parsed(events.closing)) if _is_run(event)]
    whole = next((run for run in reversed(runs) if obj(run.get("usage"))), runs[-1] if runs else obj(None))
    facts = _facts(provider, whole)
    if facts.error or events.error is None:
        return facts
    return ReplyFacts(model=facts.model, error=error_type(obj(load(events.error)).get("error")), job=facts.job, deferred=facts.deferred)


def _is_run(event: Json) -> bool:
    return event.get("object") == "thread.run"


def _facts(provider: str, run: Json) -> ReplyFacts:
    """Make facts of a run. One that waits for the results of tools reports usage only when all is done."""
    usage = chat_usage(obj(run.get("usage")), provider=provider, model=None)
    ended = text(run.get("status")) in _ENDED
    return ReplyFacts(
        usage=usage,
        model=text(run.get("model")),
        complete=ended,
        error=error_type(run.get("error")) or error_type(run.get("last_error")),
        job=text(run.get("id")) if _is_run(run) else None,
        deferred=_is_run(run) and usage is None,
    )


OPENAI_RUNS = OpenAiRuns()
