"""What real clients sent is never refused: each recording is read, and judged by a gate with the default config."""

from collections.abc import Iterator
from typing import Any

import pytest

from metering.call import Door
from metering.providers.catalog import compatible, provider_of_host
from proxy import canonical
from proxy.raw import RawRequest, headers_of
from tests.support import corpus
from tests.support.corpus import Exchange
from tollwatch.tricks import FORBIDDEN

pytestmark = pytest.mark.skipif(not corpus.CORPUS.is_dir(), reason=corpus.MISSING)

CAP = 32 << 20
_NOT_SENT = {"content-encoding", "transfer-encoding"}
"""The bodies of the recordings are decoded."""


def raw(exchange: Exchange) -> RawRequest:
    fields = ((name, value) for name, value in exchange.request_headers.items() if name.lower() not in _NOT_SENT)
    headers, repeated = headers_of(tuple((name.encode(), value.encode()) for name, value in fields))
    return RawRequest(
        door=Door.FORWARD,
        provider=provider_of_host(exchange.host) or compatible(exchange.host),
        method=exchange.method,
        host=exchange.host,
        path=exchange.target,
        names=(exchange.host,),
        headers=headers,
        repeated=repeated,
        body=exchange.request_body,
    )


def requests() -> Iterator[tuple[Exchange, RawRequest]]:
    for exchange in corpus.exchanges():
        yield exchange, raw(exchange)


def test_every_recorded_request_has_one_meaning() -> None:
    refused = [
        (exchange.source, meaning.rejected.message)
        for exchange, request in requests()
        if (meaning := canonical.canonicalise(request, cap=CAP)).rejected
    ]

    assert refused == []


async def test_the_gate_lets_all_of_them_pass_with_rules_about_other_things(open_house: Any) -> None:
    house = await open_house(rules=FORBIDDEN)
    calls, blocked, read = house.proxy.calls, [], 0

    for exchange, request in requests():
        meaning = canonical.canonicalise(request, cap=CAP)
        verdict = await house.gate.admit(calls.call(request, meaning, request_bytes=len(request.body)))
        read += 1
        if verdict.blocked:
            blocked.append((exchange.source, verdict.message))

    assert blocked == []
    assert read > 3_000
