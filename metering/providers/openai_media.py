"""OpenAI's speech, transcriptions and pictures, as all who copied them answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import ROUND_CEILING
from functools import partial

from metering.call import Medium
from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.cohere_requests import without_output
from metering.providers.openai_usage import chat_usage, media_usage, model_of, reported_cost
from metering.providers.requests import PromptBuilder, flag, integer, sequence, string
from metering.providers.shapes import Json, amount, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage

_LAST = frozenset({"transcript.text.done", "speech.audio.done", "image_generation.completed", "image_edit.completed", "transcription.done"})


class OpenAiMedia:
    """One endpoint whose prompt or output is sound or pictures."""

    def __init__(self, name: str, read_request: Callable[[Json], RequestFacts]) -> None:
        self.name = name
        self._read_request = read_request

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        return self._read_request(body)

    def read_form(self, fields: Mapping[str, str], *, files: int) -> RequestFacts:
        """Return what an upload asks for; `files` is how many it brings."""
        body: dict[str, object] = dict(fields)
        if "n" in fields:
            body["n"] = _number(fields["n"], "n")
        body["stream"] = fields.get("stream", "").lower() == "true"
        facts = self._read_request({"input": "", "prompt": "", **body})
        return _with_files(facts, files, "audio" if self.name == "openai.transcriptions" else "image")

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer: JSON, events, plain text, or the sound itself."""
        if (content_type or "").lower().startswith(("audio/", "image/", "video/", "application/octet-stream")):
            return Unseen()
        return AnswerReader(
            content_type=content_type,
            read_body=partial(_read_body, provider),
            read_events=partial(_read_events, provider),
        )


class Unseen:
    """Reads nothing of an answer that is no text: it passed, and that is all it says about its cost."""

    def feed(self, data: bytes) -> None:
        """Look away."""

    def finish(self) -> ReplyFacts:
        """Return that something was used."""
        return ReplyFacts(complete=True, unseen=True)


def read_speech(body: Json) -> RequestFacts:
    """Read a request to /audio/speech."""
    builder = PromptBuilder()
    builder.add(string(body, "instructions"), system=True)
    said = string(body, "input")
    builder.add(said)
    facts = without_output(body, builder)
    return replace(facts, asked=Usage(characters=len(said))) if said else facts


def read_transcription(body: Json) -> RequestFacts:
    """Read a request to /audio/transcriptions or /audio/translations that is JSON (OpenRouter, Mistral by URL) or a form's fields."""
    builder = PromptBuilder()
    builder.add(string(body, "prompt"))
    for name in ("file_url", "url", "input_audio"):
        if body.get(name):
            builder.attach(Medium(kind="audio"))
    return replace(without_output(body, builder), streamed=flag(body, "stream"), max_output_tokens=None)


def read_images(body: Json) -> RequestFacts:
    """Read a request to /images/generations, /images/edits or OpenRouter's /images."""
    builder = PromptBuilder()
    builder.add(string(body, "prompt"))
    for name in ("images", "input_references"):
        for _ in sequence(body, name):
            builder.attach(Medium(kind="image"))
    drawn = integer(body, "n", least=1) or 1
    return replace(
        without_output(body, builder),
        streamed=flag(body, "stream"),
        max_output_tokens=None,
        choices=drawn,
        asked=Usage(images=drawn),
        variant=_variant(string(body, "size"), string(body, "quality")),
    )


def _variant(size: str | None, quality: str | None) -> str | None:
    """Return what the price of a picture goes by (`1024x1792 hd`), None where the request leaves both to the provider."""
    return f"{size or 'auto'} {quality or 'standard'}".lower() if size or quality else None


def _number(value: str, name: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError(f"`{name}` must be a whole number")
    return int(value)


def _with_files(facts: RequestFacts, files: int, kind: str) -> RequestFacts:
    prompt = facts.prompt
    builder = PromptBuilder(system=list(prompt.system), texts=list(prompt.texts))
    for _ in range(files):
        builder.attach(Medium(kind="audio" if kind == "audio" else "image"))
    return replace(facts, prompt=builder.build())


def _read_body(provider: str, body: object) -> ReplyFacts:
    answer = obj(body) or next(objects(body), obj(None))
    return _facts(provider, answer, complete=True)


def _read_events(provider: str, events: Events) -> ReplyFacts:
    closing = parsed(events.closing)
    last = next((event for event in reversed(closing) if text(event.get("type")) in _LAST), obj(None))
    if not events.opening:
        return ReplyFacts(complete=True, unseen=True)  # plain text, subtitles
    facts = _facts(provider, last, complete=bool(last))
    if events.error is None or facts.error:
        return facts
    return ReplyFacts(error=error_type(obj(load(events.error)).get("error")))


def _facts(provider: str, answer: Json, *, complete: bool) -> ReplyFacts:
    """Make facts of an answer. What it says is no measure: sound is charged by its length, pictures by their number and size."""
    counted = obj(answer.get("usage"))
    usage = _usage(counted, provider) or _counted_off(answer)
    cost = reported_cost(counted, provider=provider)
    error = error_type(answer.get("error"))
    return ReplyFacts(
        usage=usage,
        model=model_of(answer),
        complete=complete,
        error=error,
        reported_cost_nano=cost,
        unseen=usage is None and cost is None and error is None,
    )


def _counted_off(answer: Json) -> Usage | None:
    """Return what can be counted in an answer without usage: its pictures, or the length of the sound that was written down."""
    if drawn := [each for each in objects(answer.get("data")) if "b64_json" in each or "url" in each]:
        return Usage(images=len(drawn))
    seconds = amount(answer.get("duration"))
    return Usage(seconds=int(seconds.to_integral_value(ROUND_CEILING))) if seconds else None


def _usage(counted: Json, provider: str) -> Usage | None:
    if "prompt_tokens" in counted:
        return chat_usage(counted, provider=provider, model=None)
    return media_usage(counted)


OPENAI_SPEECH = OpenAiMedia("openai.speech", read_speech)
OPENAI_TRANSCRIPTIONS = OpenAiMedia("openai.transcriptions", read_transcription)
OPENAI_IMAGES = OpenAiMedia("openai.images", read_images)
