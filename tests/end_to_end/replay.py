"""Every recorded exchange through a running gateway: usage as reported, bodies byte for byte, all of it in the ledger.

`python -m tests.end_to_end.replay [--sample N] [--seed N]`; it ends with 1 below the bar and with 0 when there are no recordings.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metering.providers.catalog import provider_of_host
from tests.end_to_end.expectation import differences
from tests.support import corpus
from tests.support.answers import Answer
from tests.support.client import Connection
from tests.support.corpus import Exchange
from tests.support.gateway import Gateway
from tests.support.pieces import cut, encode
from tests.support.provider import HOSTS, Provider, Seen

BAR = 0.99
SHARD = 60
AT_ONCE = 8
_NOT_SENT = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "keep-alive", "content-encoding"}
_ENCODINGS = ("gzip", "br", "zstd", "deflate")
_ANSWERS_OWN = {"content-length", "transfer-encoding", "connection", "keep-alive", "content-encoding", "trailer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One exchange on its way through one door; `target` is what the client asks for there."""

    exchange: Exchange
    door: str
    target: str

    @property
    def origin(self) -> str:
        """What a connection is shared by."""
        return f"{self.exchange.url.scheme}://{self.exchange.url.netloc}" if self.door == "forward" else "base"


@dataclass(slots=True)
class Outcome:
    """What became of one passage. `harm` is whatever is wrong but usage."""

    passage: Passage
    call_id: str | None = None
    harm: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)


def passages(chosen: Sequence[Exchange]) -> list[Passage]:
    """Return each exchange by the forward door, and by the base-URL door where a prefix leads to its host."""
    result = []
    for exchange in chosen:
        result.append(Passage(exchange=exchange, door="forward", target=exchange.target))
        known = provider_of_host(exchange.host)
        if known and known.prefix and known.upstream and known.upstream.split("//")[1].split("/")[0] == exchange.host:
            below = known.upstream.split("//")[1].partition("/")[2]
            path = exchange.target.removeprefix(f"/{below}") if below else exchange.target
            result.append(Passage(exchange=exchange, door="base_url", target=f"/{known.prefix.strip('/')}{path}"))
    return result


def wire_encoding(exchange: Exchange, seed: int) -> str | None:
    """Return the content encoding to answer in: the recording's own, and for a tenth of the others another one."""
    if exchange.encoding or not exchange.response_body:
        return exchange.encoding
    chance = random.Random(seed * 7919 + exchange.number)
    return chance.choice(_ENCODINGS) if chance.random() < 0.1 else None


def wire_body(exchange: Exchange, seed: int) -> bytes:
    """Return the answer's bytes as they go over the wire."""
    encoding = wire_encoding(exchange, seed)
    return encode(exchange.response_body, encoding) if encoding else exchange.response_body


class Replay:
    """One run over the chosen exchanges."""

    def __init__(
        self,
        chosen: Sequence[Exchange],
        *,
        seed: int,
        quiet: bool = False,
        config: Mapping[str, Any] | None = None,
        slow_hosts: Collection[str] = (),
    ) -> None:
        """Prepare a run; streams of `slow_hosts` come event by event, so that the gateway sees them grow."""
        self._config = config or {}
        self._slow_hosts = slow_hosts
        self._exchanges = {exchange.number: exchange for exchange in chosen}
        self._passages = passages(chosen)
        self._seed = seed
        self._quiet = quiet
        self._done = 0
        self.outcomes: list[Outcome] = []
        self.seconds = 0.0

    def run(self, folder: Path, *, then: Callable[[Gateway], None] = lambda _gateway: None) -> None:
        """Start provider and gateway, send everything, read the ledger; `then` may ask the gateway more."""
        started = time.monotonic()
        hosts = sorted({exchange.host for exchange in self._exchanges.values()})
        odd = [host for host in hosts if provider_of_host(host) is None]
        with Provider(folder, hosts=[*HOSTS, *hosts]) as provider:
            provider.script = self._answer
            config = {"proxy": {"intercept_hosts": odd}, "metering": {"ask_for_usage": False}, **self._config}
            with Gateway(folder, provider, config=config) as gateway:
                asyncio.run(self._send_all(gateway))
                self._compare({row["id"]: row for row in gateway.wait_settled(len(self._passages), seconds=30)})
                then(gateway)
        self.seconds = time.monotonic() - started

    def _answer(self, seen: Seen) -> Answer | None:
        if not (number := seen.headers.get("x-replay-id")):
            return None
        exchange = self._exchanges[int(number)]
        if seen.body != exchange.request_body or seen.headers.get("authorization") != "Bearer sk-replay":
            return Answer(status=599, chunks=[b"the request was changed on its way"])
        headers = [(name, value) for name, value in exchange.response_headers.items() if name.lower() not in _ANSWERS_OWN]
        if encoding := wire_encoding(exchange, self._seed):
            headers.append(("content-encoding", encoding))
        chance = random.Random(self._seed * 104_729 + exchange.number)
        pieces = cut(wire_body(exchange, self._seed), chance=chance)
        streamed = exchange.streamed or chance.random() < 0.3
        if exchange.streamed and exchange.host in self._slow_hosts:
            pieces = [event + b"\n" for event in wire_body(exchange, self._seed).split(b"\n")]
            pieces[-1] = pieces[-1][:-1]
            return Answer(status=exchange.status, headers=headers, chunks=[*filter(None, pieces)], streamed=True, pace_seconds=0.002)
        return Answer(status=exchange.status, headers=headers, chunks=pieces, streamed=streamed)

    def _shards(self) -> Iterator[list[Passage]]:
        by_origin: defaultdict[str, list[Passage]] = defaultdict(list)
        for passage in self._passages:
            by_origin[passage.origin].append(passage)
        for group in by_origin.values():
            for start in range(0, len(group), SHARD):
                yield group[start : start + SHARD]

    async def _send_all(self, gateway: Gateway) -> None:
        free = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for shard in self._shards():
                tasks.create_task(self._send_shard(gateway, shard, free))

    async def _send_shard(self, gateway: Gateway, shard: Sequence[Passage], free: asyncio.Semaphore) -> None:
        async with free:
            connection: Connection | None = None
            for passage in shard:
                outcome = Outcome(passage)
                self.outcomes.append(outcome)
                try:
                    connection = connection or await self._connect(gateway, passage)
                    await self._send(connection, outcome)
                except (OSError, asyncio.IncompleteReadError) as error:
                    outcome.harm.append(f"no answer: {error!r}")
                if connection is not None and not connection.reusable:
                    connection.abort()
                    connection = None
                self._progress()
            if connection is not None:
                connection.abort()

    async def _connect(self, gateway: Gateway, passage: Passage) -> Connection:
        if passage.door == "base_url":
            return await Connection.to(gateway.base)
        return await Connection.through(gateway.forward, passage.origin, trust=gateway.trust())

    async def _send(self, connection: Connection, outcome: Outcome) -> None:
        exchange, door = outcome.passage.exchange, outcome.passage.door
        headers = [(name, value) for name, value in exchange.request_headers.items() if name.lower() not in _NOT_SENT]
        headers += [("host", exchange.url.netloc if door == "forward" else "127.0.0.1"), ("accept-encoding", "gzip, deflate, br, zstd")]
        headers += [("authorization", "Bearer sk-replay"), ("x-replay-id", str(exchange.number))]
        chance = random.Random(self._seed + exchange.number)
        pieces = cut(exchange.request_body, chance=chance)
        answer = await connection.request(exchange.method, outcome.passage.target, headers=headers, pieces=pieces)
        outcome.call_id = answer.call_id
        if answer.status != exchange.status:
            outcome.harm.append(f"status {answer.status}, recorded {exchange.status}: {answer.body[:200]!r}")
        elif answer.body != wire_body(exchange, self._seed):
            outcome.harm.append(f"the body differs: {len(answer.body)} bytes, sent {len(wire_body(exchange, self._seed))}")
        if not answer.whole:
            outcome.harm.append("the answer did not end")
        for name in ("content-type", "content-encoding"):
            wanted = exchange.response_headers.get(name) if name == "content-type" else wire_encoding(exchange, self._seed)
            if answer.headers.get(name) != wanted and answer.status == exchange.status:
                outcome.harm.append(f"{name} {answer.headers.get(name)!r}, sent {wanted!r}")

    def _progress(self) -> None:
        self._done += 1
        if not self._quiet and (self._done % 500 == 0 or self._done == len(self._passages)):
            print(f"{self._done} of {len(self._passages)} passages", file=sys.stderr, flush=True)

    def _compare(self, ledger: Mapping[str, Mapping[str, Any]]) -> None:
        for outcome in self.outcomes:
            exchange = outcome.passage.exchange
            row = ledger.get(outcome.call_id or "")
            if row is None:
                outcome.harm.append(f"not in the ledger (x-tollwatch-call: {outcome.call_id})")
                continue
            if row["ending"] != "completed" or row["status"] != exchange.status or row["door"] != outcome.passage.door:
                outcome.harm.append(f"ledger says {row['ending']} {row['status']} {row['door']}")
            if exchange.metered:
                outcome.misses.extend(differences(exchange, row))

    @property
    def counted(self) -> list[Outcome]:
        """The passages whose usage must be right."""
        return [outcome for outcome in self.outcomes if outcome.passage.exchange.metered]

    @property
    def share(self) -> float:
        """How many of them are right."""
        right = sum(1 for outcome in self.counted if not outcome.misses)
        return right / len(self.counted) if self.counted else 1.0

    @property
    def harmed(self) -> list[Outcome]:
        """The passages that did not come through whole."""
        return [outcome for outcome in self.outcomes if outcome.harm]

    @property
    def passed(self) -> bool:
        """Whether the run is above the bar."""
        return self.share >= BAR and not self.harmed

    def report(self) -> Iterator[str]:
        """Return the table, the misses by cause and the verdict, line by line."""
        table: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for outcome in self.outcomes:
            counts = table[outcome.passage.exchange.name, outcome.passage.door]
            counts["sent"] += 1
            counts["counted"] += outcome.passage.exchange.metered
            counts["right"] += outcome.passage.exchange.metered and not outcome.misses
            counts["harmed"] += bool(outcome.harm)
        yield f"{'format':44} {'door':9} {'sent':>6} {'usage right':>13} {'harmed':>7}"
        for (name, door), counts in sorted(table.items()):
            right = f"{counts['right']}/{counts['counted']}" if counts["counted"] else "-"
            yield f"{name:44} {door:9} {counts['sent']:6} {right:>13} {counts['harmed']:7}"
        causes = Counter(f"{outcome.passage.exchange.name}: {miss}" for outcome in self.outcomes for miss in outcome.misses)
        causes.update(f"{outcome.passage.exchange.name}: HARM {harm}" for outcome in self.outcomes for harm in outcome.harm)
        yield from (f"  {count} of {cause}" for cause, count in causes.most_common(60))
        yield (
            f"{len(self.outcomes)} passages in {self.seconds:.0f} s: usage right in {self.share:.2%} of {len(self.counted)}"
            f" (bar {BAR:.0%}), {len(self.harmed)} harmed: {'passed' if self.passed else 'FAILED'}"
        )


def choose(sample: int | None, *, seed: int) -> list[Exchange]:
    """Return all recordings, or a seeded sample that has every format at least once."""
    everything = list(corpus.exchanges())
    if sample is None:
        return everything
    chance = random.Random(seed)
    chance.shuffle(everything)
    by_name: dict[tuple[str, bool], Exchange] = {}
    for exchange in everything:
        by_name.setdefault((exchange.name, exchange.streamed), exchange)
    chosen = list(by_name.values())
    numbers = {exchange.number for exchange in chosen}
    return (chosen + [exchange for exchange in everything if exchange.number not in numbers])[:sample]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="so many exchanges instead of all")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not corpus.CORPUS.is_dir():
        print(corpus.MISSING)
        return 0
    replay = Replay(choose(arguments.sample, seed=arguments.seed), seed=arguments.seed)
    with tempfile.TemporaryDirectory(prefix="tollwatch-replay-") as folder:
        replay.run(Path(folder))
    print("\n".join(replay.report()))
    return 0 if replay.passed else 1


if __name__ == "__main__":
    sys.exit(main())
