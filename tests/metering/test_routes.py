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
        ("generativelanguage.googleapis.com", "/v1beta/models/g:generateContent", "gemini.generate_content", Endpoint.CHAT),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/g:streamGenerateContent?alt=sse",
            "gemini.stream_generate_content",
            Endpoint.CHAT,
        ),
        ("generativelanguage.googleapis.com", "/v1beta/models/g:batchEmbedContents", "gemini.embed_content", Endpoint.EMBEDDINGS),
        ("generativelanguage.googleapis.com", "/v1beta/models/g:batchGenerateContent", "batch.create", Endpoint.OTHER),
        ("generativelanguage.googleapis.com", "/v1beta/interactions", "gemini.interactions", Endpoint.CHAT),
        ("aiplatform.googleapis.com", "/v1/p/publishers/google/models/text-embedding-005:predict", "vertex.predict", Endpoint.EMBEDDINGS),
        ("aiplatform.googleapis.com", "/v1/p/publishers/google/models/imagen-4:predict", "vertex.predict", Endpoint.OTHER),
        ("aiplatform.googleapis.com", "/v1/p/publishers/mistralai/models/m:streamRawPredict", "openai.chat", Endpoint.CHAT),
        ("generativelanguage.googleapis.com", "/v1beta/models/veo-3.1-generate-preview:predictLongRunning", "google.films", Endpoint.OTHER),
        ("generativelanguage.googleapis.com", "/v1beta/models/imagen-4.0-generate-001:predict", "vertex.predict", Endpoint.IMAGES),
        ("api.openai.com", "/v1/videos", "openai.videos", Endpoint.OTHER),
        ("api.openai.com", "/v1/videos/video_1/remix", "openai.videos", Endpoint.OTHER),
        ("api.deepgram.com", "/v1/listen?model=nova-3", "deepgram.listen", Endpoint.AUDIO),
        ("api.deepgram.com", "/v1/speak?model=aura-2-thalia-en", "deepgram.speak", Endpoint.AUDIO),
        ("api.replicate.com", "/v1/predictions", "replicate.predictions", Endpoint.OTHER),
        ("api.replicate.com", "/v1/models/meta/llama/predictions", "replicate.predictions", Endpoint.OTHER),
        ("api.replicate.com", "/v1/deployments/acme/app/predictions", "replicate.predictions", Endpoint.OTHER),
        ("api.cohere.com", "/v1/chat", "cohere.chat", Endpoint.CHAT),
        ("api.cohere.com", "/v2/chat", "cohere.chat", Endpoint.CHAT),
        ("api.cohere.com", "/v2/embed", "cohere.embed", Endpoint.EMBEDDINGS),
        ("api.cohere.com", "/v2/rerank", "cohere.rerank", Endpoint.OTHER),
        ("openrouter.ai", "/api/v1/rerank", "openai.rerank", Endpoint.OTHER),
        ("ollama.com", "/api/chat", "ollama.chat", Endpoint.CHAT),
        ("ollama.com", "/api/generate", "ollama.generate", Endpoint.CHAT),
        ("ollama.com", "/api/embeddings", "ollama.embed", Endpoint.EMBEDDINGS),
        ("vllm.local", "/api/chat", "ollama.chat", Endpoint.CHAT),
        ("api.mistral.ai", "/v1/fim/completions", "openai.completions", Endpoint.CHAT),
        ("api.mistral.ai", "/v1/ocr", "mistral.ocr", Endpoint.OTHER),
        ("api.mistral.ai", "/v1/conversations/c", "mistral.conversations", Endpoint.CHAT),
        ("api.openai.com", "/v1/images/generations", "openai.images", Endpoint.IMAGES),
        ("api.openai.com", "/v1/audio/speech", "openai.speech", Endpoint.AUDIO),
        ("api.openai.com", "/v1/audio/translations", "openai.transcriptions", Endpoint.AUDIO),
        ("api.openai.com", "/v1/threads/t/runs", "openai.runs", Endpoint.OTHER),
        ("api.openai.com", "/v1/threads/runs", "openai.runs", Endpoint.OTHER),
        ("api.openai.com", "/v1/threads/t/runs/r/submit_tool_outputs", "openai.runs", Endpoint.OTHER),
        ("api.openai.com", "/v1/batches", "batch.create", Endpoint.OTHER),
        ("api.anthropic.com", "/v1/messages/batches", "batch.create", Endpoint.OTHER),
        ("api.anthropic.com", "/v1/complete", "anthropic.complete", Endpoint.CHAT),
        ("api.x.ai", "/v1/videos/generations", "xai.videos", Endpoint.OTHER),
    ],
)
def test_a_format_that_is_read_is_known_by_how_the_path_ends(host: str, path: str, wire_format: str, endpoint: Endpoint) -> None:
    found = route(provider(host), "POST", path)

    assert (found.wire_format, found.endpoint, found.consumption) == (wire_format, endpoint, Consumption.METERED)


@pytest.mark.parametrize(
    ("host", "path", "operation", "endpoint"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/invoke-with-bidirectional-stream", "other", Endpoint.OTHER),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/async-invoke", "other", Endpoint.OTHER),
        ("api.openai.com", "/v1/something/new", "other", Endpoint.OTHER),
        (
            "bedrock-runtime.us-east-1.amazonaws.com",
            "/model/amazon.nova-sonic-v1:0/invoke-with-bidirectional-stream",
            "other",
            Endpoint.OTHER,
        ),
        ("router.huggingface.co", "/hf-inference/models/openai/whisper-large-v3", "other", Endpoint.OTHER),
        ("api.elevenlabs.io", "/v1/text-to-speech/voice", "speech", Endpoint.AUDIO),
        ("generativelanguage.googleapis.com", "/v1beta/models/lyria:predictLongRunning", "generate_content", Endpoint.OTHER),
        ("generativelanguage.googleapis.com", "/api/chat", "chat", Endpoint.CHAT),
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
        ("GET", "api.openai.com", "/v1/responses/resp_1/input_items"),
        ("DELETE", "api.openai.com", "/v1/responses/resp_1"),
        ("POST", "us-east5-aiplatform.googleapis.com", "/v1/p/publishers/anthropic/models/count-tokens:rawPredict"),
        ("POST", "api.openai.com", "/v1/conversations"),
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


def test_a_websocket_is_read_where_openais_protocols_are_spoken() -> None:
    openai = provider("api.openai.com")

    for path in ("/v1/responses", "/v1/realtime", "/openai/v1/realtime"):
        found = route(openai, "GET", path, websocket=True)
        assert (found.consumption, found.wire_format) == (Consumption.FREE, "openai.websocket")
    assert route(openai, "GET", "/v1/live", websocket=True).consumption is Consumption.UNREAD
    assert route(provider("generativelanguage.googleapis.com"), "GET", "/v1/realtime", websocket=True).consumption is Consumption.UNREAD
    assert route(openai, "GET", "/v1/realtime").consumption is Consumption.UNREAD


@pytest.mark.parametrize(
    ("host", "path", "wire_format"),
    [
        ("api.openai.com", "/v1/responses/resp_1?stream=true", "openai.responses"),
        ("api.openai.com", "/v1/threads/t/runs/r", "openai.runs"),
        ("api.openai.com", "/v1/files/f/content", "openai.batch_results"),
        ("api.anthropic.com", "/v1/messages/batches/b/results", "anthropic.batch_results"),
        ("api.x.ai", "/v1/batches/b/results?limit=100", "xai.batch_results"),
        ("api.x.ai", "/v1/files/f/content", "openai.batch_results"),
        ("openrouter.ai", "/api/beta/batches/b", "openrouter.batch"),
        ("api.openai.com", "/v1/videos/video_1", "openai.videos"),
        ("api.replicate.com", "/v1/predictions/p", "replicate.predictions"),
        ("generativelanguage.googleapis.com", "/v1beta/batches/b", "gemini.batch"),
        ("generativelanguage.googleapis.com", "/download/v1beta/files/f:download?alt=media", "gemini.batch_results"),
        ("generativelanguage.googleapis.com", "/v1beta/interactions/i", "gemini.interactions"),
        ("api.mistral.ai", "/v1/batch/jobs/j", "mistral.batch"),
        ("api.x.ai", "/v1/videos/v", "xai.videos"),
    ],
)
def test_the_result_of_earlier_work_is_read_where_it_is_fetched(host: str, path: str, wire_format: str) -> None:
    found = route(provider(host), "GET", path)

    assert (found.wire_format, found.consumption) == (wire_format, Consumption.RESULT)


@pytest.mark.parametrize(("host", "path"), [("api.anthropic.com", "/v1/batches/b"), ("api.anthropic.com", "/v1/files/f/content")])
def test_what_only_looks_like_a_result_is_free(host: str, path: str) -> None:
    assert route(provider(host), "GET", path).consumption is Consumption.FREE


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models/meta/llama-3/predictions", "meta/llama-3"),
        ("/v1/deployments/acme/my-app/predictions", "acme/my-app"),
        ("/v1/predictions", None),
        ("/v1/predictions/p", None),
    ],
)
def test_a_path_of_replicate_names_owner_and_model(path: str, model: str | None) -> None:
    assert route(provider("api.replicate.com"), "POST", path).model == model
