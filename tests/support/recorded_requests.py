"""What the request of a recording asks for, whether it is JSON or an upload."""

import orjson

from metering.providers import FormFormat, RequestFacts, WireFormat
from metering.providers.forms import read_form
from tests.support.corpus import Exchange


def request_facts(exchange: Exchange, wire: WireFormat) -> RequestFacts | None:
    """Return what a request asks for, or None for an upload whose bytes the recording left out."""
    content_type = next((value for name, value in exchange.request_headers.items() if name.lower() == "content-type"), "")
    if not content_type.startswith("multipart/"):
        return wire.read_request(orjson.loads(exchange.request_body))
    assert isinstance(wire, FormFormat)
    if not exchange.request_body.startswith(b"--"):
        return None
    form = read_form(exchange.request_body, content_type=content_type)
    return wire.read_form(form.fields, files=form.files)
