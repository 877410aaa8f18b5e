"""Who fails too often to prove who they are is told once, whatever the proof, until they are quiet."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from alerting.alert import Alert
from alerting.book import AlertBook
from alerting.finding import AlertKind, Severity, Taken
from api.abuse import Abuse
from api.access import Access, WrongClientError, WrongPasswordError
from api.passwords import SetupCodeError
from api.throttle import TooManyFailuresError

type Failing = Callable[[Access, str], Awaitable[object]]


def password(access: Access, source: str) -> Awaitable[object]:
    return access.log_in(password="wrong", source=source)


def setup_code(access: Access, source: str) -> Awaitable[object]:
    return access.set_up(password="correct horse", confirm="correct horse", code="wrong", source=source)


def client_secret(access: Access, source: str) -> Awaitable[object]:
    return access.grant(client_id="x", secret="tw_wrong", scopes=None, source=source)


async def fail(access: Access, failing: Failing, times: int, source: str = "10.0.0.9") -> None:
    for _ in range(times):
        with suppress(WrongPasswordError, WrongClientError, SetupCodeError, TooManyFailuresError):
            await failing(access, source)


async def told(book: AlertBook) -> list[Alert]:
    await book.drain()
    return list(await book.list(kinds=[AlertKind.LOGIN_ABUSE]))


@pytest.mark.parametrize("failing", [password, setup_code, client_secret])
async def test_an_address_that_has_to_wait_is_told(access: Access, book: AlertBook, failing: Failing) -> None:
    await fail(access, failing, 5)
    assert await told(book) == []

    await fail(access, failing, 200)

    (alert,) = await told(book)
    proof = failing.__name__.replace("_", " ")
    assert (alert.severity, alert.action, alert.occurrence_count) == (Severity.HIGH, Taken.THROTTLED, 1)
    assert alert.evidence == ({"source": "10.0.0.9", "proof": proof, "failures": 5},)
    assert alert.message == f"5 or more attempts with a wrong {proof} came from 10.0.0.9 in a short time. Further attempts wait."


async def test_one_alert_for_all_proofs_of_an_address_and_one_for_each_address(access: Access, book: AlertBook) -> None:
    await fail(access, password, 6)
    await fail(access, client_secret, 6)
    await fail(access, password, 6, source="10.0.0.10")

    assert [(alert.evidence[0]["source"], alert.occurrence_count) for alert in await told(book)] == [("10.0.0.10", 1), ("10.0.0.9", 2)]


async def test_failures_of_many_addresses_are_one_alert(access: Access, book: AlertBook) -> None:
    for number in range(60):
        await fail(access, password, 1, source=f"10.0.1.{number}")

    (alert,) = await told(book)
    assert alert.evidence == ({"source": "all addresses", "proof": "password", "failures": 50},)


async def test_it_ends_after_a_quiet_day(access: Access, book: AlertBook, clock: Any) -> None:
    await fail(access, password, 6)
    await told(book)
    clock.advance(hours=23, minutes=59)
    assert await book.expire(clock()) == 0
    clock.advance(minutes=1)
    assert await book.expire(clock()) == 1

    await fail(access, password, 6)

    assert [alert.resolution for alert in await told(book)] == [None, "expired"]


async def test_ten_thousand_unknown_tokens_are_one_alert_that_grows_once_a_minute(access: Access, book: AlertBook, clock: Any) -> None:
    for _ in range(29):
        access.abuse.unknown_token("10.0.0.9")
    assert await told(book) == []
    for _ in range(10_000):
        clock.advance(milliseconds=12)
        access.abuse.unknown_token("10.0.0.9")

    (alert,) = await told(book)
    assert alert.occurrence_count == 2
    assert alert.action is Taken.ALERTED
    assert alert.evidence == ({"source": "10.0.0.9", "proof": "bearer token", "failures": 30},)


async def test_a_program_with_an_old_token_that_asks_now_and_then_is_no_abuse(access: Access, book: AlertBook, clock: Any) -> None:
    for _ in range(300):
        clock.advance(seconds=3)
        access.abuse.unknown_token("10.0.0.9")

    assert await told(book) == []


async def test_unknown_tokens_over_http_are_counted_by_address(gateway: Any, book: AlertBook) -> None:
    answers = [await gateway.ask("GET", "/api/alerts", token="tw_unknown") for _ in range(31)]

    assert {answer.status for answer in answers} == {401}
    (alert,) = await told(book)
    assert alert.evidence[0]["source"] == "127.0.0.1"


def test_many_addresses_do_not_fill_the_memory(clock: Any) -> None:
    findings: list[object] = []
    abuse = Abuse(clock, findings.extend)

    for number in range(3_000):
        abuse.unknown_token(f"fd00::{number:x}")
        abuse.throttled(f"fd00::{number:x}", "password", failures=5)

    assert len(findings) == 3_000
    assert len(abuse._unknown) == len(abuse._told) == 1_000  # noqa: SLF001  # what it remembers
