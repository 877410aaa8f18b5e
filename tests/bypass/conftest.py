"""The house of the proxy's own tests: a real proxy, gate and store, and a provider on loopback that writes down what reaches it."""

from tests.proxy.conftest import open_house, prices, provider, tokens

__all__ = ["open_house", "prices", "provider", "tokens"]
