"""Access tokens for programs that speak OAuth: client credentials (RFC 6749, section 4.4) at `/v1/oauth/token`."""

import base64
import binascii
from typing import Final
from urllib.parse import unquote_plus

import structlog
from aiohttp import web

from api.access import WrongClientError
from api.authorize import source_of
from api.bodies import Answer
from api.errors import ApiError, json_response
from api.grants import ScopeError
from api.params import UNFIT, Query
from api.route import FORM, Ask, Route
from api.scopes import Scope, parse_scopes
from api.throttle import TooManyFailuresError

_GRANT_TYPE: Final = "client_credentials"
_log = structlog.get_logger(__name__)


class TokenForm(Query):
    """Who asks, and for what. The client may also come as HTTP Basic."""

    grant_type: str | None = None
    """`client_credentials`."""
    client_id: str | None = None
    """The id of an API token, as `tollwatch token create` prints it."""
    client_secret: str | None = None
    """The API token."""
    scope: str | None = None
    """Scopes with blanks between them; all of the API token where none is named."""


class AccessTokenAnswer(Answer):
    """A bearer token that is good in every feed."""

    access_token: str
    token_type: str
    """`bearer`."""
    expires_in: int
    """Seconds: an hour, or less where the API token ends sooner."""
    scope: str | None = None
    """What it may, where the request named scopes."""


async def exchange(ask: Ask) -> web.Response:
    """Answer `POST /v1/oauth/token`."""
    form = ask.body_as(TokenForm)
    if ask.request.query_string:
        raise _error("invalid_request", "the URL takes no parameters: send them in the body, secrets above all")
    client_id, secret = _client(ask.request, form)
    if form.grant_type is None:
        raise _error("invalid_request", "missing grant_type")
    if form.grant_type != _GRANT_TYPE:
        raise _error("unsupported_grant_type", f"use grant_type={_GRANT_TYPE}")
    source = source_of(ask.request)
    scopes = _scopes(form)
    try:
        grant = await ask.services.access.grant(client_id=client_id, secret=secret, scopes=scopes, source=source)
    except TooManyFailuresError as error:
        raise ApiError(429, str(error), headers={"Retry-After": str(error.retry_after_seconds)}) from error
    except WrongClientError as error:
        _log.warning("client_failed", source=source)
        raise _wrong_client(str(error)) from error
    except ScopeError as error:
        raise _error("invalid_scope", str(error)) from error
    answer: dict[str, object] = {
        "access_token": grant.access_token,
        "token_type": "bearer",
        "expires_in": int(grant.lifetime.total_seconds()),
    }
    if scopes is not None:
        answer["scope"] = " ".join(sorted(grant.scopes))
    return json_response(answer, headers={"Pragma": "no-cache"})


def _client(request: web.Request, form: TokenForm) -> tuple[str, str]:
    """Return the id and the secret of a client that proves itself in one way. Raises ApiError."""
    headers = request.headers.getall("Authorization", [])
    if not headers:
        if form.client_id is None or form.client_secret is None:
            raise _wrong_client("no client: send client_id and client_secret in the body, or HTTP Basic")
        return form.client_id, form.client_secret
    if form.client_secret is not None:
        raise _error("invalid_request", "the client proves itself twice: send HTTP Basic or client_secret")
    client_id, secret = _basic(headers)
    if form.client_id not in (None, client_id):
        raise _error("invalid_request", "client_id is not the client of the Authorization header")
    return client_id, secret


def _basic(headers: list[str]) -> tuple[str, str]:
    """Return the two parts of HTTP Basic, which RFC 6749 wants form-encoded each."""
    scheme, _, encoded = headers[0].partition(" ")
    if len(headers) != 1 or scheme.lower() != "basic":
        raise _wrong_client("the Authorization header is no HTTP Basic")
    try:
        client_id, colon, secret = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except (ValueError, binascii.Error) as error:
        raise _wrong_client("the Authorization header has no base64 of ID:SECRET") from error
    if not colon:
        raise _wrong_client("the Authorization header has no secret: send base64 of ID:SECRET")
    client_id, secret = unquote_plus(client_id), unquote_plus(secret)
    if UNFIT.search(client_id):
        raise _wrong_client("the id in the Authorization header has control characters")
    return client_id, secret


def _scopes(form: TokenForm) -> frozenset[Scope] | None:
    if form.scope is None:
        return None
    try:
        return parse_scopes(form.scope)
    except ValueError as error:
        raise _error("invalid_scope", str(error)) from error


def _error(code: str, text: str) -> ApiError:
    return ApiError(400, text, code=code, fields={"error_description": text})


def _wrong_client(text: str) -> ApiError:
    headers = {"WWW-Authenticate": 'Basic realm="tollwatch"'}
    return ApiError(401, text, code="invalid_client", fields={"error_description": text}, headers=headers)


ROUTES = (
    Route(
        method="POST",
        path="/v1/oauth/token",
        handler=exchange,
        scope=None,
        body=TokenForm,
        media=FORM,
        answers={200: AccessTokenAnswer},
        errors=(401,),
        summary="Exchange an API token's id and secret for an access token",
    ),
)
