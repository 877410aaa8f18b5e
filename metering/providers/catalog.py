"""The providers that tollwatch knows, by the hosts they answer on."""

from collections.abc import Sequence
from functools import lru_cache

from metering.providers.provider import Dialect, Provider, host_pattern
from metering.providers.routes import Route, route

__all__ = [
    "CANARY_HOST",
    "PROBE_HOST",
    "PROVIDERS",
    "Dialect",
    "Provider",
    "Route",
    "all_host_patterns",
    "compatible",
    "provider_of_host",
    "provider_of_prefix",
    "route",
]

CANARY_HOST = "canary.tollwatch.invalid"
PROBE_HOST = "probe.tollwatch.invalid"

TOLLWATCH = Provider(id="tollwatch", name="tollwatch", hosts=(CANARY_HOST, PROBE_HOST))
"""Answers nothing and costs nothing: the start-up canary and `doctor` send calls to it, to prove the path without a provider."""

_FAMILIES = (
    Provider(
        id="openai",
        name="openai",
        hosts=("api.openai.com", "*.api.openai.com"),
        prefix="openai",
        upstream="https://api.openai.com",
        roots=("/v1",),
        usage_option=True,
    ),
    Provider(
        id="openai",
        name="chatgpt",
        hosts=("chatgpt.com",),
        prefix="chatgpt",
        upstream="https://chatgpt.com",
        ai_paths=("/backend-api/codex/",),
    ),
    Provider(
        id="anthropic",
        name="anthropic",
        hosts=("api.anthropic.com",),
        prefix="anthropic",
        upstream="https://api.anthropic.com",
        dialect=Dialect.ANTHROPIC,
        roots=("/v1", "/api"),
    ),
    Provider(
        id="azure.ai.openai",
        name="azure",
        hosts=("*.openai.azure.com", "*.cognitiveservices.azure.com"),
        prefix="azure",
        usage_option=True,
    ),
    Provider(
        id="azure.ai.inference", name="azure-ai", hosts=("*.services.ai.azure.com", "*.models.ai.azure.com", "*.inference.ai.azure.com")
    ),
    Provider(
        id="aws.bedrock",
        name="bedrock",
        hosts=(
            "bedrock-runtime.*.amazonaws.com",
            "bedrock-runtime-fips.*.amazonaws.com",
            "bedrock-runtime.*.api.aws",
            "bedrock-runtime-fips.*.api.aws",
            "*.bedrock-runtime.*.vpce.amazonaws.com",
        ),
        prefix="bedrock",
        upstream="https://bedrock-runtime.us-east-1.amazonaws.com",
        dialect=Dialect.BEDROCK,
    ),
    Provider(
        id="aws.bedrock",
        name="bedrock-mantle",
        hosts=("bedrock-mantle.*.api.aws",),
        prefix="bedrock-mantle",
        upstream="https://bedrock-mantle.us-east-1.api.aws",
    ),
    Provider(
        id="gcp.gemini",
        name="gemini",
        hosts=("generativelanguage.googleapis.com",),
        prefix="gemini",
        upstream="https://generativelanguage.googleapis.com",
        dialect=Dialect.GEMINI,
        roots=("/v1beta", "/v1", "/v1alpha", "/upload"),
    ),
    Provider(
        id="gcp.vertex_ai",
        name="vertex",
        hosts=("*-aiplatform.googleapis.com", "aiplatform.googleapis.com", "aiplatform.*.rep.googleapis.com"),
        prefix="vertex",
        upstream="https://aiplatform.googleapis.com",
        dialect=Dialect.GEMINI,
    ),
    Provider(
        id="mistral_ai",
        name="mistral",
        hosts=("api.mistral.ai", "codestral.mistral.ai"),
        prefix="mistral",
        upstream="https://api.mistral.ai",
        dialect=Dialect.MISTRAL,
        roots=("/v1",),
    ),
    Provider(
        id="cohere",
        name="cohere",
        hosts=("api.cohere.com", "api.cohere.ai"),
        prefix="cohere",
        upstream="https://api.cohere.com",
        dialect=Dialect.COHERE,
    ),
    Provider(id="ollama", name="ollama", hosts=("ollama.com",), prefix="ollama", upstream="http://127.0.0.1:11434", dialect=Dialect.OLLAMA),
)

_COMPATIBLE = (
    Provider(
        id="groq",
        name="groq",
        hosts=("api.groq.com",),
        prefix="groq",
        upstream="https://api.groq.com",
        roots=("/openai/v1",),
        usage_option=True,
    ),
    Provider(
        id="deepseek",
        name="deepseek",
        hosts=("api.deepseek.com",),
        prefix="deepseek",
        upstream="https://api.deepseek.com",
    ),
    Provider(id="x_ai", name="xai", hosts=("api.x.ai", "*.api.x.ai"), prefix="xai", upstream="https://api.x.ai", roots=("/v1",)),
    Provider(
        id="openrouter",
        name="openrouter",
        hosts=("openrouter.ai",),
        prefix="openrouter",
        upstream="https://openrouter.ai/api",
        roots=("/v1",),
    ),
    Provider(id="perplexity", name="perplexity", hosts=("api.perplexity.ai",), prefix="perplexity", upstream="https://api.perplexity.ai"),
    Provider(
        id="together",
        name="together",
        hosts=("api.together.xyz", "api.together.ai"),
        prefix="together",
        upstream="https://api.together.xyz",
        roots=("/v1",),
    ),
    Provider(
        id="fireworks",
        name="fireworks",
        hosts=("api.fireworks.ai",),
        prefix="fireworks",
        upstream="https://api.fireworks.ai/inference",
        roots=("/v1",),
    ),
    Provider(
        id="cerebras", name="cerebras", hosts=("api.cerebras.ai",), prefix="cerebras", upstream="https://api.cerebras.ai", roots=("/v1",)
    ),
    Provider(
        id="huggingface",
        name="huggingface",
        hosts=("router.huggingface.co", "api-inference.huggingface.co", "*.endpoints.huggingface.cloud"),
        prefix="huggingface",
        upstream="https://router.huggingface.co",
    ),
    Provider(
        id="vercel",
        name="vercel",
        hosts=("ai-gateway.vercel.sh",),
        prefix="vercel",
        upstream="https://ai-gateway.vercel.sh",
        roots=("/v1",),
    ),
    Provider(
        id="voyageai",
        name="voyage",
        hosts=("api.voyageai.com",),
        prefix="voyage",
        upstream="https://api.voyageai.com",
        roots=("/v1",),
    ),
    Provider(id="zai", name="zai", hosts=("api.z.ai", "open.bigmodel.cn"), prefix="zai", upstream="https://api.z.ai"),
    Provider(
        id="moonshot_ai",
        name="moonshot",
        hosts=("api.moonshot.ai", "api.moonshot.cn"),
        prefix="moonshot",
        upstream="https://api.moonshot.ai",
        roots=("/v1",),
    ),
    Provider(id="avian", name="avian", hosts=("api.avian.io",), prefix="avian", upstream="https://api.avian.io", roots=("/v1",)),
    Provider(id="novita", name="novita", hosts=("api.novita.ai",), prefix="novita", upstream="https://api.novita.ai"),
    Provider(id="nebius", name="nebius", hosts=("api.studio.nebius.com", "api.tokenfactory.nebius.com")),
    Provider(id="sambanova", name="sambanova", hosts=("api.sambanova.ai",)),
    Provider(id="nvidia", name="nvidia", hosts=("integrate.api.nvidia.com",)),
    Provider(id="minimax", name="minimax", hosts=("api.minimax.io", "api.minimaxi.com")),
    Provider(id="ai21", name="ai21", hosts=("api.ai21.com",)),
    Provider(id="baseten", name="baseten", hosts=("inference.baseten.co",)),
    Provider(id="crusoe", name="crusoe", hosts=("api.inference.crusoecloud.com",)),
    Provider(id="heroku", name="heroku", hosts=("*.inference.heroku.com",)),
    Provider(id="github.copilot", name="copilot", hosts=("api.githubcopilot.com", "*.githubcopilot.com")),
    Provider(id="github.models", name="github-models", hosts=("models.github.ai",)),
    Provider(id="cloudflare", name="cloudflare", hosts=("api.cloudflare.com",), ai_paths=("/ai/",)),
    Provider(
        id="databricks",
        name="databricks",
        hosts=("*.azuredatabricks.net", "*.cloud.databricks.com", "*.gcp.databricks.com"),
        ai_paths=("/serving-endpoints/", "/ai-gateway/"),
    ),
    Provider(id="snowflake", name="snowflake", hosts=("*.snowflakecomputing.com",), ai_paths=("/cortex/",)),
    Provider(id="ibm.watsonx.ai", name="watsonx", hosts=("*.ml.cloud.ibm.com",), dialect=Dialect.PLAIN),
    Provider(
        id="replicate",
        name="replicate",
        hosts=("api.replicate.com",),
        prefix="replicate",
        upstream="https://api.replicate.com",
        dialect=Dialect.PLAIN,
        roots=("/v1",),
    ),
    Provider(
        id="deepgram",
        name="deepgram",
        hosts=("api.deepgram.com", "api.eu.deepgram.com"),
        prefix="deepgram",
        upstream="https://api.deepgram.com",
        dialect=Dialect.PLAIN,
        roots=("/v1", "/v2"),
    ),
    Provider(id="elevenlabs", name="elevenlabs", hosts=("api.elevenlabs.io", "*.elevenlabs.io"), dialect=Dialect.PLAIN),
)

PROVIDERS: tuple[Provider, ...] = (TOLLWATCH, *_FAMILIES, *_COMPATIBLE)

_EXACT = {host: provider for provider in PROVIDERS for host in provider.hosts if "*" not in host}
_GLOBS = tuple((host_pattern(host), provider) for provider in PROVIDERS for host in provider.hosts if "*" in host)
_PREFIXES = {provider.prefix: provider for provider in PROVIDERS if provider.prefix}


def provider_of_host(host: str, extra_hosts: Sequence[str] = ()) -> Provider | None:
    """Return who answers on `host` (a name, without port), or None for a host that is no AI provider's.

    A host that only `extra_hosts` names (globs from the config) is an OpenAI-compatible server by the name of its host.
    """
    return _find(host.lower().rstrip("."), tuple(extra_hosts))


@lru_cache(maxsize=4096)
def _find(host: str, extra_hosts: tuple[str, ...]) -> Provider | None:
    if exact := _EXACT.get(host):
        return exact
    for pattern, provider in _GLOBS:
        if pattern.fullmatch(host):
            return provider
    if any(host_pattern(glob).fullmatch(host) for glob in extra_hosts):
        return compatible(host)
    return None


def compatible(host: str) -> Provider:
    """Return the provider that stands for an OpenAI-compatible server of one's own."""
    return Provider(id="openai_compatible", name=host, hosts=(host,))


def provider_of_prefix(prefix: str) -> Provider | None:
    """Return the provider behind the first path segment of the base-URL door, or None."""
    return _PREFIXES.get(prefix)


def all_host_patterns() -> tuple[str, ...]:
    """Return every host glob of the catalog."""
    return tuple(host for provider in PROVIDERS for host in provider.hosts)
