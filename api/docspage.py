"""The description of the API as one page of plain HTML."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

type Json = Mapping[str, Any]

NO_CONTROLS = r"^[^\x00-\x1F\x7F]*$"
"""What every text in a URL matches, and the page need not say."""
_METHODS = ("get", "post", "put", "patch", "delete")


def page(document: Json) -> str:
    """Return the page of an OpenAPI document."""
    title = f"{document['info']['title']} {document['info']['version']}"
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f'<title>{escape(title)}: the API</title><link rel="stylesheet" href="/docs.css"></head><body>',
            f"<header><h1>{escape(title)}</h1><p>{escape(document['info']['description'])}</p>",
            '<p>For programs: <a href="/openapi.json">openapi.json</a></p></header>',
            f"<nav><ul>{''.join(_contents(document))}</ul></nav><main>",
            *(_group(document, tag) for tag in document["tags"]),
            '<section><h2 id="schemas">Schemas</h2>',
            *(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
            "</section></main></body></html>",
        )
    )


def _contents(document: Json) -> Iterator[str]:
    for tag in document["tags"]:
        yield f'<li><a href="#{escape(tag["name"])}">{escape(tag["name"])}</a> {escape(tag["description"])}</li>'
    yield '<li><a href="#schemas">Schemas</a></li>'


def _group(document: Json, tag: Json) -> str:
    inside = [
        _operation(document, path, method, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item and tag["name"] in item[method]["tags"]
    ]
    return (
        f'<section><h2 id="{escape(tag["name"])}">{escape(tag["name"])}</h2><p>{escape(tag["description"])}</p>{"".join(inside)}</section>'
    )


def _operation(document: Json, path: str, method: str, operation: Json) -> str:
    scope = operation.get("x-scope")
    return "".join(
        (
            f'<article id="{escape(operation["operationId"])}"><h3><span class="{method}">{method.upper()}</span> ',
            f"<code>{escape(path)}</code></h3><p>{escape(operation['summary'])}.</p>",
            f"<p>{escape(operation['description'])}</p>" if operation.get("description") else "",
            f"<p>Scope: <code>{escape(scope)}</code></p>" if scope else "<p>No token needed.</p>",
            _parameters(operation.get("parameters", ())),
            _body(operation.get("requestBody")),
            _responses(document, operation["responses"]),
            "</article>",
        )
    )


def _parameters(parameters: Any) -> str:  # noqa: ANN401 - JSON
    if not parameters:
        return ""
    rows = (
        f"<tr><td><code>{escape(one['name'])}</code>{' (required)' if one.get('required') else ''}</td><td>{escape(one['in'])}</td>"
        f"<td>{_type(one['schema'])}</td><td>{escape(one.get('description', ''))}</td></tr>"
        for one in parameters
    )
    return f"<table><thead><tr><th>parameter</th><th>in</th><th>accepts</th><th></th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _body(body: Json | None) -> str:
    if not body:
        return ""
    ((media, content),) = body["content"].items()
    needed = "" if body["required"] else ", may be left out"
    return f"<p>Body (<code>{escape(media)}</code>{needed}): {_type(content['schema'])}</p>{_shown(content)}"


def _responses(document: Json, responses: Json) -> str:
    rows: list[str] = []
    for status, given in responses.items():
        answer = document["components"]["responses"][given["$ref"].rpartition("/")[2]] if "$ref" in given else given
        kinds = [
            f"{_type(content['schema'])}{_shown(content)}" if media == "application/json" else f"<code>{escape(media)}</code>"
            for media, content in answer.get("content", {}).items()
        ]
        rows.append(f"<tr><td>{status}</td><td>{escape(answer['description'])}</td><td>{' or '.join(kinds)}</td></tr>")
    return f"<table><thead><tr><th>status</th><th></th><th>body</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _shown(content: Json) -> str:
    return f"<details><summary>example</summary><pre>{_text(content['example'])}</pre></details>" if "example" in content else ""


def _schema(name: str, schema: Json) -> str:
    shown = {key: value for key, value in schema.items() if key not in {"title", "description", "examples"}}
    examples = "".join(f"<p>Example</p><pre>{_text(example)}</pre>" for example in schema.get("examples", ()))
    told = f"<p>{escape(schema['description'])}</p>" if "description" in schema else ""
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code>{' (required)' if key in schema.get('required', ()) else ''}</td><td>{_type(value)}</td>"
        f"<td>{escape(str(value.get('description', '')))}</td></tr>"
        for key, value in schema.get("properties", {}).items()
    )
    table = f"<table><tbody>{rows}</tbody></table>" if rows else f"<pre>{_text(shown)}</pre>"
    return f'<details id="schema-{escape(name)}"><summary>{escape(name)}</summary>{told}{table}{examples}</details>'


def _type(schema: Json) -> str:
    """Say what a schema accepts, in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    for words in ("anyOf", "oneOf", "allOf"):
        if words in schema:
            return " or ".join(_type(option) for option in schema[words])
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(word))}</code>" for word in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "properties" in schema:
        return f"<pre>{_text(schema)}</pre>"
    return f"list of {_type(schema.get('items', {}))}" if schema.get("type") == "array" else _plain(schema)


def _plain(schema: Json) -> str:
    limits = {
        key: value
        for key, value in schema.items()
        if value != NO_CONTROLS
        and key in {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "format", "default"}
    }
    told = ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in limits.items())
    return escape(str(schema.get("type", "anything"))) + (f" <small>{escape(told)}</small>" if told else "")


def _text(value: object) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False))
