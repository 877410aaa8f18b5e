"""The base-URL door: `/<prefix>/…` leads to a provider, for programs of this machine and for no web page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import urlsplit

from metering.providers.catalog import PROVIDERS
from metering.providers.provider import Dialect
from metering.providers.targets import Target, target
from proxy import refusal
from proxy.chain_hosts import ChainHosts
from proxy.refusal import Answer, Problem

_EMPTY = Answer(status=200, headers=((b"content-length", b"0"),), body=b"")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_SIGNED = Problem(
    status=400,
    code="tollwatch_signed",
    message=(
        "This request is signed with AWS SigV4, and the signature covers the host that it came to: AWS would refuse it elsewhere. "
        "Send signed requests through the forward door (HTTPS_PROXY, set by `tollwatch exec`), "
        "or use a Bedrock API key here (AWS_BEARER_TOKEN_BEDROCK)"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a request goes on to."""

    target: Target
    scheme: str
    host: str
    port: int
    authority: str
    """The Host header that the provider expects."""
    path: str


def _signs_host(path: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request carries an AWS signature, in its header (SigV4, SigV4A) or in its query."""
    return headers.get(b"authorization", b"").lstrip().startswith(b"AWS4-") or "X-Amz-Signature=" in path


class BaseUrlDoor:
    """Guards and routes."""

    def __init__(self, *, upstreams: Mapping[str, str], hosts: tuple[str, ...], chains: ChainHosts) -> None:
        self._upstreams = dict(upstreams)
        self._chains = chains
        self._hosts = frozenset(host.lower() for host in hosts)
        self.prefixes = tuple(sorted({provider.prefix for provider in PROVIDERS if provider.prefix} | set(upstreams)))
        self._target = lru_cache(maxsize=1024)(self._find)
        self._is_own = lru_cache(maxsize=256)(self._means_this)

    def answer(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Answer | Destination:
        """Return where a request leads, or the answer that it gets here."""
        if problem := self._guard(headers):
            return refusal.answer(Dialect.OPENAI, problem)
        if method == "HEAD":
            return _EMPTY
        prefix, slash, rest = path.removeprefix("/").partition("/")
        found = self._target(prefix, (slash + rest).partition("?")[0] or "/")
        if found is None:
            return refusal.answer(Dialect.OPENAI, self._unknown(prefix))
        if _signs_host(path, headers) and found.host.endswith(_AWS):
            return refusal.answer(found.target.provider.dialect, _SIGNED)
        _path, question, query = path.partition("?")
        return replace(found, path=found.path + question + query) if question else found

    def _find(self, prefix: str, rest: str) -> Destination | None:
        found = target(prefix.partition("?")[0], rest, self._upstreams)
        if found is None:
            return None
        url = urlsplit(found.upstream)
        host, scheme = url.hostname or "", url.scheme
        port = url.port or _DEFAULT_PORTS.get(scheme, 443)
        if node := self._chains.provider(host):
            found = replace(found, provider=node)
        return Destination(
            target=found, scheme=scheme, host=host, port=port, authority=url.netloc.rpartition("@")[2], path=url.path + found.path
        )

    def _guard(self, headers: Mapping[bytes, bytes]) -> Problem | None:
        named = headers.get(b"host", b"")
        if self._is_own(named) and b"origin" not in headers and b"sec-fetch-site" not in headers:
            return None  # no browser asks
        host = named.decode("latin-1").lower()
        if not self._is_own(named):
            return Problem(
                status=421,
                code="tollwatch_host",
                message=f"The base-URL door answers to localhost, 127.0.0.1 and [::1], not to {host[:100]!r}; use one of these",
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower() not in {f"http://{host}", f"https://{host}"}:
            return Problem(
                status=403, code="tollwatch_origin", message="Web pages may not call through the gateway (the request has a foreign Origin)"
            )
        if headers.get(b"sec-fetch-site", b"none").lower() in {b"cross-site", b"same-site"}:
            return Problem(
                status=403,
                code="tollwatch_origin",
                message="Web pages may not call through the gateway (Sec-Fetch-Site says another site asks)",
            )
        return None

    def _means_this(self, named: bytes) -> bool:
        """Whether a Host header means this door."""
        host = named.decode("latin-1").lower()
        name, colon, port = host.rpartition(":")
        if not colon or "]" in port:
            name = host
        elif not port.isdecimal():
            return False
        return name in {"localhost", "127.0.0.1", "[::1]"} or name in self._hosts

    def _unknown(self, prefix: str) -> Problem:
        known = ", ".join(f"/{name}" for name in self.prefixes)
        return Problem(
            status=404,
            code="tollwatch_prefix",
            message=f"No provider behind /{prefix[:60]}; the prefixes are {known} (add one under proxy.upstreams)",
        )
