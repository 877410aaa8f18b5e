"""The password, sessions and tokens, over a real store."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from api.access import Access, WrongPasswordError
from api.passwords import AlreadySetError, SetupCodeError, SetupError
from api.scopes import ALL_SCOPES, Scope, parse_scopes
from api.secret import ExpiredTokenError, digest
from api.settings import SessionSettings
from api.throttle import LoginThrottle, TooManyFailuresError
from api.tokens import TokenError
from storage.sqlite import SqliteDatabase

CODE = "setup-1234-code"
PASSWORD = "correct horse battery"


async def set_up(access: Access, **changes: Any) -> None:
    await access.set_up(**{"password": PASSWORD, "confirm": PASSWORD, "code": CODE, "source": "a", **changes})


async def test_setting_the_password_uses_the_code_up(access: Access, code_file: Any) -> None:
    await set_up(access)

    assert await access.passwords.is_set()
    assert code_file.read() is None


async def test_the_password_is_kept_as_argon2id(database: SqliteDatabase, clock: Any, code_file: Any) -> None:
    access = Access(database, settings=SessionSettings(), setup_code=code_file, now=clock)

    await set_up(access)

    (kept,) = (str(row[0]) for row in await database.read("SELECT value FROM meta WHERE name = 'api.password'"))
    assert kept.startswith("$argon2id$")
    assert PasswordHasher().verify(kept, PASSWORD)


@pytest.mark.parametrize("code", [None, "", "wrong", CODE + "x", "é", "\ud800"])
async def test_a_missing_or_wrong_code_sets_nothing(access: Access, code: str | None) -> None:
    with pytest.raises(SetupCodeError, match="setup code required"):
        await set_up(access, code=code)

    assert not await access.passwords.is_set()


async def test_without_a_kept_code_nothing_can_be_set(access: Access, code_file: Any) -> None:
    code_file.consume()

    with pytest.raises(SetupCodeError):
        await set_up(access)


@pytest.mark.parametrize(
    ("password", "confirm", "message"),
    [
        ("password1", "password2", "passwords do not match"),
        ("seven77", "seven77", "password must be at least 8 characters"),
        ("x" * 1025, "x" * 1025, "password must be at most 1024 characters"),
    ],
)
async def test_a_password_that_will_not_do_leaves_the_code_alone(
    access: Access, code_file: Any, password: str, confirm: str, message: str
) -> None:
    for _ in range(10):  # a typo is no guess: it is not throttled
        with pytest.raises(SetupError, match=message):
            await set_up(access, password=password, confirm=confirm)

    assert code_file.read() == CODE


async def test_the_password_is_set_only_once(access: Access) -> None:
    await set_up(access)

    with pytest.raises(AlreadySetError):
        await set_up(access, password="another one", confirm="another one")


async def test_of_two_set_ups_at_once_one_wins(access: Access, code_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_file, "consume", lambda: None)  # the code is still there while the other hashes
    outcomes: list[str] = []

    async def one(password: str) -> None:
        try:
            await access.passwords.set_first(password=password, confirm=password, code=CODE)
            outcomes.append("set")
        except AlreadySetError:
            outcomes.append("already")

    await asyncio.gather(one("password one"), one("password two"))

    assert sorted(outcomes) == ["already", "set"]


async def test_a_login_begins_a_session_that_may_do_everything(access: Access, clock: Any) -> None:
    await set_up(access)

    session = await access.log_in(password=PASSWORD, source="a")

    principal = await access.find(session.token)
    assert principal is not None
    assert principal.scopes == ALL_SCOPES
    assert session.expires_at == clock() + timedelta(hours=4)


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + "x", "é" * 9, "\ud800", "x" * 2000])
async def test_a_wrong_password_begins_nothing(access: Access, password: str) -> None:
    await set_up(access)

    with pytest.raises(WrongPasswordError, match="invalid password"):
        await access.log_in(password=password, source="a")


async def test_before_set_up_no_password_is_right(access: Access) -> None:
    with pytest.raises(WrongPasswordError):
        await access.log_in(password=PASSWORD, source="a")


async def test_forgetting_the_password_ends_the_sessions(access: Access) -> None:
    await set_up(access)
    session = await access.log_in(password=PASSWORD, source="a")

    await access.passwords.forget(actor="cli")

    assert await access.find(session.token) is None
    assert not await access.passwords.is_set()


async def test_a_used_session_lasts_four_hours(access: Access, clock: Any) -> None:
    token = (await access.sessions.begin()).token
    for _ in range(7):
        clock.advance(minutes=34)
        assert await access.find(token)

    clock.advance(minutes=2)

    with pytest.raises(ExpiredTokenError):
        await access.find(token)


async def test_an_idle_session_ends_after_an_hour(access: Access, clock: Any) -> None:
    token = (await access.sessions.begin()).token
    clock.advance(minutes=59, seconds=59)
    assert await access.find(token)
    clock.advance(seconds=30)
    assert await access.find(token)  # this use is not written, but it counts

    clock.advance(minutes=59, seconds=59)
    assert await access.find(token)
    clock.advance(hours=1)

    with pytest.raises(ExpiredTokenError):
        await access.find(token)


async def test_an_ended_session_leaves_no_row(access: Access, clock: Any, database: SqliteDatabase) -> None:
    token = (await access.sessions.begin()).token
    clock.advance(hours=5)

    with pytest.raises(ExpiredTokenError):
        await access.find(token)

    assert await database.read("SELECT id FROM sessions") == []


async def test_the_sixth_session_pushes_the_oldest_out(access: Access, clock: Any) -> None:
    tokens = []
    for _ in range(6):
        tokens.append((await access.sessions.begin()).token)
        clock.advance(seconds=1)

    found = [await access.find(token) is not None for token in tokens]

    assert found == [False, True, True, True, True, True]


async def test_a_use_is_written_once_a_minute(access: Access, clock: Any, database: SqliteDatabase) -> None:
    token = (await access.sessions.begin()).token
    used = set()
    for _ in range(130):
        clock.advance(seconds=1)
        await access.find(token)
        used.add((await database.read("SELECT last_used_at FROM sessions"))[0][0])

    assert len(used) == 3


async def test_only_hashes_are_kept(access: Access, tmp_path: Path, database: SqliteDatabase) -> None:
    await set_up(access)
    session = await access.sessions.begin()
    made = await access.tokens.create(name="siem", scopes=[Scope.ALERTS_READ], actor="cli")
    await database.close()

    kept = await asyncio.to_thread(lambda: b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file()))

    for secret in (session.token, made.secret, session.token[8:], made.secret[3:], PASSWORD):
        assert secret.encode() not in kept


async def test_a_stolen_hash_opens_nothing(access: Access) -> None:
    session = await access.sessions.begin()
    made = await access.tokens.create(name="siem", scopes=[Scope.ALERTS_READ], actor="cli")

    for hashed in (digest(session.token), "fn_sess_" + digest(session.token), "tw_" + digest(made.secret)):
        assert await access.find(hashed) is None


async def test_a_token_stands_for_its_name_and_scopes(access: Access) -> None:
    made = await access.tokens.create(name="siem", scopes=[Scope.ALERTS_READ], actor="cli")

    principal = await access.find(made.secret)

    assert principal is not None
    assert (principal.name, principal.scopes, principal.session_id) == ("siem", {Scope.ALERTS_READ}, None)
    assert made.secret.startswith("tw_")


async def test_admin_includes_the_other_scopes(access: Access) -> None:
    made = await access.tokens.create(name="boss", scopes=[Scope.ADMIN], actor="cli")
    principal = await access.find(made.secret)

    assert principal is not None
    assert all(principal.may(scope) for scope in Scope)


async def test_a_token_ends_at_its_end(access: Access, clock: Any) -> None:
    made = await access.tokens.create(name="siem", scopes=[Scope.ADMIN], expires_at=clock() + timedelta(hours=1), actor="cli")
    clock.advance(minutes=59)
    assert await access.find(made.secret)

    clock.advance(minutes=1)

    with pytest.raises(ExpiredTokenError):
        await access.find(made.secret)


async def test_a_revoked_token_is_useless_and_its_name_is_free(access: Access) -> None:
    made = await access.tokens.create(name="siem", scopes=[Scope.ADMIN], actor="cli")

    assert await access.tokens.revoke("siem", actor="cli")

    assert await access.find(made.secret) is None
    assert not await access.tokens.revoke("siem", actor="cli")
    again = await access.tokens.create(name="siem", scopes=[Scope.ADMIN], actor="cli")
    assert await access.find(again.secret)
    assert await access.find(made.secret) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "1 to 100 printable"),
        ({"name": "x" * 101}, "1 to 100 printable"),
        ({"name": "a\nb"}, "1 to 100 printable"),
        ({"scopes": []}, "without a scope: use one or more of alerts:read"),
        ({"name": "taken"}, "the name is taken"),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(access: Access, change: Any, message: str) -> None:
    await access.tokens.create(name="taken", scopes=[Scope.ADMIN], actor="cli")

    with pytest.raises(TokenError, match=message):
        await access.tokens.create(**{"name": "new", "scopes": [Scope.ADMIN], "actor": "cli", **change})


async def test_a_token_cannot_end_in_the_past(access: Access, clock: Any) -> None:
    with pytest.raises(TokenError, match="not in the future"):
        await access.tokens.create(name="late", scopes=[Scope.ADMIN], expires_at=clock(), actor="cli")


async def test_tokens_are_listed_by_name_without_their_secrets(access: Access, clock: Any) -> None:
    await access.tokens.create(name="b", scopes=[Scope.ADMIN, Scope.ALERTS_READ], expires_at=clock() + timedelta(days=1), actor="cli")
    made = await access.tokens.create(name="a", scopes=[Scope.ALERTS_READ], actor="cli")
    await access.find(made.secret)
    await access.tokens.revoke("a", actor="cli")

    listed = [token.as_json() for token in await access.tokens.list()]

    assert [(token["name"], token["scopes"]) for token in listed] == [("a", ["alerts:read"]), ("b", ["admin", "alerts:read"])]
    assert listed[0]["revoked_at"] == listed[0]["last_used_at"] == listed[0]["created_at"] == "2025-01-15T10:30:00Z"
    assert listed[1]["expires_at"] == "2025-01-16T10:30:00Z"
    assert made.secret not in str(listed)


async def test_changes_stand_in_the_audit_trail(access: Access, database: SqliteDatabase) -> None:
    await set_up(access)
    await access.tokens.create(name="siem", scopes=[Scope.ALERTS_READ], actor="cli")
    await access.tokens.revoke("siem", actor="bob")
    await access.passwords.forget(actor="cli")

    rows = await database.read("SELECT actor, action, subject, detail FROM audit ORDER BY seq")

    assert rows == [
        ("setup code", "password.set", "password", ""),
        ("cli", "token.created", "siem", "scopes alerts:read; expires never"),
        ("bob", "token.revoked", "siem", ""),
        ("cli", "password.removed", "password", ""),
    ]


async def fail(access: Access, source: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(WrongPasswordError):
            await access.log_in(password="wrong", source=source)


async def test_the_sixth_guess_is_not_heard_even_when_it_is_right(access: Access, clock: Any) -> None:
    await set_up(access)
    await fail(access, "a", 5)

    with pytest.raises(TooManyFailuresError) as caught:
        await access.log_in(password=PASSWORD, source="a")

    assert caught.value.retry_after_seconds == 300
    assert await access.log_in(password=PASSWORD, source="b")
    clock.advance(seconds=300)
    assert await access.log_in(password=PASSWORD, source="a")


async def test_guesses_at_once_count_like_guesses_one_after_another(access: Access) -> None:
    await set_up(access)
    outcomes: list[str] = []

    async def guess() -> None:
        try:
            await access.log_in(password="wrong", source="a")
        except WrongPasswordError:
            outcomes.append("heard")
        except TooManyFailuresError:
            outcomes.append("not heard")

    await asyncio.gather(*(guess() for _ in range(20)))

    assert outcomes.count("heard") == 5


async def test_guesses_from_many_addresses_are_slowed_together(access: Access) -> None:
    for n in range(10):
        await fail(access, f"source {n}", 5)

    with pytest.raises(TooManyFailuresError):
        await access.log_in(password="wrong", source="another")


async def test_a_success_forgets_the_failures(access: Access) -> None:
    await set_up(access)
    await fail(access, "a", 4)
    await access.log_in(password=PASSWORD, source="a")

    await fail(access, "a", 5)


async def test_guesses_at_the_setup_code_are_slowed(access: Access) -> None:
    for _ in range(5):
        with pytest.raises(SetupCodeError):
            await set_up(access, code="guess")

    with pytest.raises(TooManyFailuresError):
        await set_up(access)


async def test_a_typo_takes_back_its_own_attempt_alone(access: Access) -> None:
    throttle = LoginThrottle(access._throttle.now)  # noqa: SLF001 - the same clock
    for _ in range(5):
        throttle.begin("a")
    throttle.begin("b")

    throttle.take_back("a")
    throttle.take_back("nobody")

    throttle.begin("a")
    with pytest.raises(TooManyFailuresError):
        throttle.begin("a")


async def test_set_ups_after_the_first_do_not_forget_failed_logins(access: Access) -> None:
    await set_up(access)
    await fail(access, "a", 4)
    with pytest.raises(AlreadySetError):
        await set_up(access)
    await fail(access, "a", 1)

    with pytest.raises(TooManyFailuresError):
        await access.log_in(password=PASSWORD, source="a")


@pytest.mark.parametrize("names", ["alerts:read,alerts:write", "alerts:read alerts:write", " alerts:read, alerts:write "])
def test_scopes_are_read_with_commas_or_blanks(names: str) -> None:
    assert parse_scopes(names) == {Scope.ALERTS_READ, Scope.ALERTS_WRITE}


@pytest.mark.parametrize(("names", "message"), [("", "no scope was given"), ("alerts", "'alerts' is not a scope: use one or more of")])
def test_an_unknown_scope_is_named(names: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_scopes(names)
