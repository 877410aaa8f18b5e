"""The description of the API (OpenAPI 3.1), made from the route table and the models that check what is asked."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from http import HTTPStatus
from importlib.resources import files
from typing import Any, cast

import orjson
from aiohttp import web
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from api.authorize import KEY_HEADERS
from api.docspage import NO_CONTROLS, page
from api.error_answers import ERROR_MODELS
from api.errors import Feed, feed_of, in_texts
from api.params import LONGEST, Parameter, Query, parameters
from api.route import Route
from api.scopes import Scope

type Json = dict[str, Any]
type _Key = tuple[str, JsonSchemaMode]

TAGS: Mapping[str, str] = {
    "org": "Alerts of the whole organisation, for security teams and their collectors",
    "local": "Alerts for the person at this machine",
    "entries": "Groups of detections, their root causes and what was done",
    "account": "Usage alerts: what to watch, and when it was too much",
    "rules": "The health of the rules, and the rules themselves",
    "login": "The password, sessions and tokens",
    "alertmanager": "Alerts and silences as Alertmanager's clients read and set them",
    "gateway": "The gateway itself: its state, its calls, what was spent",
}
_TAG_PREFIXES = {"/api/auth/": "login", "/v1/oauth/": "login", "/alertmanager/": "alertmanager"}
_REFS = "#/components/schemas/{model}"
_PATH_PART = re.compile(r"\{(\w+)(?::([^{}]+(?:\{[^{}]*\}[^{}]*)*))?\}")
_OURS = re.compile(r"\b(?:\w+__)+(\w+?)__([A-Z]\w*)\b")
_RATE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_ANY_JSON: Json = {"content": {"application/json": {"schema": {}}}}
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Described:
    """The description of some routes, made when it is first asked for; that takes a while, and wants a thread."""

    def __init__(self, routes: Iterable[Route], *, version: str) -> None:
        self._routes = tuple(routes)
        self._version = version

    @cached_property
    def document(self) -> Json:
        """The document as JSON values."""
        return _document(self._routes, version=self._version)

    @cached_property
    def text(self) -> bytes:
        """The document as JSON text."""
        return orjson.dumps(self.document, option=orjson.OPT_INDENT_2)

    @cached_property
    def page(self) -> str:
        """The document as a page."""
        return page(self.document)


DESCRIBED = web.AppKey("described", Described)


def tag_of(route: Route) -> str:
    """Return the group of the document that a route is in: its feed, or what it is about."""
    by_prefix = (tag for prefix, tag in _TAG_PREFIXES.items() if route.path.startswith(prefix))
    return next(by_prefix, route.feed or "gateway")


def refusals(route: Route) -> tuple[int, ...]:
    """Return the statuses of the errors that a route may answer with."""
    feed = feed_of(route.path)
    asks = route.query is not None or route.body is not None
    found = {403, 421, 500, *route.errors}
    found |= {401} if route.scope else set()
    found |= {404} if "{" in route.path else set()
    found |= {422 if feed == "rules" else 400} if asks else set()
    found |= {400, 408, 413} if route.body else set()
    found |= {415} if route.method in _WRITES else set()
    found |= {429} if feed == "org" else set()
    return tuple(sorted(found - set(route.answers)))


def _document(routes: tuple[Route, ...], *, version: str) -> Json:
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        path = _PATH_PART.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    used = {tag_of(route) for route in routes}
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "tollwatch",
            "version": version,
            "description": "The Alerts APIs of one gateway, and what is around them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {"schemas": schemas.definitions, "responses": schemas.refusals, "securitySchemes": _security_schemes()},
    }
    return _renamed(document)


def _operation(route: Route, schemas: "_Schemas") -> Json:
    tag = tag_of(route)
    name = getattr(route.handler, "__name__", "").lstrip("_")
    operation: Json = {
        "tags": [tag],
        "operationId": f"{tag}_{name}",
        "summary": route.summary,
        "description": _told(route),
        "security": _security(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {str(status): answer for status, answer in _responses(route, schemas)},
    }
    if route.scope:
        operation["x-scope"] = str(route.scope)
    if route.body:
        operation["requestBody"] = _request_body(route, schemas)
    return {key: value for key, value in operation.items() if value not in ("", []) or key == "security"}


def _told(route: Route) -> str:
    """Return what the docstring of the handler says beyond the summary."""
    text = re.sub(r"^Answer `[^`]*`[:.,]?\s*", "", re.sub(r"\s+", " ", route.handler.__doc__ or ""))
    return f"{text[:1].upper()}{text[1:]}".strip()


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.scope is None:
        return []
    needed = [str(route.scope)]
    ways: list[dict[str, list[str]]] = [{"token": needed}]
    if route.feed in KEY_HEADERS:
        ways.append({f"{route.feed}_key": needed})
    return [{}, *ways] if route.public_on_loopback else ways


def _security_schemes() -> Json:
    scopes = ", ".join(Scope)
    told = f"An API token (`tollwatch token create`), an access token or a session token. Scopes: {scopes}; admin includes the others."
    keys = {
        f"{feed}_key": {"type": "apiKey", "in": "header", "name": header, "description": f"The same tokens, in the {feed} feed."}
        for feed, header in KEY_HEADERS.items()
    }
    return {"token": {"type": "http", "scheme": "bearer", "description": told}, **keys}


def _path_parameters(route: Route) -> Iterator[Json]:
    for name, pattern in _PATH_PART.findall(route.path):
        schema: Json = {"type": "string", "minLength": 1, "maxLength": LONGEST}
        if pattern:
            schema["pattern"] = f"^(?:{pattern})$"
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route) -> Iterator[Json]:
    for parameter in parameters(route.query) if route.query else ():
        shown: Json = {"name": parameter.name, "in": "query", "schema": _shown(parameter)}
        if parameter.required:
            shown["required"] = True
        if parameter.described:
            shown["description"] = parameter.described
        yield shown


def _shown(parameter: Parameter) -> Json:
    schema = dict(parameter.schema)
    if schema.get("type") == "string" and not schema.keys() & {"enum", "const", "format", "pattern"}:
        schema["pattern"] = NO_CONTROLS
    return {"type": "array", "items": schema, "maxItems": parameter.most} if parameter.most > 1 else schema


@cache
def _examples() -> Json:
    """Return what is asked and answered in the published contracts, by operation."""
    return cast("Json", orjson.loads(files("api").joinpath("examples.json").read_bytes()))


def _example(route: Route, part: str) -> Json:
    found = _examples().get(f"{route.method} {_PATH_PART.sub(r'{\1}', route.path)}", {})
    return {"example": found[part]} if part in found else {}


def _request_body(route: Route, schemas: "_Schemas") -> Json:
    body = route.body
    if body is not None and issubclass(body, Query):
        fields = parameters(body)
        properties = {one.name: {**_shown(one), "description": one.described} for one in fields}
        schema: Json = {"type": "object", "properties": properties, "required": [one.name for one in fields if one.required]}
    else:
        schema = schemas.of(body, "validation")
    return {"required": not route.body_optional, "content": {route.media: {"schema": schema, **_example(route, "body")}}}


def _responses(route: Route, schemas: "_Schemas") -> Iterator[tuple[int, Json]]:
    feed = feed_of(route.path)
    answers = dict(route.answers) or {200: ...}
    for status, answer in sorted(answers.items()):
        shown: Json = {"description": HTTPStatus(status).phrase, "headers": _headers(feed, status)}
        if answer is ...:
            shown.update(_ANY_JSON)
        elif answer is not None:
            shown["content"] = {"application/json": {"schema": schemas.of(answer, "serialization"), **_example(route, "answer")}}
        if status == 200 and route.text_answers:
            content: Json = {} if answer is ... else shown.get("content", {})
            shown["content"] = {**content, **{media: {"schema": {"type": "string"}} for media in route.text_answers}}
        yield status, shown
    for status in refusals(route):
        name = f"{'Alertmanager' if in_texts(route.path) else (feed or 'gateway').title()}{status}"
        if name not in schemas.refusals:
            schema: Json = {"type": "string"} if in_texts(route.path) else schemas.of(ERROR_MODELS[feed or "local"], "serialization")
            content = {"application/json": {"schema": schema}}
            schemas.refusals[name] = {"description": HTTPStatus(status).phrase, "headers": _headers(feed, status), "content": content}
        yield status, {"$ref": f"#/components/responses/{name}"}


def _headers(feed: Feed | None, status: int) -> Json:
    text: Json = {"schema": {"type": "string"}}
    number: Json = {"schema": {"type": "integer"}}
    headers: Json = {"X-Alert-Feed": {"schema": {"const": feed}}} if feed else {}
    headers |= dict.fromkeys(_RATE, number) if feed == "org" else {}
    headers |= {"WWW-Authenticate": text} if status == HTTPStatus.UNAUTHORIZED else {}
    return headers | ({"Retry-After": number} if status == HTTPStatus.TOO_MANY_REQUESTS else {})


class _Untitled(GenerateJsonSchema):
    """Titles that repeat the name of the key say nothing."""

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


class _Schemas:
    """The schemas of all bodies and answers, with one definition for each model."""

    def __init__(self, routes: Iterable[Route]) -> None:
        wanted: dict[_Key, TypeAdapter[Any]] = {}
        for route in routes:
            if route.body and not issubclass(route.body, Query):
                wanted[_name(route.body), "validation"] = TypeAdapter(route.body)
            for answer in (*route.answers.values(), *ERROR_MODELS.values()):
                if answer is not None:
                    wanted[_name(answer), "serialization"] = TypeAdapter(answer)
        inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [(*key, adapter) for key, adapter in wanted.items()]
        made, rest = TypeAdapter.json_schemas(inputs, ref_template=_REFS, schema_generator=_Untitled)
        self._made = cast("Mapping[_Key, Json]", made)
        self.definitions: Json = rest.get("$defs", {})
        self.refusals: Json = {}
        """The errors, each worded once."""

    def of(self, model: Any, mode: JsonSchemaMode) -> Json:  # noqa: ANN401 - whatever has a schema: a model, a list of one
        """Return the schema of a model."""
        return dict(self._made[_name(model), mode])


def _name(model: Any) -> str:  # noqa: ANN401 - the same
    return f"{model.__module__}.{model.__qualname__}" if isinstance(model, type) else str(model)


def _renamed(document: Json) -> Json:
    """Return the document with short names where models of two feeds have one name: `api__feeds__org__Alert` becomes `OrgAlert`."""
    text = _OURS.sub(lambda match: match[1].title().replace("_", "") + match[2], orjson.dumps(document).decode())
    return cast("Json", orjson.loads(text))
