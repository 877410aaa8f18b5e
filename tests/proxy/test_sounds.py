"""Requests whose body is the sound itself, and whose model stands in the query (Deepgram)."""

import pytest

from alerting.finding import Refusal
from metering.call import Door
from metering.providers.catalog import provider_of_host
from metering.usage import Usage
from proxy import canonical
from proxy.canonical import Canonical
from proxy.raw import RawRequest

_SOUND = b"RIFF\x24\x00\xff\x7fWAVEfmt \x10\x00"


def meaning(path: str, body: bytes, content_type: str = "application/json") -> Canonical:
    provider = provider_of_host("api.deepgram.com")
    assert provider is not None
    raw = RawRequest(
        door=Door.FORWARD,
        provider=provider,
        method="POST",
        host="api.deepgram.com",
        path=path,
        names=("api.deepgram.com",),
        headers={b"host": b"api.deepgram.com", b"content-type": content_type.encode()},
        repeated=frozenset(),
        body=body,
    )
    return canonical.canonicalise(raw, cap=1 << 20)


@pytest.mark.parametrize(
    ("body", "content_type"), [(_SOUND, "audio/wav"), (_SOUND, "application/json"), (b'{"url": "https://a/b.wav"}', "application/json")]
)
def test_a_sound_is_asked_for_by_the_query(body: bytes, content_type: str) -> None:
    found = meaning("/v1/listen?smart_format=true&model=nova-3", body, content_type)

    assert (found.model, found.rejected) == ("nova-3", None)
    assert found.facts is not None
    assert found.facts.max_output_tokens == 0
    assert not canonical.takes_json(found.route)


def test_a_sound_without_a_model_is_read_too() -> None:
    found = meaning("/v1/listen", _SOUND, "audio/wav")

    assert (found.model, found.rejected, found.route.wire_format) == (None, None, "deepgram.listen")


def test_two_models_in_a_query_are_both_judged() -> None:
    found = meaning("/v1/listen?model=nova-3&model=whisper-large", _SOUND)

    assert found.model == "nova-3"
    assert [part.model for part in found.parts] == ["whisper-large"]


def test_what_is_spoken_is_text_with_the_model_of_the_query() -> None:
    found = meaning("/v1/speak?encoding=mp3&model=aura-2-thalia-en", b'{"text": "hello"}')

    assert found.model == "aura-2-thalia-en"
    assert found.facts is not None
    assert (found.facts.asked, found.facts.prompt.texts) == (Usage(characters=5), ("hello",))
    assert meaning("/v1/speak", b'{"text": "hello"}').model is None


@pytest.mark.parametrize(("path", "body"), [("/v1/speak?model=a", b'{"text": 1}'), ("/v1/listen?model=a", b'{"model": "a", "model": "b"}')])
def test_what_has_two_meanings_is_refused(path: str, body: bytes) -> None:
    found = meaning(path, body)

    assert found.rejected is not None
    assert found.rejected.refusal is Refusal.UNREADABLE
