"""Canned calls to the host that the gateway answers itself: they prove the whole path without a provider, and cost nothing."""

import http.client
import json
import ssl
from base64 import b64encode
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from metering.providers.catalog import PROBE_HOST, TOLLWATCH
from metering.settings import PriceOverride, PricingSettings
from proxy.settings import ProxySettings

PREFIX: Final = "tollwatch"
"""Of the base-URL door."""
PATH: Final = "/v1/chat/completions"
BODY: Final = json.dumps({"model": "tollwatch-probe", "messages": [{"role": "user", "content": "Is this call metered?"}]}).encode()
_HEADERS = {"content-type": "application/json", "authorization": "Bearer no-key"}
_SECONDS = 5.0


def with_free_probe(settings: PricingSettings) -> PricingSettings:
    """Return the prices with the gateway's own host at nothing."""
    free = PriceOverride(provider=TOLLWATCH.id, model="*", input=Decimal(0), output=Decimal(0))
    return settings.model_copy(update={"overrides": (free, *settings.overrides)})


def with_probe_prefix(settings: ProxySettings) -> ProxySettings:
    """Return the doors with a prefix for the gateway's own host."""
    return settings.model_copy(update={"upstreams": {**settings.upstreams, PREFIX: f"https://{PROBE_HOST}"}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `call_id` names the ledger row; without one the call did not pass the gateway."""

    status: int
    call_id: str | None
    body: str


def by_forward_door(address: tuple[str, int], ca_file: Path) -> Answer:
    """Send the call as a proxied client does: CONNECT, a TLS handshake that trusts the gateway's CA alone, the request. Raises OSError."""
    context = ssl.create_default_context(cafile=str(ca_file))
    connection = http.client.HTTPSConnection(*address, timeout=_SECONDS, context=context)
    connection.set_tunnel(PROBE_HOST, 443, headers={"Proxy-Authorization": f"Basic {b64encode(b'tollwatch-doctor:').decode()}"})
    return _post(connection, PATH)


def by_base_url_door(address: tuple[str, int]) -> Answer:
    """Send the call as a client with a base URL does. Raises OSError."""
    return _post(http.client.HTTPConnection(*address, timeout=_SECONDS), f"/{PREFIX}{PATH}")


def _post(connection: http.client.HTTPConnection, path: str) -> Answer:
    try:
        connection.request("POST", path, BODY, _HEADERS)
        reply = connection.getresponse()
        body = reply.read(4096).decode("utf-8", "replace")
        return Answer(status=reply.status, call_id=reply.getheader("x-tollwatch-call"), body=body)
    except http.client.HTTPException as error:
        raise ConnectionError(f"the answer is no HTTP: {error!r}") from error
    finally:
        connection.close()
