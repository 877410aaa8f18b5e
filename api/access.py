"""Who may ask: the password, its sessions and the API tokens behind one door."""

from argon2 import PasswordHasher

from api.passwords import Passwords, SetupCode, SetupCodeError, SetupError
from api.scopes import Principal
from api.secret import SESSION_PREFIX
from api.sessions import Session, Sessions
from api.settings import SessionSettings
from api.throttle import LoginThrottle
from api.times import Clock
from api.tokens import Tokens
from storage.database import Database


class WrongPasswordError(ValueError):
    """The password is wrong, or none is set."""


class Access:
    """Set up, log in, log out, and say who a bearer token stands for."""

    def __init__(
        self, database: Database, *, settings: SessionSettings, setup_code: SetupCode, now: Clock, hasher: PasswordHasher | None = None
    ) -> None:
        self.passwords = Passwords(database, setup_code=setup_code, now=now, hasher=hasher)
        self.sessions = Sessions(database, settings=settings, now=now)
        self.tokens = Tokens(database, now=now)
        self._throttle = LoginThrottle(now)

    async def set_up(self, *, password: str, confirm: str, code: str | None, source: str) -> None:
        """Set the first password. Raises SetupError, TooManyFailuresError; only a wrong code counts as a failure."""
        self._throttle.begin(source)
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
        self._throttle.begin(source)
        if not await self.passwords.verify(password):
            raise WrongPasswordError("invalid password")
        self._throttle.succeeded(source)
        return await self.sessions.begin()

    async def find(self, bearer: str) -> Principal | None:
        """Return who a bearer token stands for, None when it is good for nothing. Raises ExpiredTokenError."""
        if bearer.startswith(SESSION_PREFIX):
            return await self.sessions.find(bearer)
        return await self.tokens.find(bearer)
