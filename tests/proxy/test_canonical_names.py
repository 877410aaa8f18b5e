"""The parts of the one meaning: names of models and members, hosts, paths, depth, uploads, what stands inside."""

from typing import Any

import orjson
import pytest

from metering.call import Door
from metering.providers.catalog import provider_of_host
from metering.providers.forms import read_form
from proxy import bodies, canonical, hosts, inside, json_scan, model_names, spelling
from proxy.canonical import Canonical
from proxy.raw import RawRequest, headers_of


def meaning(
    body: bytes = b"", *, path: str = "/v1/chat/completions", host: str = "api.openai.com", method: str = "POST", **fields: str
) -> Canonical:
    provider = provider_of_host(host)
    assert provider is not None
    named = {"content_type": "application/json", **fields}
    headers, repeated = headers_of(tuple((name.replace("_", "-").encode(), value.encode()) for name, value in named.items()))
    raw = RawRequest(
        door=Door.FORWARD,
        provider=provider,
        method=method,
        host=host,
        path=path,
        names=(host,),
        headers=headers,
        repeated=repeated,
        body=body,
    )
    return canonical.canonicalise(raw, cap=1 << 20)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "ft:gpt-4o:acme::abc",
        "us.anthropic.claude-v2:1",
        "\u667a\u8c31-glm",
        "\u043c\u043e\u0434\u0435\u043b\u044c",
        "a/b.c@2",
        "gpt-4.1",
    ],
)
def test_a_plain_name_is_taken(model: str) -> None:
    assert model_names.oddity(model) is None


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("gpt-4\u043e", "two scripts"),
        ("gpt-4o.", "dots"),
        (".gpt-4o", "dots"),
        ("a\\b", "backslash"),
        ("a/../b", "dots"),
        ("gpt\u200b", "signs"),
        (" gpt", "signs"),
        ("\uff47pt", "signs"),
        ("x" * 257, "257 characters"),
    ],
)
def test_a_name_that_may_be_taken_for_another_is_not(model: str, why: str) -> None:
    assert why in (model_names.oddity(model) or "")


@pytest.mark.parametrize(
    ("host", "written", "known"),
    [
        ("generativelanguage.googleapis.com", "models/gemini-x", "gemini-x"),
        ("aiplatform.googleapis.com", "publishers/google/models/gemini-x", "gemini-x"),
        ("aiplatform.googleapis.com", "projects/p/locations/l/publishers/google/models/gemini-x", "gemini-x"),
        ("generativelanguage.googleapis.com", "models/", "models/"),
        ("ollama.com", "registry.ollama.ai/library/llama3", "llama3"),
        ("ollama.com", "LIBRARY/llama3", "llama3"),
        ("ollama.com", "library/", "library/"),
        ("api.openai.com", "models/x", "models/x"),
    ],
)
def test_what_a_provider_takes_off_a_name_is_no_part_of_it(host: str, written: str, known: str) -> None:
    provider = provider_of_host(host)
    assert provider is not None

    assert model_names.plain(provider, written) == known


@pytest.mark.parametrize(("name", "meant"), [("Model", "model"), ("m\u00adodel", "model"), (" stop", "stop"), ("MAXTOKENS", "maxTokens")])
def test_a_twin_is_known(name: str, meant: str) -> None:
    assert spelling.twin_of(name) == meant


@pytest.mark.parametrize("name", ["model", "maxTokens", "temperature", "x-model", "top_p", "\u540d"])
def test_a_name_of_its_own_is_no_twin(name: str) -> None:
    assert spelling.twin_of(name) is None


def test_names_inside_of_schemas_and_arguments_are_their_authors_own() -> None:
    schema = {"type": "object", "properties": {"Model": {"type": "string"}, "Content": {}}, "required": ["Content"]}
    call = {"type": "tool_use", "id": "1", "name": "a", "input": {"Text": "x"}}
    tool = {"type": "function", "function": {"name": "a", "parameters": schema}}

    spelling.refuse_twins({"model": "m", "tools": [tool], "messages": [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}]})
    with pytest.raises(ValueError, match="'Text' may be read as 'text'"):
        spelling.refuse_twins({"messages": [{"content": [call]}]})


def test_names_are_looked_at_again_when_too_many_were_remembered() -> None:
    for start in range(0, 24_000, 4_000):
        spelling.refuse_twins({f"name-{number}": 1 for number in range(start, start + 4_000)})

    with pytest.raises(ValueError, match="may be read as"):
        spelling.refuse_twins({"name-1": 1, "Model": 2})


@pytest.mark.parametrize(
    ("data", "much"),
    [
        (b'{"a":' * 64 + b"1" + b"}" * 64, None),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "deeper"),
        (b'{"a":"' + b"[" * 500 + b'"}', None),
        (b'{"a":"\\"' + b"[" * 500 + b'"}', None),
        (b'{"a":"\\\\","b":' + b"[" * 70 + b"]" * 70 + b"}", "deeper"),
        (b'{"a":[' + b"[]," * 80 + b"[]]}", None),
        (b'{"a":[' + b'"x",' * 900_000 + b'""]}', "200,000 values"),
        (b'{"a":"' + b"," * 300_000 + b'","b":[' + b"[]," * 70 + b"[]]}", None),
        (b'{"a":"' + b"," * 300_000 + b'"}', None),
        (b'{"a":[' + b"{}," * 150_000 + b"{}]}", "200,000 values"),
    ],
)
def test_depth_and_size_are_told_without_parsing(data: bytes, much: str | None) -> None:
    found = json_scan.too_much(data)

    assert found is None if much is None else much in (found or "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("API.OpenAI.com.", "api.openai.com", True),
        ("\uff41pi.openai.com", "api.openai.com", True),
        ("api\u3002openai.com", "api.openai.com", True),
        ("a", "b", False),
    ],
)
def test_hosts_are_compared_as_a_resolver_takes_them(one: str, other: str, same: bool) -> None:  # noqa: FBT001  # a column
    assert (hosts.same_host(one) == hosts.same_host(other)) is same


def test_telemetry_of_clients_is_not_looked_at() -> None:
    found = meaning(b'[{"Model":1,"model":"x"', path="/api/event_logging/batch", host="api.anthropic.com")

    assert (found.rejected, found.model) == (None, None)


def test_what_is_no_json_and_names_no_model_passes_an_unread_endpoint() -> None:
    assert meaning(b"{not json", path="/v1/brand/new").rejected is None
    assert meaning(b"\x00\x01RIFF", path="/v1/brand/new").rejected is None
    assert meaning(b"", path="/v1/brand/new").rejected is None


def test_a_body_of_an_unread_endpoint_names_a_model_where_it_stands() -> None:
    body = orjson.dumps({"a": [{"model": "deep", "data": "x" * 5000, "b": 1}], "model_id": "flat", "tools": "none", "note": "say it"})

    found = meaning(body, path="/v1/brand/new")

    assert found.model == "flat"
    assert {part.model for part in found.parts if part.model} == {"deep"}
    assert [part.prompt.texts for part in found.parts if part.prompt] == [("deep", "flat", "none", "say it")]


def test_models_of_a_query_stand_beside_those_of_the_body() -> None:
    found = meaning(b'{"model":"one"}', path="/v1/brand/new?model=two&x=y")
    bare = meaning(b"RIFF", path="/v1/brand/new?model=nova&model=other", content_type="audio/wav")

    assert (found.model, [part.model for part in found.parts if part.model]) == ("one", ["two"])
    assert (bare.model, [part.model for part in bare.parts]) == ("nova", ["other"])


def test_tools_that_have_no_meaning_are_none_in_a_body_that_is_not_read() -> None:
    assert inside.unread({"tools": [1]}, prompts=False) == (None, ())


@pytest.mark.parametrize("line", [b'{"custom_id":"1"}', b"[]", b"text", b'{"body":1}'])
def test_a_file_that_holds_no_requests_is_not_read_as_a_batch(line: bytes) -> None:
    assert inside.looks_like_lines(line) is False


def test_a_batch_may_hold_requests_that_are_not_read() -> None:
    provider = provider_of_host("api.openai.com")
    assert provider is not None
    lines = b'{"custom_id":"1","url":"/v1/brand/new","body":{"model":"m","prompt":"say"}}\n\n{"body":{"model":"n","x":[1]}}'

    found = inside.lines(lines, provider)

    assert [part.model for part in found] == ["m", "n"]
    with pytest.raises(ValueError, match="line 2 of the file: a chat request needs `messages`"):
        inside.lines(lines.split(b"\n")[0] + b'\n{"url":"/v1/chat/completions","body":{"model":"m"}}', provider)


def test_an_upload_that_is_no_batch_is_left_alone() -> None:
    purpose = b'--XX\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    form = purpose + b'--XX\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--XX--\r\n'
    for content in (b"plain text", b'{"a":1}', b"\x89PNG"):
        found = meaning(form % content, path="/v1/files", content_type="multipart/form-data; boundary=XX")
        assert (found.rejected, found.parts, found.facts) == (None, (), None)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b'content-disposition: form-data; name="a"\ncontent-disposition: form-data; name="b"', "two ways"),
        (b'content-disposition: form-data; name="a"\r\ncontent-disposition: form-data; name="b"', "two ways"),
        (b'content-disposition: form-data; name="a"; name="b"', "more than one name"),
        (b'content-disposition: form-data; name="a\\\\b"', "backslash"),
        (b"content-type: text/plain", "no name"),
        (b'content-disposition: form-data; name="a"\r\ncontent-transfer-encoding: base64', "encoded once more"),
    ],
)
def test_a_part_that_servers_read_differently_is_refused(head: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_form(b"--XX\r\n" + head + b"\r\n\r\nx\r\n--XX--\r\n", content_type="multipart/form-data; boundary=XX")


def test_models_in_headers_are_judged_too() -> None:
    assert [part.model for part in bodies.header_models({b"azureml-model-deployment": b" m "})] == ["m"]


def test_a_body_named_model_on_a_path_with_another_is_judged_where_nobody_knows_which_counts() -> None:
    body = orjson.dumps({"model": "b", "prompt": "x"})

    engines = meaning(body, path="/v1/engines/a/completions")
    azure = meaning(body, path="/openai/deployments/a/completions", host="acme.openai.azure.com")

    assert (engines.model, [part.model for part in engines.parts]) == ("a", ["b"])
    assert (azure.model, azure.parts) == ("a", ())


async def test_connect_by_fullwidth_letters_leads_to_the_same_provider(house: Any) -> None:
    assert house.proxy.addon._forward.provider("\uff41pi.openai.com").id == "openai"  # noqa: SLF001  # no client can write it otherwise
