"""What providers report is learned from beside the calls, and is there again after a restart."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from metering.call import Call, Consumption, Medium, Prompt
from metering.estimates import Estimates
from metering.learning import Learner
from metering.reading import Reading, Source
from metering.tokens import TokenCounter
from metering.usage import Usage
from storage.sqlite import SqliteDatabase

_PROMPT = Prompt(texts=("hello world",), messages=1)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    store = await SqliteDatabase.open(tmp_path / "t.db")
    yield store
    await store.close()


class Desk:
    """A learner with what it works on."""

    def __init__(self, database: SqliteDatabase, now: datetime) -> None:
        self.estimates = Estimates()
        self.counter = TokenCounter(self.estimates)
        self.learner = Learner(database, self.estimates, self.counter, now=lambda: now)

    async def count(self, call: Call) -> int:
        return await self.counter.count(call.prompt, model=call.model, provider=call.provider)


@pytest.fixture
def desk(database: SqliteDatabase, now: datetime) -> Desk:
    return Desk(database, now)


def reported(tokens: int | None, source: Source = Source.PROVIDER_REPORTED) -> Reading:
    return Reading(source=source, usage=Usage(input_tokens=tokens, output_tokens=1))


async def test_what_is_learned_outlives_the_process(desk: Desk, database: SqliteDatabase, make_call: Any, now: datetime) -> None:
    call = make_call(provider="ollama", model="Mystery", prompt=_PROMPT)
    for _ in range(5):
        desk.learner.hear(call, reported(333))

    assert await desk.learner.learn() == 5
    later = Desk(database, now)
    assert await later.learner.load() == 1

    assert await desk.count(call) == await later.count(call) == 333
    assert later.estimates.of("ollama", "mystery").samples == 5


async def test_no_prompt_is_stored(desk: Desk, database: SqliteDatabase, make_call: Any) -> None:
    desk.learner.hear(make_call(model="m", prompt=Prompt(texts=("sesame sesame",), messages=1)), reported(9))
    await desk.learner.learn()

    assert "sesame" not in str(await database.read("SELECT * FROM token_factors"))


@pytest.mark.parametrize(
    ("changes", "reading"),
    [
        ({}, reported(None)),
        ({}, reported(9, Source.ESTIMATED)),
        ({"consumption": Consumption.FREE}, reported(9)),
        ({"prompt": Prompt(texts=("x",), messages=1, media=1, attached=(Medium(kind="image"),))}, reported(9)),
        ({"prompt": Prompt(texts=("x",), messages=1, server_tools=("web_search",))}, reported(9)),
        ({"prompt": Prompt(texts=("x",), messages=1, stored=True)}, reported(9)),
        ({"prompt": Prompt()}, reported(9)),
    ],
    ids=["no input", "an estimate", "a free call", "media", "server tools", "a stored conversation", "no text"],
)
async def test_some_calls_teach_nothing(desk: Desk, make_call: Any, changes: dict[str, Any], reading: Reading) -> None:
    desk.learner.hear(make_call(**{"prompt": _PROMPT, **changes}), reading)

    assert await desk.learner.learn() == 0


async def test_of_a_well_known_model_only_some_calls_are_learned_from(desk: Desk, make_call: Any) -> None:
    call, learned = make_call(prompt=_PROMPT), 0
    for _ in range(30 + 256):
        desk.learner.hear(call, reported(9))
        learned += await desk.learner.learn()

    assert learned == 30 + 256 // 64


async def test_prompts_that_wait_are_bounded(desk: Desk, make_call: Any) -> None:
    for number in range(2000):
        desk.learner.hear(make_call(model=f"m{number}", prompt=_PROMPT), reported(9))

    assert await desk.learner.learn() == 64


async def test_a_tokenizer_that_fails_teaches_nothing_and_hinders_nobody(
    desk: Desk, make_call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PanicError(BaseException):
        """What a native module raises when it panics: no Exception."""

    def fail(_name: object) -> None:
        raise PanicError("forced by a test")

    desk.learner.hear(make_call(provider="ollama", model="mystery", prompt=_PROMPT), reported(333))
    with monkeypatch.context() as patch:
        patch.setattr("metering.tokens.encoding", fail)
        await desk.learner.learn()

    assert desk.estimates.changed() == {}
    desk.learner.hear(make_call(provider="ollama", model="mystery", prompt=_PROMPT), reported(333))
    await desk.learner.learn()
    assert desk.estimates.of("ollama", "mystery").samples == 1
