"""What Mistral has beside chat: reading documents (OCR), and conversations with agents."""

from collections.abc import Iterable, Iterator

from metering.providers.answers import AnswerReader, Events, parsed
from metering.providers.cohere_requests import without_output
from metering.providers.media import medium_of
from metering.providers.openai_usage import chat_usage
from metering.providers.requests import PromptBuilder, compact, flag, mapping, output_cap, sequence, server_tools, string, tool_names
from metering.providers.shapes import Json, count, error_type, load, obj, objects, text
from metering.providers.wire import ReplyReader, RequestFacts
from metering.reading import ReplyFacts
from metering.usage import Usage


class MistralOcr:
    """`POST /v1/ocr`: charged by the page."""

    name = "mistral.ocr"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        builder = PromptBuilder()
        builder.attach(medium_of(mapping(body.get("document"), "`document`")))
        builder.tools = compact(body.get("document_annotation_format"), body.get("bbox_annotation_format"))
        return without_output(body, builder)

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_pages, read_events=lambda _: ReplyFacts())


def _read_pages(body: object) -> ReplyFacts:
    answer = obj(body)
    pages = count(obj(answer.get("usage_info")).get("pages_processed"))
    return ReplyFacts(
        usage=None if pages is None else Usage(pages=pages, annotated_pages=pages if _is_annotated(answer) else None),
        model=text(answer.get("model")),
        complete=bool(answer),
        error=error_type(answer.get("error")),
        unseen=pages is None and "pages" in answer,
    )


def _is_annotated(answer: Json) -> bool:
    """Whether the document or a picture in it was described: such pages cost more."""
    pictures = (picture for page in objects(answer.get("pages")) for picture in objects(page.get("images")))
    return bool(answer.get("document_annotation")) or any(picture.get("image_annotation") for picture in pictures)


class MistralConversations:
    """`POST /v1/conversations`, and `/v1/conversations/{id}` to go on with one."""

    name = "mistral.conversations"

    def read_request(self, body: Json) -> RequestFacts:
        """Return what the request asks for."""
        builder = PromptBuilder()
        builder.add(string(body, "instructions"), system=True)
        asked = body.get("inputs")
        for each in (asked,) if isinstance(asked, str) else sequence(body, "inputs"):
            builder.messages += 1
            builder.add([each])
        tools = sequence(body, "tools")
        builder.tools = compact(tools)
        builder.server_tools = server_tools(tools)
        builder.stored = "agent_id" in body or "inputs" not in body or "model" not in body
        arguments = obj(body.get("completion_args"))
        return RequestFacts(
            model=string(body, "model") or string(body, "agent_id"),
            streamed=flag(body, "stream"),
            max_output_tokens=output_cap(arguments, "max_tokens"),
            choices=1,
            prompt=builder.build(),
            tools=tool_names(tools),
            service_tier=None,
        )

    def reader(self, *, provider: str, content_type: str | None) -> ReplyReader:  # noqa: ARG002  # one provider serves it
        """Return a reader for one answer."""
        return AnswerReader(content_type=content_type, read_body=_read_conversation, read_events=_read_conversation_events)


def _read_conversation(body: object) -> ReplyFacts:
    answer = obj(body)
    said = _said(objects(answer.get("outputs")))
    return _conversation(answer, _models(objects(answer.get("outputs"))), said, complete=bool(answer))


def _read_conversation_events(events: Events) -> ReplyFacts:
    """Read a stream: `conversation.response.done` has the usage."""
    closing = parsed(events.closing)
    last = next((event for event in reversed(closing) if event.get("type") == "conversation.response.done"), obj(None))
    kept = [obj(load(event)) for event in events.kept] if not last else [*parsed(events.opening), *closing]
    facts = _conversation(last, _models(kept), _said(kept), complete=bool(last))
    failed = next((event for event in closing if event.get("type") == "conversation.response.error"), None)
    if failed is None:
        return facts
    return ReplyFacts(usage=facts.usage, model=facts.model, error=str(failed.get("code") or "error")[:100], output_text=facts.output_text)


def _conversation(answer: Json, model: str | None, said: Iterable[str], *, complete: bool) -> ReplyFacts:
    counted = obj(answer.get("usage"))
    usage = chat_usage(counted, provider="mistral_ai", model=None)
    connectors = count(counted.get("connector_tokens"))
    if usage and connectors and count(counted.get("total_tokens")) == (usage.input_tokens or 0) + (usage.output_tokens or 0) + connectors:
        usage = usage + Usage(input_tokens=connectors)
    return ReplyFacts(
        usage=usage, model=model, complete=complete, error=error_type(answer.get("error")), output_text="" if usage else "".join(said)
    )


def _models(entries: Iterable[Json]) -> str | None:
    return next((name for entry in entries if (name := text(entry.get("model")))), None)


def _said(entries: Iterable[Json]) -> Iterator[str]:
    for entry in entries:
        content = entry.get("content")
        if isinstance(content, str):
            yield content
        for part in objects(content):
            yield text(part.get("text")) or ""
        yield text(entry.get("arguments")) or ""


MISTRAL_OCR = MistralOcr()
MISTRAL_CONVERSATIONS = MistralConversations()
