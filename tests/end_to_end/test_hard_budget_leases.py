"""Many clients at once, three budgets each; streams, whole answers, clients that leave and refusals of the provider mixed."""

import asyncio
import json
import random
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from metering.call import Prompt
from metering.tokens import TokenCounter
from tests.support.answers import Answer, body, rate_limited, sse
from tests.support.asking import chat, connect, head, target
from tests.support.client import Connection
from tests.support.gateway import Gateway
from tests.support.provider import Provider, Seen

MODELS = {"gpt-4o-mini": (150, 600), "gpt-4o": (2_500, 10_000)}
"""Nano-dollars for a token of input and of output."""
READ = 11
WHOLE_CAP, STREAM_CAP, QUANTUM = 400, 1_600, 128
WORDS = 4
"""Tokens of one event, each four letters."""
CALLS_EACH = 3

type Kind = Literal["stream", "whole", "leaves", "limited"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One call: what it is, and what it will come to. `hidden` output is billed and does not pass."""

    id: str
    user: str
    model: str
    kind: Kind
    shown: int
    cap: int
    """The output that it asks for at most."""
    hidden: int = 0
    text: str = "hello there"
    read: int = READ
    """The tokens of the prompt."""
    bound: int = 200
    """More than it can have by its bytes."""

    @property
    def cost(self) -> int:
        """What it costs: its client leaves when all that is shown has come, and the provider writes no more."""
        read, written = MODELS[self.model]
        return 0 if self.kind == "limited" else self.read * read + (self.shown + self.hidden) * written

    @property
    def most(self) -> int:
        """What it holds at most when it is let through, its prompt by the bound."""
        read, written = MODELS[self.model]
        return self.bound * read + (self.cap if self.kind == "whole" else min(self.cap, QUANTUM)) * written


def asks(clients: int, *, hidden: bool) -> list[list[Ask]]:
    """Return what each client will ask for, one after the other; the same every time."""
    chance = random.Random(7)
    made: list[list[Ask]] = []
    for client in range(clients):
        row: list[Ask] = []
        for turn in range(CALLS_EACH):
            kind: Kind = chance.choices(("stream", "whole", "leaves", "limited"), (5, 3, 1, 1))[0]
            shown = chance.randrange(100, 400, WORDS)
            secret = chance.randint(100, 600) if hidden and kind == "stream" and chance.random() < 0.2 else 0
            cap = WHOLE_CAP if kind == "whole" else STREAM_CAP
            row.append(Ask(f"{client}.{turn}", _user(client, clients), chance.choice([*MODELS]), kind, shown, cap, secret))
        made.append(row)
    return made


def exact_asks(clients: int) -> list[list[Ask]]:
    """Return what each client will ask for where the cap of a whole answer is what it takes, and prompts are far from their bounds.

    What a provider refuses, and what a client leaves, costs less than it has to hold: no client ends with such a call, so that what it
    still asks for comes to as much.
    """
    chance, counter = random.Random(11), TokenCounter()
    made: list[list[Ask]] = []
    for client in range(clients):
        model, text = chance.choice([*MODELS]), "the toll of the road " * chance.randint(20, 60)
        prompt = Prompt(texts=(text,), messages=1)
        read, bound = counter.count_now(prompt, model=model, provider="openai"), counter.bound(prompt, model=model, provider="openai")
        row: list[Ask] = []
        for turn in range(CALLS_EACH):
            weights = (5, 3, 2, 2) if turn < CALLS_EACH - 1 else (5, 3, 0, 0)
            kind: Kind = chance.choices(("stream", "whole", "leaves", "limited"), weights)[0]
            shown = chance.randrange(100, 400, WORDS)
            cap = {"stream": chance.choice([shown, STREAM_CAP]), "leaves": shown + 60, "limited": 90}.get(kind, shown)
            row.append(Ask(f"{client}.{turn}", _user(client, clients), model, kind, shown, cap, text=text, read=read, bound=bound))
        made.append(row)
    return made


def _user(client: int, clients: int) -> str:
    return f"user-{client % max(1, clients // 2)}"


def answering(all_asks: Sequence[Sequence[Ask]]) -> Callable[[Seen], Answer | None]:
    """Return the provider: it answers each ask as that says."""
    known = {ask.id: ask for row in all_asks for ask in row}

    def script(seen: Seen) -> Answer | None:
        ask = known[seen.oracle_id or ""]
        written = ask.shown + ask.hidden
        usage = {"prompt_tokens": ask.read, "completion_tokens": written, "total_tokens": ask.read + written}
        base = {"id": "chatcmpl-x", "created": 1, "model": ask.model}
        if ask.kind == "limited":
            return rate_limited()
        if ask.kind == "whole":
            choice = {"index": 0, "message": {"role": "assistant", "content": " the" * ask.shown}, "finish_reason": "stop"}
            return body({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
        # Slow enough that a loaded machine sees the events apart: what comes all at once cannot be topped up ahead of need.
        pace = len(all_asks) * 0.0001
        then = "hang" if ask.kind == "leaves" else "end"
        return sse(_events({**base, "object": "chat.completion.chunk"}, ask, usage), pace_seconds=pace, then=then)

    return script


def _events(base: Mapping[str, Any], ask: Ask, usage: Mapping[str, int]) -> Iterator[bytes]:
    for _ in range(ask.shown // WORDS):
        delta = {"index": 0, "delta": {"content": " the" * WORDS}, "finish_reason": None}
        yield b"data: " + json.dumps({**base, "choices": [delta], "usage": None}).encode() + b"\n\n"
    if ask.kind == "leaves":
        return
    yield (
        b"data: " + json.dumps({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}).encode() + b"\n\n"
    )
    yield b"data: " + json.dumps({**base, "choices": [], "usage": usage}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def budgets(all_asks: Sequence[Sequence[Ask]], *, share: float, room: bool, **more: Any) -> list[dict[str, Any]]:
    """Return a budget of everything, one of each model and one of each user: `share` of what their calls come to.

    With `room`, there is space for the largest single hold beside.
    """
    cost: dict[tuple[str, str], int] = defaultdict(int)
    most: dict[tuple[str, str], int] = defaultdict(int)
    for ask in (ask for row in all_asks for ask in row):
        for key in (("provider", "openai"), ("model", ask.model), ("user", ask.user)):
            cost[key] += ask.cost
            most[key] = max(most[key], ask.most)
    return [
        {
            "name": name,
            "scope": {field: name},
            "limit": f"{(int(spent * share) + room * most[field, name]) / 1e9:.9f} USD",
            "period": "month",
            "quantum": QUANTUM,
            **more,
        }
        for (field, name), spent in cost.items()
    ]


class Through:
    """The gateway's door."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def ask(self, ask: Ask) -> str:
        """Make a call; return how it went: the status, or what became of it."""
        more = {"x-oracle-id": ask.id, "x-tollwatch-user": ask.user}
        async with await connect(self._gateway) as connection:
            return await _made(connection, ask, target("/v1/chat/completions"), head(more=more))


async def _made(connection: Connection, ask: Ask, path: str, headers: Any) -> str:
    streamed = ask.kind != "whole"
    raw = json.dumps(chat(ask.model, text=ask.text, max_tokens=ask.cap, stream=streamed)).encode()
    if ask.kind == "leaves":
        await connection.send("POST", path, headers=headers, pieces=[raw])
        answer, said = await connection.receive(chunks=1), 0
        while not answer.whole and (said := said + answer.body.count(b" the")) < ask.shown:
            answer = await connection.receive(chunks=1)
        connection.abort()
    else:
        answer = await connection.request("POST", path, headers=headers, pieces=[raw])
        if b"tollwatch_budget" in answer.body and answer.status == 200:
            return "cut"
    return str(answer.status)


class CheckThenRecord:
    """What many gateways do: look whether something is left, send, and write down what it came to."""

    def __init__(self, provider: Provider, store: sqlite3.Connection, limits: Sequence[Mapping[str, Any]]) -> None:
        self._provider, self._store = provider, store
        store.execute("CREATE TABLE budgets (name TEXT PRIMARY KEY, spent INTEGER NOT NULL, most INTEGER NOT NULL)")
        rows = [(each["name"], round(float(each["limit"].split()[0]) * 1e9)) for each in limits]
        store.executemany("INSERT INTO budgets VALUES (?, 0, ?)", rows)

    async def ask(self, ask: Ask) -> str:
        """Make a call straight to the provider, when its budgets are not used up."""
        names = ("openai", ask.model, ask.user)
        ((full,),) = self._store.execute("SELECT count(*) FROM budgets WHERE name IN (?, ?, ?) AND spent >= most", names).fetchall()
        if full:
            return "402"
        async with await Connection.to(self._provider.address) as connection:
            answer = await _made(connection, ask, "/v1/chat/completions", head(more={"x-oracle-id": ask.id}))
        if answer == "200":
            self._store.execute("UPDATE budgets SET spent = spent + ? WHERE name IN (?, ?, ?)", (ask.cost, *names))
        return answer

    @property
    def overdrawn(self) -> int:
        """How many budgets have spent more than they allow."""
        return int(self._store.execute("SELECT count(*) FROM budgets WHERE spent > most").fetchone()[0])


class WorstCase(CheckThenRecord):
    """What careful gateways do: hold the bound of the prompt and the cap, in one step, until the call has ended."""

    async def ask(self, ask: Ask) -> str:
        """Make a call straight to the provider, when all its budgets have room for the worst."""
        names = ("openai", ask.model, ask.user)
        read, written = MODELS[ask.model]
        worst = ask.bound * read + ask.cap * written
        ((full,),) = self._store.execute(
            "SELECT count(*) FROM budgets WHERE name IN (?, ?, ?) AND spent + ? > most", (*names, worst)
        ).fetchall()
        if full:
            return "402"
        self._add(worst, names)
        try:
            async with await Connection.to(self._provider.address) as connection:
                return await _made(connection, ask, "/v1/chat/completions", head(more={"x-oracle-id": ask.id}))
        finally:
            self._add(ask.cost - worst, names)

    def _add(self, amount: int, names: tuple[str, str, str]) -> None:
        self._store.execute("UPDATE budgets SET spent = spent + ? WHERE name IN (?, ?, ?)", (amount, *names))


async def run(all_asks: Sequence[Sequence[Ask]], way: Through | CheckThenRecord) -> list[str]:
    """Let all clients go at once; return how each call went."""

    async def client(row: Sequence[Ask]) -> list[str]:
        return [await way.ask(ask) for ask in row]

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(client(row)) for row in all_asks]
    return [answer for task in running for answer in task.result()]


async def through(place: Path, all_asks: Sequence[Sequence[Ask]], limits: Sequence[Mapping[str, Any]]) -> "Ran":
    """Run it all through a real gateway; return what stands in its store."""
    config = {"budgets": list(limits), "identity": [{"header": "x-tollwatch-user"}]}
    with Provider(place) as provider, ExitStack() as stack:
        gateway = Gateway(place, provider, config=config)
        stack.push(gateway)
        gateway.start(seconds=90)
        provider.script = answering(all_asks)
        answers = await run(all_asks, Through(gateway))
        gateway.wait_settled(sum(map(len, all_asks)), seconds=60)
        return Ran(
            answers=answers,
            reached=len(provider.seen),
            history=gateway.rows("SELECT * FROM budget_history ORDER BY seq"),
            periods=gateway.rows("SELECT * FROM budget_periods"),
            rows=gateway.calls(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a run left behind."""

    answers: list[str]
    reached: int
    history: list[dict[str, Any]]
    periods: list[dict[str, Any]]
    rows: list[dict[str, Any]]

    def holds_what_it_promises(self) -> int:
        """Check every step of every budget; return the overshoot of all of them, in nano-dollars."""
        held: dict[tuple[str, str], int] = defaultdict(int)
        beyond: dict[str, int] = defaultdict(int)
        charged: dict[str, int] = defaultdict(int)
        for step in self.history:
            key = step["call_id"], step["budget_id"]
            if step["event"] in {"hold", "topup"}:
                assert step["spent"] + step["held"] <= step["limit"], step
                held[key] += step["amount"]
                continue
            if step["event"] == "trim":
                held[key] -= step["amount"]
                continue
            assert step["event"] in {"settle", "release", "charge_unknown"}, step
            assert step["overshoot"] == max(0, step["amount"] - held.pop(key)), step
            beyond[step["budget_id"]] += step["overshoot"]
            charged[step["budget_id"]] += step["amount"]
        limits = {step["budget_id"]: step["limit"] for step in self.history}
        assert not held, "each hold was given back once"
        for period in self.periods:
            name = period["budget_id"]
            assert (period["spent"], period["held"], period["overshoot"]) == (charged[name], 0, beyond[name])
            assert period["spent"] <= limits.get(name, 0) + period["overshoot"]
        assert sum(row["overshoot_nano"] or 0 for row in self.rows) == beyond["openai"]
        return sum(beyond.values())


def folder(above: Path, name: str) -> Path:
    """Make a folder for one run."""
    made = above / name
    made.mkdir()
    return made


def told(line: str) -> None:
    """Say a figure to whoever runs this with `-s`."""
    sys.stdout.write(f"\n{line}")


CLIENTS = [pytest.param(40, id="40"), pytest.param(200, id="200", marks=pytest.mark.soak)]


@pytest.mark.parametrize("clients", CLIENTS)
async def test_when_too_much_is_asked_for_no_grant_goes_beyond_a_budget(tmp_path: Path, clients: int) -> None:
    asked = asks(clients, hidden=True)
    limits = budgets(asked, share=0.5, room=False, wait="0.2s")

    ran = await through(folder(tmp_path, "leases"), asked, limits)
    overshoot = ran.holds_what_it_promises()
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as store, Provider(tmp_path) as provider:
        provider.script = answering(asked)
        checking = CheckThenRecord(provider, store, limits)
        await run(asked, checking)

        overdrawn = checking.overdrawn

    refused, cut = ran.answers.count("402"), ran.answers.count("cut")
    told(f"{clients} clients, half of what they need: {refused} refused, {cut} ended, overshoot {overshoot / 1e9:.6f} USD over all budgets")
    told(f"check, then record: {overdrawn} of {len(limits)} budgets overdrawn")
    assert refused > 0
    assert ran.reached == len(ran.answers) - refused
    assert overdrawn > 0, "the baseline holds nothing, so it must fail where all ask at once"


@pytest.mark.parametrize("clients", CLIENTS)
async def test_when_the_true_costs_fit_with_room_for_one_cap_nothing_is_refused_or_ended(tmp_path: Path, clients: int) -> None:
    asked = asks(clients, hidden=False)
    limits = budgets(asked, share=1, room=True, wait="60s")

    ran = await through(folder(tmp_path, "leases"), asked, limits)
    worst = await holding_the_worst(folder(tmp_path, "worst"), asked, limits)

    tell(ran, clients=clients, limits=limits, worst=worst)
    nothing_was_refused_or_ended(ran, asked)
    # What passes while this machine is too busy to top up is overshoot; what holds its cap cannot have any.
    assert all(row["streamed"] for row in ran.rows if row["overshoot_nano"])
    assert any(step["event"] == "topup" for step in ran.history)
    assert worst.count("402") > 0, "the baseline holds all caps at once, which is more than there is"


@pytest.mark.parametrize("clients", CLIENTS)
async def test_when_the_limit_is_the_sum_of_the_true_costs_nothing_is_refused_or_ended(tmp_path: Path, clients: int) -> None:
    asked = exact_asks(clients)
    limits = budgets(asked, share=1, room=False, wait="60s")

    ran = await through(folder(tmp_path, "leases"), asked, limits)
    worst = await holding_the_worst(folder(tmp_path, "worst"), asked, limits)

    tell(ran, clients=clients, limits=limits, worst=worst)
    nothing_was_refused_or_ended(ran, asked)
    assert sum(row["cost_nano"] or 0 for row in ran.rows) == sum(ask.cost for row in asked for ask in row)
    assert any(step["event"] == "trim" for step in ran.history), "else the bounds had room, and nothing was tried"
    assert worst.count("402") > 0, "the baseline holds what prompts cannot have"


async def holding_the_worst(place: Path, asked: Sequence[Sequence[Ask]], limits: Sequence[Mapping[str, Any]]) -> list[str]:
    """Run it all past the gateway; return how each call went."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as store, Provider(place) as provider:
        provider.script = answering(asked)
        return await run(asked, WorstCase(provider, store, limits))


def tell(ran: Ran, *, clients: int, limits: Sequence[object], worst: Sequence[str]) -> None:
    """Say how it went."""
    overshoot, steps = ran.holds_what_it_promises(), Counter(step["event"] for step in ran.history)
    told(f"{clients} clients, all they need: answers {dict(Counter(ran.answers))}; steps {dict(steps)}")
    told(f"overshoot {overshoot / 1e9:.6f} USD over all {len(limits)} budgets; worst cases held alone: {worst.count('402')} refused")


def nothing_was_refused_or_ended(ran: Ran, asked: Sequence[Sequence[Ask]]) -> None:
    """Check that every call got what the provider said to it."""
    kinds = Counter(ask.kind for row in asked for ask in row)
    assert Counter(ran.answers) == {"200": len(ran.answers) - kinds["limited"], "429": kinds["limited"]}
    assert ran.reached == len(ran.answers)
