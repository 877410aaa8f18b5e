"""A row of the route table: where, who may, and what answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from api.scopes import Principal, Scope
from api.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request on its way to a handler. `principal` is set unless the route is public."""

    request: web.Request
    services: Services
    principal: Principal | None

    @property
    def who(self) -> Principal:
        """The principal of a route that has a scope."""
        if self.principal is None:
            msg = f"{self.request.path} is public: it has no principal"
            raise LookupError(msg)
        return self.principal


type Handler = Callable[[Ask], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method on one path. A route says which scope it needs, or says `scope=None`, and then anyone may ask it.

    `feed` is the feed that can be switched off with it. `public_on_loopback` drops the scope for a client on this machine.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    feed: str | None = None
    public_on_loopback: bool = False

    def __post_init__(self) -> None:
        if self.scope is not None and not isinstance(self.scope, Scope):  # pyright: ignore[reportUnnecessaryIsInstance]  # a table is easily mistyped
            msg = f"Cannot build the route {self.method} {self.path}: {self.scope!r} is not a scope"
            raise TypeError(msg)
