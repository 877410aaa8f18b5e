"""The lean master of the design without our addon: what the proxy itself costs. `python -m tests.bench.lean PORT UPSTREAM`."""

import asyncio
import sys
import tempfile

from mitmproxy import http, master, options
from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig


class _Stream:
    """Streams answers, as a gateway has to."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Pass chunks on as they come."""
        if flow.response and "event-stream" in flow.response.headers.get("content-type", ""):
            flow.response.stream = True


async def main(port: str, upstream: str) -> None:
    """Run until the process is ended."""
    with tempfile.TemporaryDirectory() as folder:
        settings = options.Options(listen_host="127.0.0.1", confdir=folder, mode=[f"reverse:{upstream}@{port}"])
        lean = master.Master(settings)
        lean.addons.add(core.Core(), proxyserver.Proxyserver(), next_layer.NextLayer(), tlsconfig.TlsConfig(), _Stream())
        lean.options.update(connection_strategy="lazy")
        await lean.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
