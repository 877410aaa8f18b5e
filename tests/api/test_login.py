"""Setting up, logging in and out over HTTP, in the published words."""

import re
from typing import Any

import pytest
import structlog

CODE = "setup-1234-code"
PASSWORD = "correct horse battery"
SETUP = {"password": PASSWORD, "confirm": PASSWORD, "code": CODE}


async def post(gateway: Any, path: str, body: Any, **more: Any) -> Any:
    return await gateway.ask("POST", f"/api/auth/{path}", json=body, **more)


async def test_from_set_up_to_log_out(gateway: Any) -> None:
    assert (await gateway.ask("GET", "/api/auth/status")).body == {"initialized": False, "authenticated": False}
    answer = await post(gateway, "setup", SETUP)
    assert (answer.status, answer.body) == (200, {"success": True, "message": "password configured successfully"})

    answer = await post(gateway, "login", {"password": PASSWORD})
    token = answer.body["token"]
    assert re.fullmatch(r"fn_sess_[0-9a-f]{64}", token)
    assert answer.body == {"token": token, "expires_at": "2025-01-15T14:30:00Z"}
    assert (await gateway.ask("GET", "/api/auth/status", token=token)).body == {"initialized": True, "authenticated": True}
    assert (await gateway.ask("GET", "/api/alerts", token=token)).status == 200

    answer = await gateway.ask("POST", "/api/auth/logout", token=token)
    assert (answer.status, answer.body) == (200, {"success": True})
    assert (await gateway.ask("GET", "/api/alerts", token=token)).status == 401
    assert (await gateway.ask("GET", "/api/auth/status", token=token)).body == {"initialized": True, "authenticated": False}


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"code": None}, 403, "setup code required"),
        ({"code": "wrong"}, 403, "setup code required"),
        ({"confirm": "another one"}, 400, "passwords do not match"),
        ({"password": "seven77", "confirm": "seven77"}, 400, "password must be at least 8 characters"),
    ],
)
async def test_a_set_up_that_will_not_do(gateway: Any, change: Any, status: int, error: Any) -> None:
    answer = await post(gateway, "setup", {**SETUP, **change})

    assert (answer.status, answer.body) == (status, {"error": error})


async def test_a_set_up_without_a_code(gateway: Any) -> None:
    answer = await post(gateway, "setup", {"password": PASSWORD, "confirm": PASSWORD})

    assert (answer.status, answer.body) == (403, {"error": "setup code required"})


async def test_a_failed_log_in_is_in_the_log_and_the_password_is_not(gateway: Any) -> None:
    with structlog.testing.capture_logs() as lines:
        await post(gateway, "setup", {**SETUP, "code": "a-guess"})
        await post(gateway, "setup", SETUP)
        await post(gateway, "login", {"password": "another-guess"})

    assert [(line["log_level"], line["event"], line["source"]) for line in lines] == [
        ("warning", "setup_failed", "127.0.0.1"),
        ("warning", "login_failed", "127.0.0.1"),
    ]
    assert "guess" not in str(lines)


async def test_a_second_set_up_is_409(gateway: Any) -> None:
    await post(gateway, "setup", SETUP)

    assert (await post(gateway, "setup", SETUP)).status == 409


async def test_a_wrong_password_is_401(gateway: Any) -> None:
    await post(gateway, "setup", SETUP)

    answer = await post(gateway, "login", {"password": "wrong"})

    assert (answer.status, answer.body) == (401, {"error": "invalid password"})


@pytest.mark.parametrize(("path", "body"), [("login", {"password": "wrong"}), ("setup", {**SETUP, "code": "wrong"})])
async def test_the_sixth_failure_is_429_and_says_how_long(gateway: Any, path: str, body: Any) -> None:
    for _ in range(5):
        await post(gateway, path, body)
    gateway.clock.advance(seconds=100)

    answer = await post(gateway, path, body)

    assert (answer.status, answer.body) == (429, {"error": "too many failed login attempts", "retry_after_seconds": 200})
    assert answer.headers["Retry-After"] == "200"


async def test_a_session_of_ones_own_making_is_ignored(gateway: Any) -> None:
    await post(gateway, "setup", SETUP)
    own = "fn_sess_" + "a" * 64

    answer = await post(gateway, "login", {"password": PASSWORD}, token=own)

    assert answer.body["token"] != own
    assert (await gateway.ask("GET", "/api/alerts", token=own)).status == 401


async def test_an_api_token_cannot_log_out(gateway: Any) -> None:
    answer = await gateway.ask("POST", "/api/auth/logout", token=await gateway.token())

    assert answer.status == 409
    assert "token revoke" in answer.body["error"]


async def test_a_session_ends_by_the_clock(gateway: Any) -> None:
    session = await gateway.services.access.sessions.begin()
    gateway.clock.advance(hours=1)

    answer = await gateway.ask("GET", "/api/alerts", token=session.token)

    assert (answer.status, answer.body) == (401, {"error": "invalid or expired session token"})
