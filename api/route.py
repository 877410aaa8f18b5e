"""A row of the route table: where, who may, what is asked, and what answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel

from api.errors import Feed
from api.params import Query
from api.scopes import Principal, Scope
from api.services import Services

type Media = Literal["application/json", "application/x-www-form-urlencoded"]

JSON: Literal["application/json"] = "application/json"
FORM: Literal["application/x-www-form-urlencoded"] = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request on its way to a handler, checked. `principal` is set unless the route is public."""

    request: web.Request
    services: Services
    principal: Principal | None
    query: Query | None = None
    body: BaseModel | None = None

    @property
    def who(self) -> Principal:
        """The principal of a route that has a scope."""
        if self.principal is None:
            msg = f"{self.request.path} is public: it has no principal"
            raise LookupError(msg)
        return self.principal

    def query_as[T: Query](self, model: type[T]) -> T:
        """Return the query parameters: `model` is what the route names as its `query`."""
        return _typed(self.query, model)

    def body_as[T: BaseModel](self, model: type[T]) -> T:
        """Return the body: `model` is what the route names as its `body`."""
        return _typed(self.body, model)


def _typed[T](value: object, model: type[T]) -> T:
    if not isinstance(value, model):
        raise TypeError(f"Cannot read a {type(value).__name__} as {model.__name__}: the route and its handler name different models")
    return value


type Proof = Callable[[web.Request, Services], Awaitable[None]]
"""Passes a request that proves itself by its body, or raises ApiError."""
type Handler = Callable[[Ask], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method on one path. A route says which scope it needs, or says `scope=None`, and then anyone may ask it.

    What `query` and `body` ask for is checked before the handler runs. `feed` is the feed that can be switched off with it.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope | None
    summary: str
    """A sentence for the documents: what it does."""
    feed: Feed | None = None
    query: type[Query] | None = None
    body: type[BaseModel] | None = None
    body_optional: bool = False
    """No body is as good as `{}`."""
    media: Media = JSON
    """How the body comes. The model of a form is a Query: its fields are texts, too."""
    answers: Mapping[int, Any] = field(default_factory=dict[int, Any])
    """Each status that is no error, and the type of its body: a model, a list of one, or None where there is no body."""
    errors: tuple[int, ...] = ()
    """Refusals of its own, beside those that come of what it asks for (such as 409)."""
    text_answers: tuple[str, ...] = ()
    """Media types beside JSON that a 200 may have."""
    proof: Proof | None = None
    """How a request of a route without a scope proves itself, before anything of it is parsed."""
    public_on_loopback: bool = False
    """It drops the scope for a client on this machine."""

    def __post_init__(self) -> None:
        if self.scope is not None and not isinstance(self.scope, Scope):  # pyright: ignore[reportUnnecessaryIsInstance]  # a table is easily mistyped
            raise TypeError(f"Cannot build the route {self.method} {self.path}: {self.scope!r} is not a scope")
        if self.media == FORM and not (self.body and issubclass(self.body, Query)):
            raise TypeError(f"Cannot build the route {self.method} {self.path}: the model of a form is a Query")
