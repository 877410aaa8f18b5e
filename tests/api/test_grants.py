"""Access tokens: never more than their API token, never longer."""

from datetime import timedelta
from typing import Any

import pytest

from api.access import Access, WrongClientError
from api.grants import AT_MOST, ScopeError
from api.scopes import Scope
from api.secret import ExpiredTokenError
from api.throttle import TooManyFailuresError
from storage.sqlite import SqliteDatabase

READ, WRITE = Scope.ALERTS_READ, Scope.ALERTS_WRITE


async def made(access: Access, *scopes: Scope, **more: Any) -> Any:
    return await access.tokens.create(name="siem", scopes=scopes or (READ, WRITE), actor="test", **more)


async def exchanged(access: Access, new: Any, *, scopes: Any = None, source: str = "a", **changes: str) -> Any:
    given = {"client_id": new.token.id, "secret": new.secret, **changes}
    return await access.grant(**given, scopes=scopes, source=source)


async def test_an_access_token_stands_for_its_api_token_for_an_hour(access: Access, clock: Any) -> None:
    grant = await exchanged(access, await made(access))

    found = await access.find(grant.access_token)
    clock.advance(minutes=59, seconds=59)
    late = await access.find(grant.access_token)
    clock.advance(seconds=1)

    assert grant.lifetime == timedelta(hours=1)
    assert found == late
    assert found is not None
    assert (found.name, found.scopes, found.session_id) == ("siem", {READ, WRITE}, None)
    with pytest.raises(ExpiredTokenError):
        await access.find(grant.access_token)


async def test_it_ends_no_later_than_its_api_token(access: Access, clock: Any) -> None:
    grant = await exchanged(access, await made(access, expires_at=clock() + timedelta(minutes=10)))

    clock.advance(minutes=10)

    assert grant.lifetime == timedelta(minutes=10)
    with pytest.raises(ExpiredTokenError):
        await access.find(grant.access_token)


async def test_it_dies_with_its_api_token_and_does_not_come_back_with_the_name(access: Access) -> None:
    grant = await exchanged(access, await made(access))

    await access.tokens.revoke("siem", actor="test")

    assert await access.find(grant.access_token) is None
    await made(access)
    assert await access.find(grant.access_token) is None


@pytest.mark.parametrize(
    ("of_token", "asked", "granted"),
    [
        ((READ, WRITE), None, {READ, WRITE}),
        ((READ, WRITE), {READ}, {READ}),
        ((Scope.ADMIN,), {READ}, {READ}),
        ((Scope.ADMIN,), None, {Scope.ADMIN}),
    ],
)
async def test_scopes_are_narrowed(access: Access, of_token: Any, asked: Any, granted: Any) -> None:
    grant = await exchanged(access, await made(access, *of_token), scopes=None if asked is None else frozenset(asked))

    found = await access.find(grant.access_token)

    assert found is not None
    assert grant.scopes == found.scopes == granted


@pytest.mark.parametrize("asked", [{WRITE}, {READ, Scope.ADMIN}])
async def test_they_are_never_widened(access: Access, asked: set[Scope]) -> None:
    with pytest.raises(ScopeError, match="lacks the scope"):
        await exchanged(access, await made(access, READ), scopes=frozenset(asked))


async def test_an_access_token_is_narrowed_with_its_api_token(access: Access, database: SqliteDatabase) -> None:
    grant = await exchanged(access, await made(access))

    await database.write(lambda: _set_scopes("alerts:read"))

    found = await access.find(grant.access_token)
    assert found is not None
    assert found.scopes == {READ}


def _set_scopes(scopes: str) -> Any:
    from storage.database import Sql  # noqa: PLC0415  # what only a hand at the store can do

    yield Sql("UPDATE api_tokens SET scopes = ?", (scopes,))


async def test_only_its_hash_is_kept_and_the_hash_opens_nothing(access: Access, database: SqliteDatabase) -> None:
    new = await made(access)
    grant = await exchanged(access, new)

    rows = str(await database.read("SELECT * FROM access_tokens"))
    ((kept,),) = await database.read("SELECT hash FROM access_tokens")

    assert grant.access_token not in rows
    assert new.secret not in rows
    for guess in (str(kept), f"tw_access_{kept}", "tw_access_", grant.access_token[:-1], grant.access_token.upper()):
        assert await access.find(guess) is None


@pytest.mark.parametrize("changes", [{"client_id": "x"}, {"client_id": ""}, {"secret": "tw_wrong"}, {"client_id": "siem"}])
async def test_a_wrong_client_gets_nothing(access: Access, changes: dict[str, str]) -> None:
    with pytest.raises(WrongClientError):
        await exchanged(access, await made(access), **changes)


async def test_an_access_token_or_a_session_is_no_client_secret(access: Access) -> None:
    new = await made(access)
    grant, session = await exchanged(access, new), await access.sessions.begin()

    for secret in (grant.access_token, session.token):
        with pytest.raises(WrongClientError):
            await exchanged(access, new, secret=secret)


async def test_the_oldest_goes_where_there_are_too_many_and_what_is_over_is_forgotten(
    access: Access, clock: Any, database: SqliteDatabase
) -> None:
    new = await made(access)
    first = await exchanged(access, new)
    for _ in range(AT_MOST):
        clock.advance(seconds=1)
        await exchanged(access, new)

    assert await access.find(first.access_token) is None
    assert await database.read("SELECT COUNT(*) FROM access_tokens") == [(AT_MOST,)]
    clock.advance(hours=1)
    await exchanged(access, new)
    assert await database.read("SELECT COUNT(*) FROM access_tokens") == [(1,)]


async def test_wrong_secrets_wait_but_neither_right_ones_nor_people_do(access: Access) -> None:
    new = await made(access)
    for _ in range(5):
        with pytest.raises(WrongClientError):
            await exchanged(access, new, secret="tw_wrong")

    with pytest.raises(TooManyFailuresError):
        await exchanged(access, new, secret="tw_wrong")

    assert await exchanged(access, new)
    await access.set_up(password="correct horse", confirm="correct horse", code="setup-1234-code", source="a")
    assert await access.log_in(password="correct horse", source="a")
