"""A fault at each step of a call's way, of each kind: in closed mode nothing is sent, whatever fails; the modes, cell by cell."""

import asyncio
import sqlite3
from typing import Any

import orjson
import pytest

from alerting.finding import Action
from alerting.rule_settings import RuleSettings
from alerting.settings import DetectorSettings, RateLimitSettings
from metering.settings import BudgetSettings
from storage.database import StoreError
from tests.support import answers

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})


class PanicError(BaseException):
    """What a native module raises when it panics: no Exception."""


KINDS = (
    ValueError,
    RecursionError,
    MemoryError,
    asyncio.CancelledError,
    KeyboardInterrupt,
    PanicError,
    sqlite3.OperationalError,
    sqlite3.DatabaseError,
    StoreError,
)
POINTS = {
    "reading the headers": "proxy.flows.read_headers",
    "finding the route": "proxy.canonical.route_of",
    "the meaning of the request": "proxy.canonical.canonicalise",
    "who calls": "proxy.identity.Identity.caller",
    "making the call": "proxy.calls.Calls.call",
    "the rules": "alerting.policy.Policy.decide",
    "the sizes": "alerting.detectors.prompt_size.PromptSize.check",
    "the rates": "alerting.detectors.rate_limit.RateLimits.take",
    "the price": "metering.meter.Meter.quote",
    "the intent": "metering.ledger.Ledger.admit",
    "the connection": "proxy.dialing.Dialing.connect",
}


def failing(kind: type[BaseException]) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise kind("forced by a test")

    return fail


@pytest.mark.parametrize("point", POINTS)
async def test_a_fault_of_any_kind_at_any_point_sends_nothing(open_house: Any, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    limit = RateLimitSettings(per="minute", requests=1_000)  # without one nothing is asked of the rates
    house = await open_house(detectors=DetectorSettings(rate_limits=(limit,)))
    for kind in KINDS:
        with monkeypatch.context() as patch:
            patch.setattr(POINTS[point], failing(kind))
            response = await house.post(CHAT)

        assert (kind, response.status in {502, 503}) == (kind, True)
        assert orjson.loads(response.body)["error"]["message"]
        assert house.provider.seen == []
    assert (await house.post(CHAT)).status == 200


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
@pytest.mark.parametrize(("on_error", "status", "sent"), [("closed", 503, 0), ("open", 200, 1)])
async def test_a_fault_in_a_hook_goes_by_on_error(
    open_house: Any, monkeypatch: pytest.MonkeyPatch, mode: str, on_error: str, status: int, sent: int
) -> None:
    house = await open_house(mode=mode, proxy={"on_error": on_error})
    monkeypatch.setattr("proxy.canonical.canonicalise", failing(ValueError))

    response = await house.post(CHAT)

    assert (response.status, len(house.provider.seen)) == (status, sent)
    assert house.counted("tollwatch_hook_failures_total", hook="request") == 1


@pytest.mark.parametrize(("mode", "passes"), [("enforce", False), ("monitor", True)])
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"model":"gpt-4o-mini","model":"gpt-4","messages":[]}', {}, 400),
        (b"{", {}, 400),
        (CHAT, {"content_encoding": "rot13"}, 415),
    ],
)
async def test_what_cannot_be_decided_is_refused_in_enforce_mode(  # a table
    open_house: Any,
    mode: str,
    passes: bool,  # noqa: FBT001  # a case
    body: bytes,
    headers: dict[str, str],
    status: int,  # a case
) -> None:
    house = await open_house(mode=mode)
    house.provider.script = lambda _: answers.chat(orjson.loads(CHAT))  # what it makes of it is its own affair

    response = await house.post(body, **headers)

    assert (response.status == status, bool(house.provider.seen)) == (not passes, passes)


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
async def test_what_is_too_large_is_refused_in_both_modes(open_house: Any, mode: str) -> None:
    house = await open_house(mode=mode, proxy={"body_limits": {"json": "1 KiB"}})

    response = await house.post(CHAT + b" " * 2048)

    assert (response.status, house.provider.seen) == (413, [])


@pytest.mark.parametrize(
    ("mode", "on_error", "status", "sent"),
    [("enforce", "closed", 503, 0), ("enforce", "open", 200, 1), ("monitor", "closed", 503, 0), ("monitor", "open", 200, 1)],
)
async def test_a_ledger_that_cannot_be_written_lets_nothing_pass_unless_errors_are_let_pass(  # a table
    open_house: Any, monkeypatch: pytest.MonkeyPatch, mode: str, on_error: str, status: int, sent: int
) -> None:
    house = await open_house(mode=mode, proxy={"on_error": on_error})
    monkeypatch.setattr("metering.ledger.Ledger.admit", failing(StoreError))

    response = await house.post(CHAT)

    assert (response.status, len(house.provider.seen)) == (status, sent)


@pytest.mark.parametrize(("on_error", "status", "sent"), [("closed", 503, 0), ("open", 200, 1)])
async def test_a_block_that_cannot_be_recorded_goes_by_on_error(
    open_house: Any, monkeypatch: pytest.MonkeyPatch, on_error: str, status: int, sent: int
) -> None:
    rule = RuleSettings.model_validate({"id": "R1", "title": "None", "match": {"model": "*"}, "action": "block"})
    house = await open_house(rules=[rule], proxy={"on_error": on_error})
    monkeypatch.setattr("metering.ledger.Ledger.refuse", failing(StoreError))

    response = await house.post(CHAT)

    assert (response.status, len(house.provider.seen)) == (status, sent)


async def test_a_model_without_a_price_passes_and_is_told(open_house: Any) -> None:
    house = await open_house(
        budgets=[BudgetSettings.model_validate({"name": "day", "limit": "50 USD"})],
    )
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body))

    response = await house.post(orjson.dumps({"model": "nobody-prices-this", "messages": [{"role": "user", "content": "a"}]}))

    assert response.status == 200
    row = await house.row(ending="completed")
    assert (row.source, row.verdict) == ("unpriced", Action.ALLOW.value)
