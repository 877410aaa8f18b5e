"""Token counts: exact for OpenAI's text, bounded for any, and never out of reach."""

import asyncio
import base64
import hashlib
import random
import socket
import time
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.call import Prompt
from metering.encodings import encoding, encoding_name, rank_file
from metering.tokens import LONG, TokenCounter, TokenizerError, pieces

# The hashes that tiktoken itself checks after its download (tiktoken_ext/openai_public.py).
_HASHES = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}


@pytest.fixture
def counter() -> TokenCounter:
    return TokenCounter()


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_the_rank_files_are_those_that_openai_publishes(name: Any) -> None:
    assert hashlib.sha256(rank_file(name)).hexdigest() == _HASHES[name]


def test_encodings_load_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    encoding.cache_clear()

    assert encoding("o200k_base").encode_ordinary("hello world") == [24912, 2375]
    assert encoding("cl100k_base").encode_ordinary("hello world") == [15339, 1917]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("claude-sonnet-4-5", "o200k_base"),
        (None, "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("openai/gpt-3.5-turbo", "cl100k_base"),
        ("ft:gpt-3.5-turbo:acme", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
    ],
)
def test_a_model_has_an_encoding(model: str | None, name: str) -> None:
    assert encoding_name(model) == name


async def test_a_chat_prompt_is_counted_with_its_framing(counter: TokenCounter) -> None:
    prompt = Prompt(system=("hello world",), texts=("hello world",), messages=2)

    assert await counter.count(prompt, model="gpt-4o") == 2 * (4 + 2) + 3
    assert await counter.count(prompt, model="gpt-5-nano") == 2 * (4 + 2) + 2
    assert await counter.count(Prompt(texts=("hello world",)), model="text-embedding-3-small") == 2


async def test_text_that_looks_like_a_special_token_is_text(counter: TokenCounter) -> None:
    assert await counter.count(Prompt(texts=("<|endoftext|>",)), model="gpt-4o") > 1


async def test_lone_surrogates_are_counted(counter: TokenCounter) -> None:
    prompt = Prompt(texts=("a\ud800b", "\udfff" * 300))

    assert 0 < await counter.count(prompt, model="gpt-4o") <= counter.bound(prompt)


async def test_other_families_have_other_tokenizers(counter: TokenCounter) -> None:
    prompt = Prompt(texts=("hello world " * 50,), messages=1)
    text = len(encoding("o200k_base").encode_ordinary(prompt.texts[0]))

    for model, factor in (("claude-opus-4-7", 1.41), ("claude-sonnet-5", 1.35), ("claude-sonnet-4-5", 1.15), ("gemini-2.5-pro", 1.03)):
        assert await counter.count(prompt, model=model) == pytest.approx(factor * text, abs=10)
    assert await counter.count(prompt, model="grok-4") > text + 150


async def test_media_and_tools_are_part_of_a_prompt(counter: TokenCounter) -> None:
    bare, full = Prompt(texts=("hi",), messages=1), Prompt(texts=("hi",), messages=1, media=1, tools=b'[{"name":"toll"}]')

    assert await counter.count(full, model="gpt-4o") > 1000 + await counter.count(bare, model="gpt-4o")
    assert counter.bound(full) > 1000 + counter.bound(bare)


@given(texts=st.lists(st.text(max_size=200), max_size=4), system=st.lists(st.text(max_size=50), max_size=2))
def test_the_bound_is_never_below_the_count(texts: list[str], system: list[str]) -> None:
    counter = TokenCounter()
    prompt = Prompt(texts=tuple(texts), system=tuple(system), messages=len(texts) + len(system))

    assert asyncio.run(counter.count(prompt, model="gpt-5")) <= counter.bound(prompt)


_WORST = {
    "spaces": " ",
    "newlines": "\n",
    "tabs and newlines": "\t\n",
    "letters": "a",
    "capitals": "aA",
    "dots": ".",
    "digits": "7",
    "nbsp": "\u00a0",
    "combining": "\u0301",
    "thai": "ก็",
    "chinese": "漢",
    "emoji": "😀",
    "joiners": "\u200d",
    "apostrophes": "a'",
    "surrogates": "\ud800",
    "special tokens": "<|endoftext|>",
    "base64": base64.b64encode(random.Random(7).randbytes(30_000)).decode(),
}


@pytest.mark.parametrize("unit", _WORST.values(), ids=_WORST)
async def test_older_models_count_the_worst_prompts_too(counter: TokenCounter, unit: str) -> None:
    prompt = Prompt(texts=((unit * (1 + 100_000 // len(unit)))[:100_000],))

    assert 0 < await counter.count(prompt, model="gpt-4") <= counter.bound(prompt)
    assert counter.estimate_input(prompt, model="gpt-4") > 0
    assert counter.glance(prompt, model="gpt-4") > 0


@pytest.mark.parametrize("unit", _WORST.values(), ids=_WORST)
@pytest.mark.untraced
async def test_the_worst_prompts_are_counted_in_time_and_off_the_loop(counter: TokenCounter, unit: str) -> None:
    prompt = Prompt(texts=((unit * (1 + 1_000_000 // len(unit)))[:1_000_000],))
    await counter.warm()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    started = time.monotonic()
    ticker = asyncio.ensure_future(tick())
    tokens = await counter.count(prompt, model="gpt-4o")
    ticker.cancel()

    assert 0 < tokens <= counter.bound(prompt)
    assert time.monotonic() - started < 10
    assert ticks > 0


@given(words=st.lists(st.text(alphabet=" \n\tab.é漢'1", max_size=30), min_size=60, max_size=90))
def test_pieces_put_together_are_the_text(words: list[str]) -> None:
    text = " ".join(words) * 30

    found = list(pieces(text))

    assert "".join(found) == text
    assert all(len(piece) <= 8192 for piece in found)


async def test_prose_counts_the_same_in_pieces_as_in_one(counter: TokenCounter) -> None:
    text = "It's the toll-keeper's 1,234th day: he counts, he waits;\n\n  he sleeps. " * 2000

    assert await counter.count(Prompt(texts=(text,)), model="gpt-4o") == len(encoding("o200k_base").encode_ordinary(text))


async def test_a_text_seen_before_is_not_counted_again_and_the_memory_is_bounded(
    counter: TokenCounter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering.tokens._CACHED", 3)
    prompts = [Prompt(texts=(f"{number} " * 300,)) for number in range(5)]
    first = [await counter.count(prompt, model="gpt-4o") for prompt in prompts]

    assert [await counter.count(prompt, model="gpt-4o") for prompt in prompts] == first


def test_an_answer_is_estimated_by_its_text(counter: TokenCounter) -> None:
    assert counter.estimate_output("", model="gpt-4o") == 0
    assert counter.estimate_output("hello world", model="gpt-4o") == 2
    assert counter.estimate_output("hello world", model="claude-opus-4-8") == 3


def test_a_very_long_text_is_estimated_by_its_beginning(counter: TokenCounter) -> None:
    text = "hello world " * (LONG // 4)
    exact = len(encoding("o200k_base").encode_ordinary(text))

    assert counter.estimate_output(text, model="gpt-4o") == pytest.approx(exact, rel=0.01)
    assert counter.estimate_input(Prompt(texts=(text, text)), model="gpt-4o") == pytest.approx(2 * exact, rel=0.01)
    assert counter.estimate_input(Prompt(texts=("hello world",)), model="gpt-4o") == 2


async def test_a_glance_at_a_short_prompt_counts_it(counter: TokenCounter) -> None:
    prompt = Prompt(texts=("What is the toll for two oxen?",), messages=1)

    assert counter.glance(prompt, model="gpt-4o") == await counter.count(prompt, model="gpt-4o")


def test_a_glance_is_near_the_count_and_counts_nothing() -> None:
    counter = TokenCounter()
    text = "The gate opens at dawn, and whoever comes first pays the least. " * 200

    seen = counter.glance(Prompt(texts=(text,), messages=1), model="gpt-4o")

    exact = counter.estimate(Prompt(texts=(text[:6000],), messages=1), model="gpt-4o").tokens * len(text) / 6000
    assert 0.6 < seen / exact < 1.6
    assert counter.glance(Prompt(texts=("価格は二ペンス。" * 100,), messages=1), model="gpt-4o") > 300


class _PanicError(BaseException):
    """What a native module raises when it panics: no Exception."""


def _failing(kind: type[BaseException]) -> Any:
    def fail(_name: object) -> NoReturn:
        raise kind("forced by a test")

    return fail


@pytest.mark.parametrize("kind", [ValueError, MemoryError, _PanicError])
async def test_where_the_tokenizer_fails_texts_count_as_their_bytes(
    counter: TokenCounter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[BaseException]
) -> None:
    long = "hello wörld " * 2000
    prompts = (Prompt(texts=("hello wörld",), tools=b"{}"), Prompt(texts=(long,)))
    exact = [counter.estimate_input(prompt, model="gpt-4o") for prompt in prompts]
    monkeypatch.setattr("metering.tokens.encoding", _failing(kind))
    fresh = TokenCounter()

    assert fresh.estimate_output("hello wörld", model="gpt-4o") == len("hello wörld".encode())
    for prompt, known in zip(prompts, exact, strict=True):
        for tokens in (
            await fresh.count(prompt, model="gpt-4o"),
            fresh.estimate_input(prompt, model="gpt-4o"),
        ):
            assert known < tokens <= fresh.bound(prompt, model="gpt-4o")
    assert fresh.glance(prompts[0], model="gpt-4o") > exact[0]
    assert capsys.readouterr().out.count("tokenizer_failed") == 1
    with pytest.raises(TokenizerError, match=kind.__name__):
        fresh.parts(prompts[0], model="gpt-4o")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_no_failure_of_the_tokenizer(
    counter: TokenCounter, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    monkeypatch.setattr("metering.tokens.encoding", _failing(kind))

    with pytest.raises(kind):
        counter.estimate_output("hello", model="gpt-4o")
    with pytest.raises(kind):
        counter.parts(Prompt(texts=("hello",)), model="gpt-4o")
