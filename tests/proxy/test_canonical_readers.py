"""Whatever any reader finds in a body, the policy saw, or the request was refused.

The readers stand for the servers behind the gateway: strict Python, lenient Python, Go (names without regard to case, the last one
wins, what follows the value is not looked at), Node.js (everything becomes text), and one that takes the first of two members.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metering.call import Door
from metering.providers.catalog import provider_of_host
from proxy import canonical
from proxy.canonical import Canonical
from proxy.raw import RawRequest

pytestmark = pytest.mark.untraced

type Reader = Callable[[bytes], tuple[str | None, list[str]]]
"""Bytes → the model, and the texts of the prompt, as a server would take them."""


def strict_python(data: bytes) -> tuple[str | None, list[str]]:
    body = json.loads(data.decode("utf-8"))
    return _text(body["model"]), list(_prompts(body["messages"], content="content"))


def lenient_python(data: bytes) -> tuple[str | None, list[str]]:
    body = json.loads(data.lstrip(b"\xef\xbb\xbf") if data.startswith(b"\xef\xbb\xbf") else data)  # knows UTF-16 and UTF-32 by itself
    return str(body["model"]) if body.get("model") is not None else None, list(_prompts(body.get("messages"), content="content"))


def like_go(data: bytes) -> tuple[str | None, list[str]]:
    text = data.decode("utf-8", "replace").lstrip(" \t\r\n")
    pairs, _ = json.JSONDecoder(object_pairs_hook=_Pairs).raw_decode(text)
    model, messages = None, None
    for name, value in pairs:
        if _folded(name) == "model" and isinstance(value, str):
            model = value
        elif _folded(name) == "messages":
            messages = value
    prompts: list[str] = []
    for message in messages if isinstance(messages, list) and not isinstance(messages, _Pairs) else []:
        said = [value for name, value in message if _folded(name) == "content"] if isinstance(message, _Pairs) else []
        prompts += [said[-1]] if said and isinstance(said[-1], str) else []
    return model, prompts


def like_node(data: bytes) -> tuple[str | None, list[str]]:
    body = json.loads(data.decode("utf-8", "replace").removeprefix("\ufeff"), parse_constant=_refuse)
    model = body.get("model")
    return None if model is None else _as_node_writes(model), list(_prompts(body.get("messages"), content="content"))


def first_wins(data: bytes) -> tuple[str | None, list[str]]:
    """Read as scanners do that stop at the first member of a name."""
    body = json.loads(data.decode("utf-8"), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    return _text(body["model"]), list(_prompts(body["messages"], content="content"))


READERS: dict[str, Reader] = {reader.__name__: reader for reader in (strict_python, lenient_python, like_go, like_node, first_wins)}


class _Pairs(list[tuple[str, Any]]):
    """An object with all of its members, in their order."""


def _folded(name: str) -> str:
    """Return a name as Go's encoding/json folds it: the long s and the Kelvin sign are letters too."""
    return name.replace("\u017f", "s").replace("\u212a", "k").lower()


def _refuse(name: str) -> None:
    raise ValueError(name)


def _as_node_writes(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_node_writes, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "[object Object]" if isinstance(value, dict) else "" if value is None else str(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _prompts(messages: Any, *, content: str) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and isinstance(message.get(content), str):
            yield message[content]


def meaning(data: bytes) -> Canonical:
    provider = provider_of_host("api.openai.com")
    assert provider is not None
    raw = RawRequest(
        door=Door.FORWARD,
        provider=provider,
        method="POST",
        host="api.openai.com",
        path="/v1/chat/completions",
        names=("api.openai.com",),
        headers={b"content-type": b"application/json"},
        repeated=frozenset(),
        body=data,
    )
    return canonical.canonicalise(raw, cap=1 << 20)


# --- bodies that somebody wrote to be misread ----------------------------------------------------------------------------

ODD = ["", "\u200b", "\u00ad", "\ufeff", " ", "\t", "\0", "\u0301"]
MODELS = ["gpt-4o", "banned", "GPT-4O", "b\u200banned", "\uff42anned", "\u0431anned", "banned ", "banned\0", "banned."]


@st.composite
def names(draw: st.DrawFn, name: str) -> str:
    """Return a member's name as JSON text: plain, escaped, in another case, or with an odd sign in it."""
    way = draw(st.sampled_from(["plain", "plain", "plain", "escaped", "case", "odd", "folds"]))
    if way == "escaped":
        at = draw(st.integers(0, len(name) - 1))
        return f"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"
    if way == "case":
        return "".join(draw(st.sampled_from([sign, sign.upper()])) for sign in name)
    if way == "odd":
        at = draw(st.integers(0, len(name)))
        return json.dumps(name[:at] + draw(st.sampled_from(ODD)) + name[at:])[1:-1]
    if way == "folds":
        return name.replace("s", "\u017f") if "s" in name else unicodedata.normalize("NFC", name.replace("m", "\uff4d"))
    return name


MODEL_VALUES = st.one_of(
    st.sampled_from(MODELS).map(json.dumps),
    st.sampled_from(MODELS).map(lambda model: json.dumps(model, ensure_ascii=False)),
    st.sampled_from(['["banned"]', '[["banned"]]', '{"id":"banned"}', "7", "null", "true", '""', "NaN", '"\\ud800"', "1e999"]),
)


@st.composite
def messages(draw: st.DrawFn) -> str:
    def member() -> str:
        return f'"{draw(names("content"))}":"{draw(st.sampled_from(["hello", "secret", "s\\u0065cret"]))}"'

    return (
        "["
        + ",".join(
            f'{{"role":"user",{",".join(member() for _ in range(draw(st.integers(1, 2))))}}}' for _ in range(draw(st.integers(0, 2)))
        )
        + "]"
    )


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a body with a model and messages, each once or more often, between members that mean nothing."""
    members = [f'"{draw(names("model"))}":{draw(MODEL_VALUES)}' for _ in range(draw(st.integers(1, 3)))]
    members += [f'"{draw(names("messages"))}":{draw(messages())}' for _ in range(draw(st.integers(1, 2)))]
    members += draw(st.lists(st.sampled_from(['"metadata":{"model":"x"}', '"temperature":0.5', '"x":[{"model":"y"}]']), max_size=2))
    space = draw(st.sampled_from(["", "", " ", "\n\t", "\u00a0", "\x0c"]))
    text = "{" + f"{space},{space}".join(draw(st.permutations(members))) + draw(st.sampled_from(["", "", "", ","])) + "}"
    text += draw(st.sampled_from(["", "", "", "\n", "\0", '{"model":"banned"}', "//"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"]))
    return text.encode(encoding, "surrogatepass")


@settings(max_examples=300, deadline=None)
@given(bodies())
@example(b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}')
@example(b'{"model":"gpt-4o","MODEL":"banned","messages":[]}')
@example('{"model":"gpt-4o","me\u017f\u017fages":[{"content":"secret"}],"messages":[]}'.encode())
def test_whatever_a_reader_finds_the_policy_saw_or_the_request_was_refused(data: bytes) -> None:
    found = meaning(data)
    if found.rejected is not None:
        return
    seen = {found.model, *(part.model for part in found.parts)}
    assert found.facts is not None
    texts = {*found.facts.prompt.texts, *found.facts.prompt.system}

    for name, read in READERS.items():
        try:
            model, prompts = read(data)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        assert not model or model in seen, name
        assert set(filter(None, prompts)) <= texts, name


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["gpt-4o", "o3-mini", "ft:gpt-4o:acme::1", "meta-llama/Llama-3.1-8B"]), st.text(max_size=40), st.booleans())
def test_what_all_readers_read_alike_is_not_refused(model: str, said: str, plain: bool) -> None:  # noqa: FBT001  # drawn
    try:
        said.encode()
    except UnicodeEncodeError:
        return
    data = json.dumps({"model": model, "messages": [{"role": "user", "content": said}]}, ensure_ascii=plain).encode()

    found = meaning(data)

    assert found.rejected is None
    assert {read(data)[0] for read in READERS.values()} == {found.model}
