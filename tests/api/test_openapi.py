"""The description of the API says what the route table says, and a validator that others use agrees that it is one."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.app import ROUTES, create_app
from api.openapi import DESCRIBED, Described, refusals, tag_of
from api.params import Query
from api.route import FORM, JSON, Ask, Route
from api.scopes import Scope
from api.services import Services
from api.settings import ApiSettings
from tollwatch import __version__, cli


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(Described(ROUTES, version="1.2.3").text)


def path_of(route: Route) -> str:
    return re.sub(r"\{(\w+):[^/]+\}", r"{\1}", route.path)


def operation_of(document: Any, route: Route) -> Any:
    return document["paths"][path_of(route)][route.method.lower()]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_the_document_is_valid(document: Any) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", "1.2.3")


def test_it_has_each_route_and_no_other(document: Any) -> None:
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}

    assert described == {(route.method, path_of(route)) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_each_operation_says_who_may_what_is_asked_and_what_is_answered(document: Any, route: Route) -> None:
    operation = operation_of(document, route)

    assert operation["summary"] == route.summary
    assert operation["tags"] == [tag_of(route)]
    assert operation.get("x-scope") == route.scope
    assert bool(operation["security"]) == (route.scope is not None)
    assert route.answers, "the route says nothing of its answers"
    assert {int(status) for status in operation["responses"]} == {*route.answers, *refusals(route)}
    asked = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    assert asked == (set(route.query.model_json_schema()["properties"]) if route.query else set())
    assert ("requestBody" in operation) == (route.body is not None)
    if route.body:
        assert list(operation["requestBody"]["content"]) == [route.media]


def test_operations_have_names_of_their_own(document: Any) -> None:
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]

    assert sorted(names) == sorted(set(names))


def test_the_tags_are_the_feeds_and_what_is_around_them(document: Any) -> None:
    assert {tag["name"] for tag in document["tags"]} == {tag_of(route) for route in ROUTES}


def test_every_parameter_has_bounds(document: Any) -> None:
    loose = []
    for path, item in document["paths"].items():
        for operation in item.values():
            for one in operation.get("parameters", ()):
                schema = one["schema"].get("items", one["schema"])
                bounds = {"integer": ("minimum", "maximum"), "string": ("maxLength",)}.get(schema["type"], ())
                if not ({"enum", "const"} & schema.keys()) and not all(bound in schema for bound in bounds):
                    loose.append(f"{path} {one['name']}")

    assert loose == []


class Client(Query):
    """A form."""

    grant: str
    scope: str | None = None


async def nothing(ask: Ask) -> Any:
    del ask


def described(**route: Any) -> Any:
    made = Route(**{"method": "GET", "path": "/v1/x", "handler": nothing, "scope": Scope.ALERTS_READ, "summary": "x", **route})
    document = Described([made], version="1").document
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    return document, operation_of(document, made)


def test_a_pattern_of_the_path_is_one_of_its_parameter() -> None:
    _, operation = described(path="/api/v1/x/{id:alert-[0-9]{1,9}}/do", feed="rules")

    (parameter,) = operation["parameters"]
    assert (parameter["name"], parameter["schema"]["pattern"]) == ("id", "^(?:alert-[0-9]{1,9})$")
    assert operation["security"] == [{"token": ["alerts:read"]}, {"rules_key": ["alerts:read"]}]


def test_a_form_is_described_by_its_fields() -> None:
    _, operation = described(method="POST", body=Client, media=FORM)

    schema = operation["requestBody"]["content"][FORM]["schema"]
    assert (set(schema["properties"]), schema["required"]) == ({"grant", "scope"}, ["grant"])


def test_errors_are_described_in_the_words_of_the_feed() -> None:
    document, operation = described(errors=(409,))

    answer = document["components"]["responses"][operation["responses"]["409"]["$ref"].rpartition("/")[2]]
    assert answer["content"][JSON]["schema"] == {"$ref": "#/components/schemas/OrgError"}
    assert {"X-Alert-Feed", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer["headers"])


def test_a_route_without_answers_is_described_as_any_json() -> None:
    assert described()[1]["responses"]["200"]["content"] == {JSON: {"schema": {}}}


def test_each_example_is_as_it_is_described(document: Any) -> None:
    examples = json.loads(files("api").joinpath("examples.json").read_text(encoding="utf-8"))
    shown, wrong = [], []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
            contents += [answer["content"] for answer in operation["responses"].values() if "content" in answer]
            for content in contents:
                if "example" in content.get(JSON, {}):
                    shown.append(f"{method.upper()} {path}")
                    validator = Draft202012Validator({**content[JSON]["schema"], "components": document["components"]})
                    wrong += [f"{method} {path}: {error.message}" for error in validator.iter_errors(content[JSON]["example"])]

    assert wrong == []
    assert set(shown) == set(examples)


def test_the_models_have_names_of_their_own(document: Any) -> None:
    assert [name for name in document["components"]["schemas"] if not re.fullmatch("_?[A-Z][A-Za-z0-9]*(-Input|-Output)?", name)] == []


async def test_a_feed_that_is_switched_off_is_not_described(services: Services, settings: ApiSettings) -> None:
    off = replace(services, settings=settings.model_copy(update={"feeds": ("local",)}))

    document = create_app(off)[DESCRIBED].document

    assert {tag["name"] for tag in document["tags"]} == {tag_of(route) for route in ROUTES if route.feed in {None, "local"}}
    assert "/v1/alerts" not in document["paths"]


async def test_the_gateway_serves_it(gateway: Any) -> None:
    answer = await gateway.ask("GET", "/openapi.json")

    assert answer.status == 200
    assert answer.body["paths"].keys() == Described(ROUTES, version="").document["paths"].keys()


class Page(HTMLParser):
    """What a page refers to, and what it runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.odd: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag not in {"meta", "link"}:
            self.open.append(tag)
        self.ids += [str(value) for name, value in names.items() if name == "id"]
        self.links += [str(value) for name, value in names.items() if name in {"href", "src"}]
        self.odd += [name for name in names if name == "style" or name.startswith("on")]
        self.odd += [tag] if tag in {"script", "style", "iframe"} else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


async def test_the_page_needs_neither_scripts_nor_a_network(gateway: Any) -> None:
    answer = await gateway.ask("GET", "/docs")
    page = Page(answer.raw.decode())

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    assert (page.odd, page.open) == ([], [])
    assert {link for link in page.links if not link.startswith("#")} == {"/docs.css", "/openapi.json"}
    assert [link for link in page.links if link.startswith("#") and link[1:] not in page.ids] == []
    assert len(page.ids) == len(set(page.ids))


async def test_the_page_names_each_route_and_its_style_is_served(gateway: Any) -> None:
    page = (await gateway.ask("GET", "/docs")).raw.decode()
    style = await gateway.ask("GET", "/docs.css")

    assert [route.path for route in ROUTES if f"<code>{path_of(route)}</code>" not in page] == []
    assert (style.status, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert b"body {" in style.raw


def test_the_command_prints_it_without_a_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["openapi"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed == Described(ROUTES, version=__version__).document
