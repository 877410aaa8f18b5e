"""OpenAI's videos: ordered, then asked about until they are done; charged by the second, by the size."""

from collections.abc import Mapping
from dataclasses import replace

from metering.call import Medium
from metering.providers.answers import AnswerReader
from metering.providers.cohere_requests import without_output
from metering.providers.requests import PromptBuilder, string
from metering.providers.shapes import Json, amount, error_type, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage

_USUAL_SIZE = "720x1280"
_USUAL_SECONDS = 4
"""What OpenAI makes of an order that says neither (API reference, "Create video")."""


class OpenAiVideos:
    """`POST /v1/videos` and `/v1/videos/{id}/remix`, and `GET /v1/videos/{id}`."""

    name = "openai.videos"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        builder = PromptBuilder()
        builder.add(string(body, "prompt"))
        if body.get("input_reference"):
            builder.attach(Medium(kind="image"))
        seconds = _seconds(body.get("seconds")) or _USUAL_SECONDS
        size = string(body, "size") or _USUAL_SIZE
        return replace(without_output(body, builder), asked=Usage(video_seconds=seconds), variant=size.lower())

    def read_form(self, fields: Mapping[str, str], *, files: int) -> RequestFacts:
        """Return what an upload asks for; the files are pictures or films to begin with."""
        facts = self.read_request(dict(fields))
        builder = PromptBuilder(texts=list(facts.prompt.texts))
        for _ in range(files):
            builder.attach(Medium(kind="image"))
        return replace(facts, prompt=builder.build())

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # all who serve it answer alike
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_body, read_events=lambda _: ReplyFacts())


def _read_body(body: object) -> ReplyFacts:
    video = obj(body)
    status, seconds, size = text(video.get("status")), _seconds(video.get("seconds")), text(video.get("size"))
    done = status == "completed" and seconds is not None
    return ReplyFacts(
        usage=Usage(video_seconds=seconds) if done else None,
        model=text(video.get("model")),
        complete=bool(video),
        error=error_type(video.get("error")),
        variant=size.lower() if size else None,
        job=text(video.get("id")),
        deferred=status in {"queued", "in_progress", "processing"},
    )


def _seconds(value: object) -> int | None:
    """Return whole seconds, which OpenAI writes as text."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else None
    found = amount(value)
    return None if found is None else int(found)


OPENAI_VIDEOS = OpenAiVideos()
