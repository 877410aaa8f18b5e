"""Setting the password, logging in, logging out (`/api/auth`)."""

from datetime import datetime
from typing import Literal

import structlog
from aiohttp import web

from api.access import WrongPasswordError
from api.authorize import authenticate, source_of
from api.bodies import Answer, Body
from api.errors import ApiError, json_response
from api.passwords import AlreadySetError, SetupCodeError, SetupError
from api.route import Ask, Route
from api.scopes import Scope
from api.throttle import TooManyFailuresError
from api.times import rfc3339

_log = structlog.get_logger(__name__)


class Setup(Body):
    """The first password, twice, and the code that the first start printed."""

    password: str
    confirm: str
    code: str | None = None


class Login(Body):
    """The password."""

    password: str


class Done(Answer):
    """It is done."""

    success: Literal[True]
    message: str = ""


class SessionAnswer(Answer):
    """A session that has begun; the only moment its token is shown."""

    token: str
    expires_at: datetime


class AuthStatus(Answer):
    """Whether a password is set, and whether the token of the request (if any) is good."""

    initialized: bool
    authenticated: bool


async def set_up(ask: Ask) -> web.Response:
    """Answer `POST /api/auth/setup`."""
    body = ask.body_as(Setup)
    source = source_of(ask.request)
    try:
        await ask.services.access.set_up(password=body.password, confirm=body.confirm, code=body.code, source=source)
    except TooManyFailuresError as error:
        raise _too_many(error) from error
    except SetupCodeError as error:
        _log.warning("setup_failed", source=source)
        raise ApiError(403, str(error)) from error
    except AlreadySetError as error:
        raise ApiError(409, str(error)) from error
    except SetupError as error:
        raise ApiError(400, str(error)) from error
    return json_response({"success": True, "message": "password configured successfully"})


async def log_in(ask: Ask) -> web.Response:
    """Answer `POST /api/auth/login`."""
    body = ask.body_as(Login)
    source = source_of(ask.request)
    try:
        session = await ask.services.access.log_in(password=body.password, source=source)
    except TooManyFailuresError as error:
        raise _too_many(error) from error
    except WrongPasswordError as error:
        _log.warning("login_failed", source=source)
        raise ApiError(401, str(error)) from error
    return json_response({"token": session.token, "expires_at": rfc3339(session.expires_at)})


async def log_out(ask: Ask) -> web.Response:
    """Answer `POST /api/auth/logout`: the session of the request ends."""
    if ask.who.session_id is None:
        raise ApiError(409, "an API token has no session to end: revoke it with `tollwatch token revoke`")
    await ask.services.access.sessions.end(ask.who.session_id)
    return json_response({"success": True})


async def status(ask: Ask) -> web.Response:
    """Answer `GET /api/auth/status`: whether a password is set, and whether the token of this request (if any) is good."""
    return json_response({"initialized": await ask.services.access.passwords.is_set(), "authenticated": await _authenticated(ask)})


ROUTES = (
    Route(
        method="POST",
        path="/api/auth/setup",
        handler=set_up,
        scope=None,
        body=Setup,
        answers={200: Done},
        errors=(409, 429),
        summary="Set the first password, with the code that the first start printed",
    ),
    Route(
        method="POST",
        path="/api/auth/login",
        handler=log_in,
        scope=None,
        body=Login,
        answers={200: SessionAnswer},
        errors=(401, 429),
        summary="Begin a session",
    ),
    Route(
        method="POST",
        path="/api/auth/logout",
        handler=log_out,
        scope=Scope.ALERTS_READ,
        answers={200: Done},
        errors=(409,),
        summary="End the session of the token",
    ),
    Route(
        method="GET",
        path="/api/auth/status",
        handler=status,
        scope=None,
        answers={200: AuthStatus},
        summary="Whether a password is set and the token is good",
    ),
)


async def _authenticated(ask: Ask) -> bool:
    try:
        await authenticate(ask.request, ask.services.access)
    except ApiError:
        return False
    return True


def _too_many(error: TooManyFailuresError) -> ApiError:
    seconds = error.retry_after_seconds
    return ApiError(429, "too many failed login attempts", fields={"retry_after_seconds": seconds}, headers={"Retry-After": str(seconds)})
