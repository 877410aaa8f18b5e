"""What a page of alerts costs with 1,000, 100,000 and 1,000,000 stored: `python -m tests.bench.bench_alerts [--most N]`.

Each size has a gateway of its own, asked in turns over HTTP. Pages by keyset must cost at most twice as much with a million alerts as
with a thousand; pages by offset, which two contracts ask for, are shown without a target. Ends with 1 when a ratio is above its target.
"""

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from api.paging import cursor_after, filters_hash
from storage.ids import uuid7
from storage.opening import open_for_writing
from storage.times import to_micros
from tests.support.gateway import Gateway

SIZES = (1_000, 100_000, 1_000_000)
TARGET = 2.0
WARM, ROUNDS = 20, 150
ORG = "a1b2c3d4-0000-0000-0000-000000000000"
CONFIG: dict[str, Any] = {
    "organization": {"id": ORG},
    "api": {"requests_per_minute": 1_000_000},
    "alerting": {"expire_after": "3650d", "retention_days": 3650},
}
KINDS = ("policy_violation",) * 5 + ("prompt_size", "rate_limit_hit", "unpriced_model", "rule_dormant", "budget_warning")
COLUMNS = (
    "seq, id, org_id, kind, severity, title, message, fingerprint, subject, action, evidence, metadata, occurrence_count, first_seen_at, "
    "last_seen_at, created_at, updated_at, acknowledged_at, resolved_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One question. `deep` names the share of all alerts that lie before the page; `keyset` ones have a target."""

    name: str
    path: str
    keyset: bool = True
    severity: str | None = None
    status: str | None = None
    deep: bool = False

    def asked(self, store: "Store") -> str:
        """Return the path and query for a store of this size."""
        if "{offset}" in self.path:
            return self.path.format(offset=store.size // 4)
        if "{since}" in self.path:
            return self.path.format(since=store.since)
        query = [f"{name}={value}" for name, value in (("severity", self.severity), ("status", self.status)) if value]
        if self.deep:
            query.append(f"cursor={cursor_after(store.middle, filters=filters_hash('org', self.severity, self.status))}")
        return "&".join([self.path, *query])


PAGES = (
    *(
        Page(
            name=f"org {severity or ''} {status or ''} {'deep' if deep else 'first'}",
            path=path,
            severity=severity,
            status=status,
            deep=deep,
        )
        for severity, status, path in (
            (None, None, "/v1/alerts?limit=10"),
            ("high", None, "/v1/alerts?limit=10"),
            (None, "open", "/v1/alerts?limit=10"),
            (None, "resolved", "/v1/alerts?limit=10"),
            ("high", "acknowledged", "/v1/alerts?limit=1"),
            ("critical", None, "/v1/alerts?limit=1"),
            ("critical", "open", "/v1/alerts?limit=1"),
        )
        for deep in (False, True)
    ),
    Page(name="entries, the newest", path="/api/v1/alerts/entries?since={since}"),
    Page(name="local first", path="/api/alerts?limit=10"),
    Page(name="local of a type", path="/api/alerts?limit=10&type=high_severity_denied_action"),
    Page(name="local dismissed", path="/api/alerts?limit=10&dismissed=true"),
    Page(name="local not dismissed", path="/api/alerts?limit=10&dismissed=false"),
    Page(name="local deep (skip)", path="/api/alerts?limit=10&skip={offset}", keyset=False),
    Page(name="rules first", path="/api/v1/alerts?limit=10"),
    Page(name="rules active", path="/api/v1/alerts?limit=10&status=active&alert_type=dormant_rule"),
    Page(name="rules deep (offset)", path="/api/v1/alerts?limit=10&offset={offset}", keyset=False),
)


@dataclass(slots=True)
class Store:
    """A gateway over so many alerts, and what it took to ask it."""

    size: int
    gateway: Gateway
    middle: str
    """The id of the alert that a deep page begins after."""
    since: str
    """So that some ten entries are newer."""
    took: dict[str, list[float]] = field(default_factory=dict[str, list[float]])


def rows(size: int, now: datetime) -> Iterator[tuple[Any, ...]]:
    """Yield alerts of the last weeks: four fifths resolved, one in a thousand critical, the newest three tenths in the rules feed alone."""
    chosen, begin = random.Random(1), now - timedelta(days=20)
    subject = json.dumps({"service": "openai", "user": "jane.smith@acme.com", "rule_id": "SEC-003", "model": "gpt-4"})
    evidence, step = json.dumps([{"provider": "openai", "token_count": 4200}]), timedelta(days=20) / size
    message = "User jane.smith@acme.com used gpt-4 (model restricted to Engineering department)."
    for seq in range(1, size + 1):
        at = begin + step * seq
        moment, state = to_micros(at), chosen.random()
        kind = "rule_dormant" if seq > size * 0.7 else chosen.choice(KINDS)
        (severity,) = chosen.choices(("low", "medium", "high", "critical"), (20, 50, 29.9, 0.1))
        action = "blocked" if chosen.random() < 0.1 else "alerted"
        acknowledged, resolved = (moment if 0.8 <= state < 0.9 else None), (moment if state < 0.8 else None)
        yield (
            seq, str(uuid7(at)), ORG, kind, severity, "GPT-4 usage by non-engineering user", message, f"{seq:064x}", subject, action,
            evidence, "{}", 1, moment, moment, moment, moment, acknowledged, resolved,
        )  # fmt: skip


def fill(gateway: Gateway, size: int) -> tuple[str, str]:
    """Write the alerts, and an entry for each; return an id in the middle, and when the entry before the last ten was made."""
    gateway.data_dir.mkdir(mode=0o700, parents=True)
    connection = open_for_writing(gateway.database, durability="normal")
    with contextlib.closing(connection):
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO alerts ({COLUMNS}) VALUES ({', '.join('?' * 19)})",  # noqa: S608 - a constant
            rows(size, datetime.now(UTC)),
        )
        connection.execute(
            "INSERT INTO entries (id, config_id, place, title, created_at, updated_at, first_event_at, last_event_at, event_count)"
            " SELECT id, 'security', 'openai/-/chat', 't', created_at + seq, created_at, created_at, created_at, 1 FROM alerts"
        )
        connection.execute("COMMIT")
        (middle,) = connection.execute("SELECT id FROM alerts WHERE seq = ?", (size // 2,)).fetchone()
        (since,) = connection.execute("SELECT created_at FROM entries ORDER BY created_at DESC LIMIT 1 OFFSET 10").fetchone()
    moment = datetime.fromtimestamp(since / 1e6, UTC).isoformat().replace("+00:00", "Z")
    return str(middle), moment


async def ask(client: aiohttp.ClientSession, store: Store, page: Page, headers: dict[str, str]) -> float:
    """Ask one page and return the seconds that it took."""
    begun = time.perf_counter()
    async with client.get(f"http://{store.gateway.api}{page.asked(store)}", headers=headers) as answer:
        raw = await answer.read()
    took = time.perf_counter() - begun
    if answer.status != 200:
        sys.exit(f"{page.asked(store)} answered {answer.status}: {raw[:300]!r}")
    return took


async def measure(stores: list[Store], rounds: int) -> None:
    """Ask all stores for all pages in turns."""
    async with aiohttp.ClientSession() as client:
        headers = {store.size: {"Authorization": f"Bearer {store.gateway.token()}"} for store in stores}
        for number in range(WARM + rounds):
            for page in PAGES:
                for store in stores:
                    took = await ask(client, store, page, headers[store.size])
                    if number >= WARM:
                        store.took.setdefault(page.name, []).append(took)


def report(stores: list[Store]) -> bool:
    """Print the table; return whether every target is met."""
    met = True
    print(f"\npages of alerts over HTTP, milliseconds p50 / p99; target by keyset: p50 at most {TARGET:g} times that of {stores[0].size:,}")
    print(f"{'page':34}" + "".join(f"{store.size:>18,}" for store in stores) + f"{'ratio':>8}")
    for page in PAGES:
        middles = [statistics.median(store.took[page.name]) for store in stores]
        ends = [statistics.quantiles(store.took[page.name], n=100)[98] for store in stores]
        ratio = middles[-1] / middles[0]
        good = not page.keyset or ratio <= TARGET
        met = met and good
        cells = "".join(f"{middle * 1e3:10.2f} /{end * 1e3:6.1f}" for middle, end in zip(middles, ends, strict=True))
        print(f"{page.name:34}{cells}{ratio:8.2f}{'' if good else '  ABOVE TARGET'}{'' if page.keyset else '  (by offset)'}")
    return met


async def main(most: int = SIZES[-1], rounds: int = ROUNDS) -> bool:
    """Fill the stores, ask them and print the table; return whether every target is met."""
    with tempfile.TemporaryDirectory(prefix="tollwatch-bench-") as folder, contextlib.ExitStack() as stack:
        stores: list[Store] = []
        for size in (size for size in SIZES if size <= most):
            gateway = Gateway(Path(folder) / str(size), config=CONFIG)
            middle, since = fill(gateway, size)
            stack.enter_context(gateway)
            stores.append(Store(size, gateway, middle, since))
        await measure(stores, rounds)
        return report(stores)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(main(arguments.most, arguments.rounds)) else 1)
