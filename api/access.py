"""Who may ask: the password, its sessions and the API tokens behind one door."""

from argon2 import PasswordHasher

from api.abuse import EVERYWHERE, Abuse, Proof, Report
from api.grants import Grant, Grants
from api.passwords import Passwords, SetupCode, SetupCodeError, SetupError
from api.scopes import Principal, Scope
from api.secret import GRANT_PREFIX, SESSION_PREFIX, ExpiredTokenError
from api.sessions import Session, Sessions
from api.settings import SessionSettings
from api.throttle import IN_ALL, PER_SOURCE, LoginThrottle, TooManyFailuresError
from api.times import Clock
from api.tokens import Tokens
from storage.database import Database


class WrongPasswordError(ValueError):
    """The password is wrong, or none is set."""


class WrongClientError(ValueError):
    """No live API token has this id and secret."""


class Access:
    """Set up, log in, log out, and say who a bearer token stands for."""

    def __init__(
        self,
        database: Database,
        *,
        settings: SessionSettings,
        setup_code: SetupCode,
        now: Clock,
        report: Report = lambda _occurrences: None,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.passwords = Passwords(database, setup_code=setup_code, now=now, hasher=hasher)
        self.sessions = Sessions(database, settings=settings, now=now)
        self.tokens = Tokens(database, now=now)
        self.grants = Grants(database, now=now)
        self.abuse = Abuse(now, report)
        self._throttle = LoginThrottle(now)
        self._client_throttle = LoginThrottle(now)
        """Of its own: a program with an old secret must not keep the person at the dashboard out."""

    async def set_up(self, *, password: str, confirm: str, code: str | None, source: str) -> None:
        """Set the first password. Raises SetupError, TooManyFailuresError; only a wrong code counts as a failure."""
        self._begin(self._throttle, source, "setup code")
        try:
            await self.passwords.set_first(password=password, confirm=confirm, code=code)
        except SetupCodeError:
            raise
        except SetupError:
            self._throttle.take_back(source)
            raise
        self._throttle.succeeded(source)

    async def log_in(self, *, password: str, source: str) -> Session:
        """Begin a session. Raises WrongPasswordError, TooManyFailuresError."""
        self._begin(self._throttle, source, "password")
        if not await self.passwords.verify(password):
            raise WrongPasswordError("invalid password")
        self._throttle.succeeded(source)
        return await self.sessions.begin()

    async def grant(self, *, client_id: str, secret: str, scopes: frozenset[Scope] | None, source: str) -> Grant:
        """Exchange an API token's id and secret for an access token. Raises WrongClientError, ScopeError, TooManyFailuresError.

        A right secret is heard however many wrong ones came before: it cannot be guessed, so nothing is won by letting it wait.
        """
        token = await self.tokens.client(client_id=client_id, secret=secret)
        if token is None:
            self._begin(self._client_throttle, source, "client secret")
            raise WrongClientError("unknown client, or its secret is wrong, revoked or past its end")
        self._client_throttle.succeeded(source)
        return await self.grants.issue(token, scopes=scopes)

    async def find(self, bearer: str) -> Principal | None:
        """Return who a bearer token stands for, None when it is good for nothing. Raises ExpiredTokenError."""
        if bearer.startswith(GRANT_PREFIX):
            return await self.grants.find(bearer)
        if bearer.startswith(SESSION_PREFIX):
            return await self.sessions.find(bearer)
        return await self.tokens.find(bearer)

    async def still(self, bearer: str, scope: Scope) -> bool:
        """Whether a bearer token is still good for a scope. To ask is no use of a session."""
        if bearer.startswith(SESSION_PREFIX):
            return await self.sessions.lasts(bearer)
        try:
            found = await self.find(bearer)
        except ExpiredTokenError:
            return False
        return found is not None and found.may(scope)

    def _begin(self, throttle: LoginThrottle, source: str, proof: Proof) -> None:
        try:
            throttle.begin(source)
        except TooManyFailuresError as error:
            self.abuse.throttled(EVERYWHERE if error.from_all else source, proof, failures=IN_ALL if error.from_all else PER_SOURCE)
            raise
