"""Who answers on a host, and where the base-URL door leads."""

import pytest

from metering.providers.catalog import CANARY_HOST, PROBE_HOST, PROVIDERS, all_host_patterns, provider_of_host, provider_of_prefix
from metering.providers.targets import target


@pytest.mark.parametrize(
    ("host", "provider_id"),
    [
        ("api.openai.com", "openai"),
        ("API.OpenAI.com.", "openai"),
        ("eu.api.openai.com", "openai"),
        ("chatgpt.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        ("my-resource.openai.azure.com", "azure.ai.openai"),
        ("my-resource.cognitiveservices.azure.com", "azure.ai.openai"),
        ("my-resource.services.ai.azure.com", "azure.ai.inference"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
        ("bedrock-mantle.us-east-1.api.aws", "aws.bedrock"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "aws.bedrock"),
        ("bedrock-runtime.eu-west-1.api.aws", "aws.bedrock"),
        ("vpce-0a1b-2c3d.bedrock-runtime.us-east-1.vpce.amazonaws.com", "aws.bedrock"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("us-east5-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("api.mistral.ai", "mistral_ai"),
        ("api.cohere.com", "cohere"),
        ("api.groq.com", "groq"),
        ("api.deepseek.com", "deepseek"),
        ("api.x.ai", "x_ai"),
        ("openrouter.ai", "openrouter"),
        ("api.perplexity.ai", "perplexity"),
        ("api.deepgram.com", "deepgram"),
        ("api.eu.deepgram.com", "deepgram"),
        ("api.replicate.com", "replicate"),
        ("adb-138962681435081.1.azuredatabricks.net", "databricks"),
        (CANARY_HOST, "tollwatch"),
        (PROBE_HOST, "tollwatch"),
    ],
)
def test_a_provider_is_known_by_its_host(host: str, provider_id: str) -> None:
    found = provider_of_host(host)

    assert found is not None
    assert found.id == provider_id


@pytest.mark.parametrize("host", ["example.com", "api.openai.com.evil.example", "openai.azure.com", "s3.us-east-1.amazonaws.com", ""])
def test_other_hosts_are_nobodys(host: str) -> None:
    assert provider_of_host(host) is None


def test_a_host_from_the_config_is_an_openai_compatible_server_of_its_own_name() -> None:
    found = provider_of_host("vllm.corp.example", ("*.corp.example",))

    assert found is not None
    assert (found.id, found.name) == ("openai_compatible", "vllm.corp.example")


def test_a_known_provider_stays_itself_under_a_glob_of_the_config() -> None:
    found = provider_of_host("api.openai.com", ("*",))

    assert found is not None
    assert found.id == "openai"


def test_prefixes_and_exact_hosts_are_each_taken_once() -> None:
    prefixes = [provider.prefix for provider in PROVIDERS if provider.prefix]
    hosts = all_host_patterns()

    assert len(prefixes) == len(set(prefixes))
    assert len(hosts) == len(set(hosts))
    assert CANARY_HOST in hosts


def test_an_unknown_prefix_leads_nowhere() -> None:
    assert provider_of_prefix("nowhere") is None
    assert target("nowhere", "/v1/models") is None


@pytest.mark.parametrize(
    ("prefix", "rest", "url"),
    [
        ("openai", "/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("openai", "/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("openai", "/v1/responses?stream=true", "https://api.openai.com/v1/responses?stream=true"),
        ("anthropic", "/messages", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "/v1/messages?beta=true", "https://api.anthropic.com/v1/messages?beta=true"),
        ("groq", "/openai/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
        ("groq", "/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
        ("openrouter", "/v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
        ("openrouter", "/api/v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
        ("openrouter", "/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
        (
            "gemini",
            "/models/gemini-2.5-pro:generateContent",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent",
        ),
        ("cohere", "/v2/chat", "https://api.cohere.com/v2/chat"),
        ("ollama", "/api/chat", "http://127.0.0.1:11434/api/chat"),
        (
            "azure",
            "/res/openai/deployments/d/chat/completions?api-version=1",
            "https://res.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
        ),
        ("azure", "/res/models/chat/completions", "https://res.services.ai.azure.com/models/chat/completions"),
        ("bedrock", "/model/m/converse", "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse"),
        ("bedrock", "/eu-central-1/model/m/converse", "https://bedrock-runtime.eu-central-1.amazonaws.com/model/m/converse"),
        ("bedrock-mantle", "/v1/responses", "https://bedrock-mantle.us-east-1.api.aws/v1/responses"),
        ("bedrock-mantle", "/us-west-2/openai/v1/responses", "https://bedrock-mantle.us-west-2.api.aws/openai/v1/responses"),
        (
            "vertex",
            "/v1/projects/p/locations/us-east5/publishers/x",
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/x",
        ),
        (
            "vertex",
            "/v1/projects/p/locations/global/publishers/x",
            "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/x",
        ),
    ],
)
def test_a_prefix_leads_to_its_provider(prefix: str, rest: str, url: str) -> None:
    found = target(prefix, rest)

    assert found is not None
    assert found.url == url


def test_the_azure_services_host_is_the_inference_provider() -> None:
    found = target("azure", "/res/models/chat/completions")

    assert found is not None
    assert found.provider.id == "azure.ai.inference"


@pytest.mark.parametrize("resource", ["evil.example", "a/../b", "", "-x", "evil.example#", "x@y", "a" * 64])
def test_an_azure_resource_that_is_no_host_label_leads_nowhere(resource: str) -> None:
    found = target("azure", f"/{resource}/openai/v1/models")

    assert found is None or found.upstream.endswith(".azure.com")


def test_a_configured_address_replaces_the_built_in_one() -> None:
    found = target("openai", "/v1/chat/completions", {"openai": "http://127.0.0.1:9/base/"})

    assert found is not None
    assert (found.url, found.provider.id) == ("http://127.0.0.1:9/base/v1/chat/completions", "openai")


def test_a_configured_prefix_is_a_compatible_server_or_the_provider_of_its_host() -> None:
    upstreams = {"vllm": "http://127.0.0.1:8000", "team": "https://api.deepseek.com"}

    vllm, team = target("vllm", "/v1/models", upstreams), target("team", "/chat/completions", upstreams)

    assert vllm is not None
    assert team is not None
    assert (vllm.provider.id, vllm.provider.name) == ("openai_compatible", "127.0.0.1")
    assert team.provider.id == "deepseek"
