"""What goes on in a WebSocket to OpenAI: which of the client's events ask for something, and for what; no I/O."""

from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import parse_qsl

import orjson

from metering.call import Endpoint, Prompt
from metering.providers.openai_requests import read_responses
from metering.providers.realtime import OPENAI_REALTIME, TRANSCRIBED
from metering.providers.requests import mapping, sequence, string
from metering.providers.shapes import Json, count, items, obj, objects, text
from metering.providers.wire import RequestFacts

_BYTES_PER_AUDIO_TOKEN = 800
"""A token is a tenth of a second; G.711 needs the fewest bytes for it (PCM six times as many), so that this is a bound."""
_MOST_KEPT = 4 << 20
"""Bytes of items kept to be counted; what is older is bounded by its length."""
_SPELLED = frozenset({"type", "response", "session", "item", "model", "instructions", "input", "tools"})


@dataclass(frozen=True, slots=True)
class Ask:
    """What an event of the client asks for; `costs` when a response begins with it."""

    facts: RequestFacts
    costs: bool


class Conversation(Protocol):
    """One WebSocket as its protocol understands it."""

    @property
    def kind(self) -> tuple[str, Endpoint, str]:
        """The operation, the endpoint and the wire format of a response."""
        ...

    def ask(self, event: Json) -> Ask | None:
        """Return what an event of the client asks for, None for what costs and changes nothing; ValueError when it cannot be told."""
        ...

    def sent(self, event: Json) -> None:
        """Hear that an event of the client was passed on."""
        ...

    def heard(self, event: Json) -> None:
        """Hear an event of the provider."""
        ...

    def unasked(self, event: Json) -> RequestFacts:
        """Return what a response asks for that began without the client's word (voice detection, transcription)."""
        ...


def model_of_query(path: str) -> str | None:
    """Return the model that an upgrade's query names; ValueError when it names two."""
    names = [value for name, value in parse_qsl(path.partition("?")[2]) if name in {"model", "deployment"}]
    if len(set(names)) > 1:
        raise ValueError("the query names more than one model")
    return names[0] if names else None


def conversation(path: str, model: str | None) -> Conversation:
    """Return the conversation of an upgrade to `path`."""
    return _Responses(model) if path.partition("?")[0].rstrip("/").endswith("/responses") else _Realtime(model)


class _Responses:
    """The Responses API over a WebSocket: `response.create` carries the body, the events are those of the stream."""

    kind = ("chat", Endpoint.RESPONSES, "openai.responses")

    def __init__(self, model: str | None) -> None:
        self._model = model

    def ask(self, event: Json) -> Ask | None:
        kind = _kind(event)
        if kind == "response.cancel":
            return None
        body = {name: value for name, value in event.items() if name not in {"type", "event_id"}}
        if "response" in body:
            inner = mapping(body.pop("response"), "`response`")
            if body.keys() & {"model", "input", "instructions", "tools"}:
                raise ValueError("the event asks at its top and in `response`; ask in one of them")
            body |= inner
        facts = replace(read_responses(body), streamed=True)
        model = facts.model or self._model
        return Ask(replace(facts, model=model), costs=kind.startswith("response."))

    def sent(self, event: Json) -> None:
        self._model = string(event, "model") or self._model

    def heard(self, event: Json) -> None:
        self._model = text(obj(event.get("response")).get("model")) or self._model

    def unasked(self, event: Json) -> RequestFacts:
        return replace(read_responses({}), streamed=True, model=text(obj(event.get("response")).get("model")) or self._model)


class _Realtime:
    """The Realtime API: items and sounds are gathered first; a response reads all of them again."""

    kind = ("realtime", Endpoint.OTHER, "openai.realtime")
    _silent = frozenset(
        {
            "input_audio_buffer.append",
            "input_audio_buffer.commit",
            "input_audio_buffer.clear",
            "output_audio_buffer.clear",
            "conversation.item.delete",
            "conversation.item.truncate",
            "conversation.item.retrieve",
            "response.cancel",
        }
    )

    def __init__(self, model: str | None) -> None:
        self._model = model
        self._session: Json = {}
        self._items: list[Json] = []
        self._kept = 0
        self._carried = 0
        """Tokens of what is no longer kept: the last response's, and what was too much."""
        self._sound = 0
        """Bytes of sound since the last response."""
        self._theirs: Json = {}
        """The settings that the provider told, below those that the client sent."""

    def ask(self, event: Json) -> Ask | None:
        kind = _kind(event)
        if kind in self._silent:
            return None
        if kind == "response.create":
            return Ask(self._turn(mapping(event.get("response") or {}, "`response`")), costs=True)
        if kind in {"session.update", "transcription_session.update"}:
            session = mapping(event.get("session"), "`session`")
            return Ask(OPENAI_REALTIME.read_request(_settings(session, model=self._model)), costs=False)
        if kind == "conversation.item.create":
            item, _ = _without_sound(mapping(event.get("item"), "`item`"))
            return Ask(OPENAI_REALTIME.read_request({"model": self._model, "input": [item]}), costs=False)
        return Ask(OPENAI_REALTIME.read_request({"model": self._model, "input": orjson.dumps(event).decode()}), costs=False)

    def _turn(self, response: Json) -> RequestFacts:
        """Return what a response is asked for: its own settings over those of the session, and the conversation so far."""
        own = _settings(response, model=None)
        given = [_without_sound(mapping(each, "each of `input`")) for each in sequence(response, "input")]
        known = {name: value for name, value in self._theirs.items() if name != "instructions"} | {**self._session}
        body = {**_settings(known, model=self._model), **{name: value for name, value in own.items() if value is not None}}
        facts = OPENAI_REALTIME.read_request(body | {"input": [*self._items, *(item for item, _ in given)]})
        sound = self._sound + sum(sound for _, sound in given)
        hidden = self._carried + -(-sound // _BYTES_PER_AUDIO_TOKEN)
        if body.get("instructions") is None:  # the provider's own: they count, and are no prompt that anybody here wrote
            hidden += len((text(self._theirs.get("instructions")) or "").encode())
        return replace(facts, prompt=replace(facts.prompt, sealed=facts.prompt.sealed + hidden))

    def sent(self, event: Json) -> None:
        kind = _kind(event)
        if kind == "conversation.item.create":
            self._keep(obj(event.get("item")))
        elif kind == "session.update":
            session = obj(event.get("session"))
            self._session = {**self._session, **session}
            self._model = text(session.get("model")) or self._model
        elif kind == "input_audio_buffer.append":
            self._sound += _sound_bytes(event.get("audio"))

    def heard(self, event: Json) -> None:
        kind = text(event.get("type"))
        if kind in {"session.created", "session.updated"}:
            self._theirs = obj(event.get("session"))
            self._model = self._model or text(self._theirs.get("model"))
        elif kind == "response.done" and (total := count(obj(obj(event.get("response")).get("usage")).get("total_tokens"))) is not None:
            self._carried, self._items, self._kept, self._sound = total, [], 0, 0

    def unasked(self, event: Json) -> RequestFacts:
        if text(event.get("type")) != TRANSCRIBED:
            return self._turn({})
        model = next((model for session in (self._session, self._theirs) if (model := _transcriber(session))), None)
        facts = OPENAI_REALTIME.read_request({"model": model})
        return replace(facts, prompt=Prompt(sealed=-(-self._sound // _BYTES_PER_AUDIO_TOKEN)))

    def _keep(self, item: Json) -> None:
        item, sound = _without_sound(item)
        self._sound += sound
        size = len(orjson.dumps(item))
        if self._kept + size > _MOST_KEPT:
            self._carried += size
        else:
            self._items.append(item)
            self._kept += size


def _kind(event: Json) -> str:
    """Return the type of a client's event; ValueError for one that another parser may read as another."""
    for names in (event, obj(event.get("response")), obj(event.get("session"))):
        for name in names:
            if name not in _SPELLED and name.casefold() in _SPELLED:
                raise ValueError(f"the member {name[:40]!r} differs from {name.casefold()!r} by case only")
    kind = string(event, "type")
    if kind is None:
        raise ValueError("the event has no `type`")
    return kind


def _settings(given: Json, *, model: str | None) -> dict[str, object]:
    """Return the members that count, in the words of a Responses request."""
    cap = given.get("max_output_tokens", given.get("max_response_output_tokens"))
    return {
        "model": given.get("model") or model,
        "instructions": given.get("instructions"),
        "tools": given.get("tools"),
        "max_output_tokens": cap,
    }


def _transcriber(session: Json) -> str | None:
    """Return the model that writes down what is said, in the present form of a session or the beta's."""
    given = obj(obj(obj(session.get("audio")).get("input")).get("transcription")) or obj(session.get("input_audio_transcription"))
    return text(given.get("model"))


def _without_sound(item: Json) -> tuple[Json, int]:
    """Return an item without the sound in it, and the bytes of that."""
    content = item.get("content")
    if not items(content):
        return item, 0
    kept: list[object] = []
    sound = 0
    for part in objects(content):
        sound += _sound_bytes(part.get("audio"))
        kept.append({"text": part.get("transcript")} if "audio" in part else part)
    return {**item, "content": kept}, sound


def _sound_bytes(audio: object) -> int:
    return len(audio) * 3 // 4 if isinstance(audio, str) else 0
