"""What the place of a call adds to the listed price: regional endpoints that cost more than the global one.

Sources: the price comments of genai-prices' tables (Vertex: "regional and multi-region endpoints add 10 %" for Claude from 4.5 on;
Mistral: "EU and US regional endpoints bill 1.1 times list"), OpenAI's pricing page (regional processing, from GPT-5.4 on) and Anthropic's
page on data residency (`inference_geo: us`, from Claude 4.6 on, on tokens of every kind). Bedrock's
regional prices are models of their own in the tables. Azure's data-zone and regional deployments cannot be told by their calls:
`pricing.overrides` with a `factor` marks them.
"""

import re
from decimal import Decimal
from functools import lru_cache

from metering.call import Call

ONE = Decimal(1)
_TENTH = Decimal("1.1")
_GLOBAL = re.compile(r"/locations/global/")
_CLAUDE_ON_VERTEX = re.compile(r"claude-[a-z]+-(4[.-][5-9]|[5-9])")
_CLAUDE_ANYWHERE = re.compile(r"claude-(?:[a-z]+-4(?:[.-][0-5])?(?:-\d{6,}|$)|[a-z]+-[0-3]|[0-3])")
"""Claude up to 4.5, which knows no `inference_geo`."""
_OPENAI_REGION = re.compile(r"[a-z]{2}\.api\.openai\.com")
_OPENAI_MARKED = re.compile(r"gpt-(5\.[4-9]|[6-9])")
_MISTRAL_REGION = re.compile(r"(eu|us)\.api\.mistral\.ai|api\.(eu|us)\.mistral\.ai")


def regional_mark(call: Call, model: str | None, variant: str | None = None) -> Decimal:
    """Return what the listed price of tokens is multiplied with; `variant` is where the answer says that it was made."""
    if call.provider == "anthropic":
        return _TENTH if (variant or call.variant) == "us" and not _CLAUDE_ANYWHERE.search(model or "") else ONE
    return _mark(call.provider, call.host, "/locations/" in call.path and not _GLOBAL.search(call.path), model)


@lru_cache(maxsize=1024)
def _mark(provider: str, host: str, in_a_location: bool, model: str | None) -> Decimal:  # noqa: FBT001 - remembered by position
    name = (model or "").lower()
    if provider == "gcp.vertex_ai":
        return _TENTH if in_a_location and _CLAUDE_ON_VERTEX.search(name) else ONE
    if provider == "openai":
        return _TENTH if _OPENAI_REGION.fullmatch(host) and _OPENAI_MARKED.match(name) else ONE
    if provider == "mistral_ai":
        return _TENTH if _MISTRAL_REGION.fullmatch(host) else ONE
    return ONE
