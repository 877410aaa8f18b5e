"""The matrix of faults and modes, cell by cell: what has its test nowhere else.

- an exception in a hook, a request without one meaning, a ledger that cannot be written: `tests/proxy/test_fault_points.py`, in each hook
  and at both doors `tests/chaos/test_hook_faults.py`;
- a canary that is not recorded, a port in use: `tests/tollwatch/test_app.py`;
- here: an unknown price, a tokenizer that fails, alerts that cannot be written, an API that is down, a canary that is not held.
"""

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.asking import ask, chat
from tests.support.faulty import VARIABLE as HOOK_FAULT
from tests.support.gateway import Gateway, listens, poll
from tests.support.part_faults import VARIABLE as PART_FAULTS
from tests.support.provider import Provider

MODES = ("enforce", "monitor")
DOORS = ("forward", "base_url")
UNKNOWN = "nobody-prices-this"
RULES = [
    {"id": "TELL-1", "title": "Tell of this", "match": {"model": "told-forward"}, "action": "alert"},
    {"id": "TELL-2", "title": "Tell of this", "match": {"model": "told-base_url"}, "action": "alert"},
    {"id": "STOP", "title": "Not these", "match": {"model": "stopped-*"}, "action": "block"},
]
BUDGETS = [{"name": "day", "limit": "500 USD"}, {"name": "words", "limit": "9000000 tokens"}]
TEXT = "tell me of the toll"
BOUNDED = len(TEXT)
"""The tokens of a text are not more than its bytes."""


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "faults"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Provider, mode: str, faults: Path) -> Iterator[Gateway]:
    config = {"mode": mode, "rules": RULES, "budgets": BUDGETS}
    runner, env = ("-m", "tests.support.part_faults"), {PART_FAULTS: str(faults)}
    with Gateway(tmp_path_factory.mktemp("gateway"), provider, config=config, runner=runner, env=env) as gateway:
        yield gateway
        assert gateway.stop() == 0


@pytest.fixture
def broken_tokenizer(faults: Path) -> Iterator[None]:
    faults.write_text("tokenizer")
    yield
    faults.write_text("")


@contextlib.contextmanager
def no_alerts(gateway: Gateway) -> Iterator[None]:
    """Take the table of alerts away from under the running gateway."""
    with contextlib.closing(sqlite3.connect(gateway.database, timeout=10)) as store:
        store.execute("ALTER TABLE alerts RENAME TO alerts_away")
        try:
            yield
        finally:
            store.execute("ALTER TABLE alerts_away RENAME TO alerts")


def bound(gateway: Gateway, model: str) -> tuple[int, int]:
    """Return the tokens and nano-dollars that the only call for a model was reckoned to need at most; in enforce mode they were held."""
    [call] = [row for row in gateway.calls() if row["request_model"] == model]
    reckoned = call["hold_tokens"], call["hold_nano"]
    if gateway.config["mode"] == "enforce":
        held = gateway.rows("SELECT budget_id, amount FROM budget_history WHERE call_id = ? AND event = 'hold'", (call["id"],))
        assert {row["budget_id"]: row["amount"] for row in held} == {"words": reckoned[0], "day": reckoned[1]}
    return reckoned


def told(gateway: Gateway, kind: str, model: str) -> bool:
    """Wait for an alert about a model; it is read from the store, since the API may be down."""

    def found() -> bool:
        return any(model in row["message"] for row in gateway.rows("SELECT message FROM alerts WHERE kind = ?", (kind,)))

    return bool(poll(found, what=f"an alert {kind} of {model}"))


async def test_a_model_without_a_price_passes_is_held_at_a_bound_and_told(gateway: Gateway, provider: Provider) -> None:
    answer = await ask(gateway, chat(UNKNOWN, text=TEXT, max_tokens=50))

    assert (answer.status, len(provider.seen)) == (200, 1)
    tokens, nano = bound(gateway, UNKNOWN)
    assert tokens >= BOUNDED + 50
    assert nano > 50 * 30_000  # nano-dollars: dearer than 30 USD a million tokens, whatever it will cost
    assert told(gateway, "unpriced_model", UNKNOWN)


@pytest.mark.usefixtures("broken_tokenizer")
@pytest.mark.parametrize("door", DOORS)
async def test_a_tokenizer_that_fails_stops_no_call_and_its_text_counts_as_its_bytes(
    gateway: Gateway, provider: Provider, door: str
) -> None:
    model = {"forward": "gpt-4.1", "base_url": "gpt-4.1-mini"}[door]

    answer = await ask(gateway, chat(model, text=TEXT, max_tokens=50), door=door)

    assert (answer.status, len(provider.seen)) == (200, 1)
    assert bound(gateway, model)[0] >= BOUNDED + 50
    [row] = [row for row in gateway.wait_settled(1) if row["request_model"] == model]
    assert row["estimated_input_tokens"] >= BOUNDED
    assert (row["source"], row["input_tokens"]) == ("provider_reported", 11)
    assert "tokenizer_failed" in gateway.log()
    assert TEXT not in gateway.log()


@pytest.mark.parametrize("door", DOORS)
async def test_alerts_that_cannot_be_written_stop_no_call_and_are_told_later(gateway: Gateway, provider: Provider, door: str) -> None:
    model = f"told-{door}"
    with no_alerts(gateway):
        answer = await ask(gateway, chat(model), door=door)
        plain = await ask(gateway, chat(), door=door)

        assert (answer.status, plain.status, len(provider.seen)) == (200, 200, 2)
        assert [row["ending"] for row in gateway.wait_settled(2) if row["request_model"] == model] == ["completed"]

    assert told(gateway, "policy_violation", model)


async def test_a_block_whose_alert_cannot_be_written_is_still_not_sent(gateway: Gateway, provider: Provider, mode: str) -> None:
    with no_alerts(gateway):
        answer = await ask(gateway, chat("stopped-1"))

    assert (answer.status, len(provider.seen)) == ((503, 0) if mode == "enforce" else (200, 1))
    assert (await ask(gateway, chat("stopped-1"))).status == (403 if mode == "enforce" else 200)


async def test_an_api_that_is_down_stops_no_call(gateway: Gateway, provider: Provider) -> None:
    """The API does not come back: the other tests do without it."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGUSR1)
    poll(lambda: not listens(gateway.api), what="the end of the API")
    before = len(gateway.calls())

    for door in DOORS:
        assert (await ask(gateway, chat(), door=door)).status == 200

    assert len(provider.seen) == len(DOORS)
    assert len(gateway.wait_settled(before + 2)) == before + 2


@pytest.mark.parametrize(("how", "on_error"), [("enforce", "open"), ("monitor", "closed")])
def test_a_canary_that_is_not_held_ends_the_start_and_nothing_listens(tmp_path: Path, how: str, on_error: str) -> None:
    fault = tmp_path / "fault"
    fault.write_text("request ValueError")
    runner, env = ("-m", "tests.support.faulty"), {HOOK_FAULT: str(fault)}
    gateway = Gateway(tmp_path, config={"mode": how, "proxy": {"on_error": on_error}}, runner=runner, env=env)

    code = gateway.start(ready=False).ended(seconds=30)

    assert code == 3
    assert "canary" in gateway.log()
    assert "is ready" not in gateway.log()
    assert [address for address in (gateway.forward, gateway.base, gateway.api) if listens(address)] == []
