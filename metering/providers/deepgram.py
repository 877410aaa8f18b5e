"""Deepgram: sound written down, charged by its length, and text spoken, charged by its characters."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_CEILING

from metering.providers.answers import AnswerReader
from metering.providers.cohere_requests import without_output
from metering.providers.openai_media import Unseen
from metering.providers.requests import PromptBuilder, string
from metering.providers.shapes import Json, amount, count, items, obj, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage


class DeepgramListen:
    """`POST /v1/listen`: the body is the sound itself, or names where it lies; all else stands in the query."""

    name = "deepgram.listen"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what a body of JSON asks for; a sound is not read."""
        string(body, "url")
        return without_output(body, PromptBuilder())

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_transcript, read_events=lambda _: ReplyFacts())


def _read_transcript(body: object) -> ReplyFacts:
    """Read `metadata`; an answer that comes later, to a callback, is not seen here. Each channel is charged where they are apart."""
    answer = obj(body)
    metadata = obj(answer.get("metadata"))
    duration = amount(metadata.get("duration"))
    channels = max(1, len(items(obj(answer.get("results")).get("channels"))))
    failed = text(answer.get("err_code"))
    return ReplyFacts(
        usage=None if duration is None else Usage(seconds=int((duration * channels).to_integral_value(ROUND_CEILING))),
        model=_model(metadata),
        complete=bool(answer),
        error=failed[:100] if failed else None,
        unseen=duration is None and not failed,
    )


def _model(metadata: Json) -> str | None:
    """Return the model's name (`general-nova-3`), which stands under its id; where there are several, none."""
    names = {name for info in map(obj, obj(metadata.get("model_info")).values()) if (name := text(info.get("arch")))}
    return names.pop() if len(names) == 1 else None


class DeepgramSpeak:
    """`POST /v1/speak`: its headers count the characters."""

    name = "deepgram.speak"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        builder = PromptBuilder()
        said = string(body, "text")
        builder.add(said)
        facts = without_output(body, builder)
        return replace(facts, asked=Usage(characters=len(said))) if said else facts

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:
        """Return a reader for one answer."""
        return self.reader_with(provider=provider, content_type=content_type, headers={})

    def reader_with(self, *, provider: str, content_type: str | None, headers: Mapping[str, str]) -> ReplyReader:  # noqa: ARG002  # the same
        """Return a reader for one answer with these headers."""
        return _Spoken(headers.get("dg-char-count", ""), headers.get("dg-model-name"))


class _Spoken(Unseen):
    def __init__(self, characters: str, model: str | None) -> None:
        self._characters = count(int(characters)) if characters.isascii() and characters.isdigit() and len(characters) < 13 else None
        self._model = model

    def finish(self) -> ReplyFacts:
        """Return what the headers say."""
        usage = None if self._characters is None else Usage(characters=self._characters)
        return ReplyFacts(usage=usage, model=self._model, complete=True, unseen=usage is None)


DEEPGRAM_LISTEN = DeepgramListen()
DEEPGRAM_SPEAK = DeepgramSpeak()
