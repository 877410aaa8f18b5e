"""The hosts that are no AI providers but nodes of a blockchain, or tools: they speak JSON-RPC."""

from collections.abc import Mapping
from functools import lru_cache

from metering.providers.provider import Dialect, Provider, host_pattern


class ChainHosts:
    """Which hosts speak JSON-RPC, and for which chain."""

    def __init__(self, hosts: Mapping[str, int | None]) -> None:
        self._patterns = tuple((host_pattern(glob), chain_id) for glob, chain_id in hosts.items())
        self._cached = lru_cache(maxsize=1024)(self._find)

    def provider(self, host: str) -> Provider | None:
        """Return the node on `host`, or None for any other."""
        return self._cached(host.lower().rstrip(".")) if self._patterns else None

    def _find(self, host: str) -> Provider | None:
        for pattern, chain_id in self._patterns:
            if pattern.fullmatch(host):
                return Provider(id="json_rpc", name=host, hosts=(host,), dialect=Dialect.JSON_RPC, chain_id=chain_id)
        return None
