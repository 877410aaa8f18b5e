"""Where a path on the base-URL door leads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from metering.providers.catalog import compatible, provider_of_host, provider_of_prefix
from metering.providers.provider import Provider

_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_USUAL_REGION = "us-east-1"
_LOCATION = re.compile(r"/locations/([a-z]+-[a-z]+\d+)/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The provider, the base URL to connect to (with its own path, if it has one) and the path with query to append."""

    provider: Provider
    upstream: str
    path: str

    @property
    def url(self) -> str:
        """The whole address."""
        return self.upstream + self.path


def target(prefix: str, rest: str, upstreams: Mapping[str, str] | None = None) -> Target | None:
    """Return where `/<prefix><rest>` leads (`rest` begins with a slash and may have a query), or None when it leads nowhere.

    `upstreams` are the addresses of the config by prefix: they add prefixes and replace addresses.
    """
    provider = provider_of_prefix(prefix)
    if configured := (upstreams or {}).get(prefix):
        return _configured(provider, configured.rstrip("/"), rest)
    if provider is None:
        return None
    if provider.id == "azure.ai.openai":
        return _azure(provider, rest)
    if provider.id == "aws.bedrock":
        return _bedrock(provider, rest)
    if provider.id == "gcp.vertex_ai":
        return _vertex(provider, rest)
    return _plain(provider, provider.upstream or "", rest)


def _configured(provider: Provider | None, upstream: str, rest: str) -> Target:
    host = urlsplit(upstream).hostname or ""
    if provider is None:
        provider = provider_of_host(host) or compatible(host)
    if provider_of_host(host) is not provider:
        provider = replace(provider, roots=())
    return _plain(provider, upstream, rest)


def _plain(provider: Provider, upstream: str, rest: str) -> Target:
    own_path = urlsplit(upstream).path
    if own_path and _under(rest, own_path):
        rest = rest[len(own_path) :]
    if provider.roots and not any(_under(rest, root) for root in provider.roots):
        rest = provider.roots[0] + rest
    return Target(provider=provider, upstream=upstream, path=rest)


def _under(path: str, root: str) -> bool:
    return path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/", "?"}


def _azure(provider: Provider, rest: str) -> Target | None:
    resource, path = _first_segment(rest)
    if not _RESOURCE.fullmatch(resource):
        return None
    if _under(path, "/openai"):
        return Target(provider=provider, upstream=f"https://{resource}.openai.azure.com", path=path)
    host = f"{resource}.services.ai.azure.com"
    return Target(provider=provider_of_host(host) or provider, upstream=f"https://{host}", path=path)


def _bedrock(provider: Provider, rest: str) -> Target:
    region, path = _first_segment(rest)
    if _REGION.fullmatch(region):
        return Target(provider=provider, upstream=(provider.upstream or "").replace(_USUAL_REGION, region), path=path)
    return Target(provider=provider, upstream=provider.upstream or "", path=rest)


def _vertex(provider: Provider, rest: str) -> Target:
    if location := _LOCATION.search(rest.partition("?")[0]):
        return Target(provider=provider, upstream=f"https://{location[1]}-aiplatform.googleapis.com", path=rest)
    return Target(provider=provider, upstream=provider.upstream or "", path=rest)


def _first_segment(rest: str) -> tuple[str, str]:
    segment, slash, path = rest.removeprefix("/").partition("/")
    return segment, slash + path
