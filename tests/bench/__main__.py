"""CPU per call of the gateway beside a bare mitmdump, in one interleaved run: `python -m tests.bench [--rounds N] [--quick]`.

Ends with 1 when a ratio is above its target.
"""

import argparse
import asyncio
import contextlib
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import trustme

from tests.bench import bench_alerts, bench_rules, bench_tokens
from tests.bench.measured import Measured, cpu_seconds
from tests.bench.wire import Timing, Wire, flood, paced
from tests.support.gateway import ROOT, Gateway, free_ports

CONNECTIONS = 16
CHUNKS = 1000
MITMDUMP = ("-c", "from mitmproxy.tools.main import mitmdump; mitmdump()", "--listen-host", "127.0.0.1")
"""As a person starts it: it writes a line a call to its log, as the gateway does to its own."""
HEADERS = (
    "host: localhost",
    "content-type: application/json",
    "accept: application/json",
    "accept-encoding: gzip, deflate",
    "authorization: Bearer sk-bench-0123456789abcdef",
    "user-agent: OpenAI/Python 2.54.0",
    "x-stainless-lang: python",
)
CONFIG: dict[str, Any] = {
    "budgets": [
        {"name": "daily", "limit": "100000 USD"},
        {"name": "team", "scope": {"service": "openai"}, "limit": "1000000000000 tokens"},
    ],
    "rules": [
        {"id": "R-1", "title": "No old models", "match": {"model": "gpt-3*"}, "action": "block"},
        {"id": "R-2", "title": "Engineering only", "match": {"model": "o1*", "department": {"not": ["engineering"]}}, "action": "block"},
        {"id": "R-3", "title": "Tell of large prompts", "match": {"min_input_tokens": 150_000}, "action": "alert"},
    ],
    "users": [{"name": "dev@example.com", "department": "engineering"}],
    "detectors": {"rate_limits": [{"per": "minute", "requests": 100_000_000, "tokens": 100_000_000_000}]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of call, and how many of them a round makes; `target` is the most that ours ÷ bare may be."""

    name: str
    calls: int
    bytes: int
    chunks: int = 0
    tls: bool = False
    target: float | None = None

    @property
    def units(self) -> float:
        """What the cost is divided by: calls, or thousands of chunks."""
        return self.calls * self.chunks / 1000 if self.chunks else self.calls


CASES = (
    Case(name="2 KB", calls=600, bytes=2_000, target=0.75),
    Case(name="100 KB", calls=250, bytes=100_000, target=0.85),
    Case(name="1,000 SSE chunks", calls=16, bytes=2_000, chunks=CHUNKS, target=1.05),
    Case(name="2 KB, TLS both sides", calls=400, bytes=2_000, tls=True),
)


@dataclass(slots=True)
class Cost:
    """CPU seconds and units over all rounds of one case in one proxy."""

    seconds: float = 0.0
    units: float = 0.0
    each: list[float] = field(default_factory=list)

    def add(self, *, seconds: float, units: float) -> None:
        """Take in one round."""
        self.seconds, self.units = self.seconds + seconds, self.units + units
        self.each.append(seconds / units)

    @property
    def micros(self) -> float:
        """Microseconds a unit."""
        return self.seconds / self.units * 1e6


def requests(case: Case, calls: int, serial: Iterator[int], *, prefix: str) -> Iterator[bytes]:
    """Return the prepared requests: one system prompt, as an agent has, and text that is never the same."""
    system = {"role": "system", "content": "You are the keeper of a toll bridge. Answer in one sentence."}
    words = "A cart with two oxen and a sleeping driver wants to cross before sunset. "
    for _ in range(calls):
        text = f"{next(serial)} {words * (1 + case.bytes // len(words))}"[: case.bytes - 260]
        payload: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [system, {"role": "user", "content": text}], "max_tokens": 200}
        if case.chunks:
            payload |= {"stream": True, "stream_options": {"include_usage": True}}
        raw = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()  # as httpx and JSON.stringify write it
        lines = [f"POST {prefix}/v1/chat/completions HTTP/1.1", *HEADERS, f"x-chunks: {case.chunks}", f"content-length: {len(raw)}"]
        yield "\r\n".join([*lines, "", ""]).encode() + raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One proxy in the run."""

    name: str
    pid: int
    port: int
    prefix: str = ""
    tls: bool = False


class Bench:
    """One interleaved run."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self._serial = count()
        self._log = stack.enter_context((folder / "rivals.log").open("wb"))
        authority = trustme.CA()
        self._upstream_ca = folder / "upstream-ca.pem"
        authority.cert_pem.write_to_path(self._upstream_ca)
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        leaf.private_key_pem.write_to_path(folder / "key.pem")
        self.plain = self._upstream()
        self.secure = self._upstream(str(folder / "cert.pem"), str(folder / "key.pem"))
        self.costs: defaultdict[tuple[str, str], Cost] = defaultdict(Cost)
        self.rivals = [*self._ours(), *self._bare(), self._lean()]

    def _upstream(self, *certificate: str) -> int:
        line = [sys.executable, "-m", "tests.bench.upstream", *certificate]
        process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._stack.callback(process.wait, 10)
        self._stack.callback(process.terminate)
        assert process.stdout
        return int(process.stdout.readline())

    def _ours(self) -> Iterator[Rival]:
        for tls in (False, True):
            upstream = f"https://localhost:{self.secure}" if tls else f"http://127.0.0.1:{self.plain}"
            proxy = {"upstreams": {"openai": upstream}, "upstream_ca": str(self._upstream_ca)}
            gateway = Gateway(self._folder / f"ours-{tls}", config={**CONFIG, "proxy": proxy}, fresh=True)  # as its users start it
            self._stack.enter_context(gateway)
            assert gateway.process
            if tls:
                self.trust = gateway.trust()
            else:
                self.gateway = gateway
            yield Rival(name="tollwatch", pid=gateway.process.pid, port=int(gateway.base.rpartition(":")[2]), prefix="/openai", tls=tls)

    def _bare(self) -> Iterator[Rival]:
        for tls in (False, True):
            (port,) = free_ports(1)
            mode = f"reverse:https://localhost:{self.secure}" if tls else f"reverse:http://127.0.0.1:{self.plain}"
            line = [*MITMDUMP, "--listen-port", str(port), "--mode", mode, "--set", f"confdir={self._folder / 'mitm'}", "--ssl-insecure"]
            running = self._stack.enter_context(Measured(line, port, log=self._log))
            yield Rival(name="mitmdump", pid=running.pid, port=port, tls=tls)
        (port,) = free_ports(1)
        line = [*MITMDUMP, "--quiet", "--listen-port", str(port), "--mode", f"reverse:http://127.0.0.1:{self.plain}"]
        running = self._stack.enter_context(Measured([*line, "--set", f"confdir={self._folder / 'mitm'}"], port, log=self._log))
        yield Rival(name="mitmdump --quiet", pid=running.pid, port=port)

    def _lean(self) -> Rival:
        (port,) = free_ports(1)
        running = self._stack.enter_context(
            Measured(["-m", "tests.bench.lean", str(port), f"http://127.0.0.1:{self.plain}"], port, log=self._log)
        )
        return Rival(name="lean master", pid=running.pid, port=port)

    def _client_tls(self, rival: Rival) -> ssl.SSLContext | None:
        if not rival.tls:
            return None
        if rival.name == "tollwatch":
            return self.trust
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    async def round(self, *, share: float, counted: bool) -> None:
        """Run every case once in every proxy, in turn; another is the first in each round, since it matters what ran before."""
        self.rivals = [*self.rivals[1:], self.rivals[0]]
        for case in CASES:
            for rival in self.rivals:
                if case.tls == rival.tls:
                    await self._case(case, rival, calls=max(CONNECTIONS, int(case.calls * share)), counted=counted)

    async def _case(self, case: Case, rival: Rival, *, calls: int, counted: bool) -> None:
        wires = [await Wire.to(("127.0.0.1", rival.port), self._client_tls(rival)) for _ in range(CONNECTIONS)]
        await flood(wires, requests(case, CONNECTIONS, self._serial, prefix=rival.prefix))
        before = cpu_seconds(rival.pid)
        await flood(wires, requests(case, calls, self._serial, prefix=rival.prefix))
        spent = cpu_seconds(rival.pid) - before
        for wire in wires:
            wire.close()
        if counted:
            self.costs[case.name, rival.name].add(seconds=spent, units=case.units * calls / case.calls)

    async def latency(self, case: Case, *, seconds: float) -> dict[str, list[Timing]]:
        """Return the timings of calls at 20 a second: straight to the upstream, and through each plain proxy."""
        found: dict[str, list[Timing]] = {}
        doors = [("direct", self.plain, ""), *((rival.name, rival.port, rival.prefix) for rival in self.rivals if not rival.tls)]
        for name, port, prefix in doors:
            wires = [await Wire.to(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
            await flood(wires, requests(case, CONNECTIONS, self._serial, prefix=prefix))
            found[name] = await paced(wires, requests(case, int(20 * seconds), self._serial, prefix=prefix), per_second=20)
            for wire in wires:
                wire.close()
        return found


def report(costs: dict[tuple[str, str], Cost]) -> bool:
    """Print the table; return whether every target is met."""
    print(f"\n{CONNECTIONS} keep-alive connections, each with a call in flight; user + system time of the whole process")
    print(
        f"\n{'CPU':24} {'tollwatch':>12} {'mitmdump':>12} {'lean master':>12} {'÷ mitmdump':>11} {'spread':>13} {'target':>7}"
        f" {'÷ --quiet':>10} {'÷ lean':>7}"
    )
    met = True
    for case in CASES:
        ours, bare = costs[case.name, "tollwatch"], costs[case.name, "mitmdump"]
        quiet, lean = costs.get((case.name, "mitmdump --quiet")), costs.get((case.name, "lean master"))
        ratio = ours.micros / bare.micros
        each = sorted(mine / other for mine, other in zip(ours.each, bare.each, strict=True))
        good = case.target is None or ratio <= case.target
        met = met and good
        print(
            f"{case.name:24} {ours.micros:9.0f} µs {bare.micros:9.0f} µs {lean.micros if lean else float('nan'):9.0f} µs {ratio:11.2f}"
            f" {each[0]:6.2f}-{each[-1]:.2f} {case.target or '-':>7}"
            f" {ours.micros / quiet.micros if quiet else float('nan'):10.2f} {ours.micros / lean.micros if lean else float('nan'):7.2f}"
            f"{'' if good else '  ABOVE TARGET'}"
        )
    return met


def report_latency(unary: dict[str, list[Timing]], stream: dict[str, list[Timing]]) -> None:
    """Print what a call takes longer at 20 calls a second."""
    print("\nat 20 calls/s, 2 KB: added p50 of a call, added p50 to the first chunk of a stream")
    base = statistics.median(timing.total for timing in unary["direct"])
    base_first = statistics.median(timing.first for timing in stream["direct"])
    for name, timings in unary.items():
        total = statistics.median(timing.total for timing in timings) - base
        first = statistics.median(timing.first for timing in stream[name]) - base_first
        print(f"{name:24} {total * 1e3:8.2f} ms {first * 1e3:8.2f} ms")


def check_ledger(gateway: Gateway) -> None:
    """Every call of the run was metered, or the figures mean nothing."""
    rows = gateway.calls()
    wrong = [row for row in rows if row["ending"] != "completed" or not row["cost_nano"] or row["source"] != "provider_reported"]
    print(f"\n{len(rows)} calls in the ledger, {len(wrong)} not metered")
    if wrong or not rows:
        sys.exit(f"the gateway did not do its job: {wrong[:1]}")


async def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls, to see that it runs")
    parser.add_argument("--proxy", action="store_true", help="only the proxy, not tokens, rules and pages of alerts")
    arguments = parser.parse_args()
    share = 0.1 if arguments.quick else 1.0
    with tempfile.TemporaryDirectory(prefix="tollwatch-bench-") as folder, contextlib.ExitStack() as stack:
        bench = Bench(stack, Path(folder))
        await bench.round(share=share / 2, counted=False)
        for number in range(arguments.rounds):
            await bench.round(share=share, counted=True)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        met = report(bench.costs)
        seconds = 1 if arguments.quick else 6
        stream = Case(name="stream", calls=1, bytes=2_000, chunks=10)
        report_latency(await bench.latency(CASES[0], seconds=seconds), await bench.latency(stream, seconds=seconds))
        bench.gateway.wait_settled(1)
        check_ledger(bench.gateway)
    if not arguments.proxy:
        met = await bench_tokens.main() and met
        met = await bench_rules.main() and met
        met = await bench_alerts.main(most=100_000 if arguments.quick else bench_alerts.SIZES[-1]) and met
    print("all targets met" if met else "targets missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
