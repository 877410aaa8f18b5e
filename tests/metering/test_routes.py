"""What a path is for."""

import pytest

from metering.call import Consumption, Endpoint
from metering.providers.catalog import provider_of_host, route
from metering.providers.provider import Provider


def provider(host: str) -> Provider:
    found = provider_of_host(host, ("*.local",))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("host", "path", "wire_format", "endpoint"),
    [
        ("api.openai.com", "/v1/chat/completions", "openai.chat", Endpoint.CHAT),
        ("api.openai.com", "/v1/chat/completions?x=/v1/embeddings", "openai.chat", Endpoint.CHAT),
        ("api.openai.com", "/v1/responses", "openai.responses", Endpoint.RESPONSES),
        ("api.openai.com", "/v1/responses/compact", "openai.responses", Endpoint.RESPONSES),
        ("api.openai.com", "/v1/embeddings/", "openai.embeddings", Endpoint.EMBEDDINGS),
        ("api.openai.com", "/v1/completions", "openai.completions", Endpoint.CHAT),
        ("chatgpt.com", "/backend-api/codex/responses", "openai.responses", Endpoint.RESPONSES),
        ("api.anthropic.com", "/v1/messages", "anthropic.messages", Endpoint.MESSAGES),
        ("generativelanguage.googleapis.com", "/v1beta/openai/chat/completions", "openai.chat", Endpoint.CHAT),
        (
            "us-east5-aiplatform.googleapis.com",
            "/v1/p/publishers/anthropic/models/claude:rawPredict",
            "anthropic.messages",
            Endpoint.MESSAGES,
        ),
        ("api.cloudflare.com", "/client/v4/accounts/a/ai/v1/chat/completions", "openai.chat", Endpoint.CHAT),
        ("x.azuredatabricks.net", "/serving-endpoints/chat/completions", "openai.chat", Endpoint.CHAT),
        ("api.mistral.ai", "/v1/agents/completions", "openai.chat", Endpoint.CHAT),
        ("vllm.local", "/anything/v1/completions", "openai.completions", Endpoint.CHAT),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse", "bedrock.converse", Endpoint.CHAT),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse-stream", "bedrock.converse_stream", Endpoint.CHAT),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/invoke", "bedrock.invoke", Endpoint.CHAT),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/invoke-with-response-stream", "bedrock.invoke_stream", Endpoint.CHAT),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/us.cohere.embed-v4%3A0/invoke", "bedrock.invoke", Endpoint.EMBEDDINGS),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/openai/v1/chat/completions", "openai.chat", Endpoint.CHAT),
        ("bedrock-mantle.us-east-1.api.aws", "/openai/v1/responses", "openai.responses", Endpoint.RESPONSES),
        ("bedrock-mantle.us-east-1.api.aws", "/anthropic/v1/messages", "anthropic.messages", Endpoint.MESSAGES),
        ("gateway.local", "/bedrock/model/m/converse", "bedrock.converse", Endpoint.CHAT),
    ],
)
def test_a_format_that_is_read_is_known_by_how_the_path_ends(host: str, path: str, wire_format: str, endpoint: Endpoint) -> None:
    found = route(provider(host), "POST", path)

    assert (found.wire_format, found.endpoint, found.consumption) == (wire_format, endpoint, Consumption.METERED)


@pytest.mark.parametrize(
    ("host", "path", "operation", "endpoint"),
    [
        ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-pro:streamGenerateContent", "generate_content", Endpoint.CHAT),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/invoke-with-bidirectional-stream", "other", Endpoint.OTHER),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/async-invoke", "other", Endpoint.OTHER),
        ("api.cohere.com", "/v2/chat", "chat", Endpoint.CHAT),
        ("api.openai.com", "/v1/images/generations", "image_generation", Endpoint.IMAGES),
        ("api.openai.com", "/v1/audio/speech", "speech", Endpoint.AUDIO),
        ("api.openai.com", "/v1/audio/transcriptions", "transcription", Endpoint.AUDIO),
        ("api.openai.com", "/v1/threads/t/runs", "other", Endpoint.OTHER),
        ("api.openai.com", "/v1/threads/runs", "other", Endpoint.OTHER),
        ("api.anthropic.com", "/v1/messages/batches", "batch", Endpoint.OTHER),
        ("ollama.com", "/api/chat", "chat", Endpoint.CHAT),
        ("api.openai.com", "/v1/something/new", "other", Endpoint.OTHER),
    ],
)
def test_what_may_cost_and_is_not_read_is_unread(host: str, path: str, operation: str, endpoint: Endpoint) -> None:
    found = route(provider(host), "POST", path)

    assert (found.operation, found.endpoint, found.consumption, found.wire_format) == (operation, endpoint, Consumption.UNREAD, None)


@pytest.mark.parametrize(
    ("method", "host", "path"),
    [
        ("POST", "api.anthropic.com", "/v1/messages/count_tokens"),
        ("POST", "api.openai.com", "/v1/responses/input_tokens"),
        ("POST", "generativelanguage.googleapis.com", "/v1beta/models/g:countTokens"),
        ("POST", "bedrock-runtime.us-east-1.amazonaws.com", "/model/m/count-tokens"),
        ("POST", "api.openai.com", "/v1/moderations"),
        ("POST", "api.openai.com", "/v1/files"),
        ("POST", "api.openai.com", "/v1/chat/completions/chatcmpl-1"),
        ("POST", "api.anthropic.com", "/api/event_logging/batch"),
        ("POST", "chatgpt.com", "/backend-api/codex/analytics-events/events"),
        ("POST", "api.openai.com", "/v1/threads/t/messages"),
        ("POST", "api.openai.com", "/v1/responses/resp_1/cancel"),
        ("GET", "api.openai.com", "/v1/models"),
        ("GET", "api.openai.com", "/v1/responses/resp_1"),
        ("GET", "api.openai.com", "/v1/chat/completions"),
        ("DELETE", "api.anthropic.com", "/v1/files/f"),
        ("HEAD", "api.anthropic.com", "/"),
        ("POST", "api.cloudflare.com", "/client/v4/zones"),
        ("POST", "chatgpt.com", "/backend-api/conversation"),
    ],
)
def test_counts_lists_and_control_calls_are_free(method: str, host: str, path: str) -> None:
    assert route(provider(host), method, path).consumption is Consumption.FREE


def test_lists_and_files_have_their_own_classes() -> None:
    openai = provider("api.openai.com")

    assert route(openai, "GET", "/v1/models/gpt-4o").endpoint is Endpoint.MODELS
    assert route(openai, "GET", "/v1/files/f").endpoint is Endpoint.FILES
    assert route(openai, "POST", "/v1/files").endpoint is Endpoint.FILES


@pytest.mark.parametrize(
    ("host", "path", "model"),
    [
        ("r.openai.azure.com", "/openai/deployments/gpt-4o-eu/chat/completions?api-version=1", "gpt-4o-eu"),
        ("generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/anthropic.claude-v2%3A1/converse", "anthropic.claude-v2:1"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/us.nova-lite-v1:0/converse", "us.nova-lite-v1:0"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/a%253Ab/invoke", "a%3Ab"),
        (
            "bedrock-runtime.us-east-1.amazonaws.com",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.nova-lite-v1%3A0/invoke-with-response-stream",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.nova-lite-v1:0",
        ),
        (
            "bedrock-runtime.us-east-1.amazonaws.com",
            "/model/arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0/converse-stream",
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        ),
        ("api.openai.com", "/v1/chat/completions", None),
    ],
)
def test_a_model_in_the_path_is_found(host: str, path: str, model: str | None) -> None:
    assert route(provider(host), "POST", path).model == model


def test_a_websocket_is_unread_wherever_it_goes() -> None:
    openai = provider("api.openai.com")

    assert route(openai, "GET", "/v1/responses", websocket=True).consumption is Consumption.UNREAD
    assert route(openai, "GET", "/v1/realtime").consumption is Consumption.UNREAD
