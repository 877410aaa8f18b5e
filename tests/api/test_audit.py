"""The audit trail over HTTP: pages, filters, and who may read it."""

from typing import Any

import pytest

from api.scopes import Scope


@pytest.fixture
async def admin(gateway: Any) -> str:
    """Return a token; making it and three more leaves four entries."""
    for number in range(3):
        gateway.clock.advance(minutes=1)
        await gateway.token(Scope.ALERTS_READ, name=f"t{number}")
    gateway.clock.advance(minutes=1)
    return await gateway.token(Scope.ADMIN, name="auditor")


async def listed(gateway: Any, token: str, query: str = "") -> Any:
    return (await gateway.ask("GET", f"/api/audit{query}", token=token)).body


async def test_the_trail_is_read_page_by_page_to_its_end(gateway: Any, admin: str) -> None:
    first = await listed(gateway, admin, "?limit=3")
    second = await listed(gateway, admin, f"?limit=3&after={first['next_after']}")

    assert [entry["subject"] for entry in first["entries"]] == ["t0", "t1", "t2"]
    assert first["entries"][0] == {
        "id": 1,
        "at": "2025-01-15T10:31:00Z",
        "actor": "test",
        "action": "token.created",
        "subject": "t0",
        "detail": "scopes alerts:read; expires never",
    }
    assert ([entry["subject"] for entry in second["entries"]], second["next_after"]) == (["auditor"], None)
    assert await listed(gateway, admin, "?after=4") == {"entries": [], "next_after": None}


async def test_what_was_done_through_the_api_is_in_it_with_the_token_s_name(gateway: Any, admin: str) -> None:
    await gateway.ask("PUT", "/api/alerts/config", token=admin, json={"retention_days": 7})

    newest = (await listed(gateway, admin, "?order=newest&limit=1"))["entries"][0]

    assert (newest["actor"], newest["action"], newest["detail"]) == ("auditor", "alert_config.changed", '{"retention_days": "7"}')


@pytest.mark.parametrize(
    ("query", "subjects"),
    [
        ("?since=2025-01-15T10:33:00Z", ["t2", "auditor"]),
        ("?order=newest&after=3", ["t1", "t0"]),
        ("?action=token&actor=test&limit=1", ["t0"]),
        ("?action=password", []),
        ("?actor=nobody", []),
    ],
)
async def test_filters(gateway: Any, admin: str, query: str, subjects: list[str]) -> None:
    assert [entry["subject"] for entry in (await listed(gateway, admin, query))["entries"]] == subjects


@pytest.mark.parametrize("query", ["?after=99", "?after=x", "?after=0", "?limit=0", "?limit=1001", "?since=soon", "?order=any"])
async def test_a_question_that_will_not_do_is_400(gateway: Any, admin: str, query: str) -> None:
    answer = await gateway.ask("GET", f"/api/audit{query}", token=admin)

    assert answer.status == 400
    assert answer.body["error"].startswith("invalid ")


async def test_it_takes_admin_to_read_it(gateway: Any) -> None:
    everything_else = await gateway.token(Scope.ALERTS_READ, Scope.ALERTS_WRITE, Scope.CONFIG_WRITE)

    assert (await gateway.ask("GET", "/api/audit", token=everything_else)).status == 403
