"""JSON-RPC 2.0: a request or a batch of them, read in one way only."""

from dataclasses import replace
from typing import Final, cast

from alerting.finding import Refusal
from metering.call import Rpc, RpcBody
from metering.providers.wire import RequestFacts
from proxy import bodies, strict_json
from proxy.raw import RawRequest
from proxy.rejected import Rejected
from proxy.strict_json import UnreadableError

_MEMBERS: Final = frozenset({"jsonrpc", "method", "params", "id"})
_MOST_REQUESTS: Final = 1_000


def meaning(raw: RawRequest, *, websocket: bool, cap: int) -> RequestFacts | Rejected | None:
    """Return what a node or a tool is asked; None where it is asked nothing (a stream of an MCP server is opened or ended)."""
    if websocket:
        return Rejected(Refusal.UNKNOWN_FORMAT, f"JSON-RPC in a WebSocket to {raw.host} is not read; use the node's https endpoint")
    if not raw.body:
        return None
    data = bodies.plain(raw, cap=cap)
    if isinstance(data, Rejected):
        return data
    try:
        return replace(bodies.NOTHING, rpc=read(data, chain_id=raw.provider.chain_id))
    except ValueError as error:
        return bodies.unreadable(error)


def read(data: bytes, *, chain_id: int | None) -> RpcBody:
    """Return the requests in a body. Raises UnreadableError where a node could read something else."""
    if data.lstrip()[:1] != b"[":
        return RpcBody((_request(strict_json.parse(data)),), batch=False, chain_id=chain_id)
    whole = strict_json.parse(b'{"":%b}' % data)
    batch = whole.get("")
    if len(whole) != 1 or not isinstance(batch, list):
        raise UnreadableError("the body is not JSON")
    requests = cast("list[object]", batch)
    if not 0 < len(requests) <= _MOST_REQUESTS:
        raise UnreadableError(f"a batch has 1 to {_MOST_REQUESTS:,} requests, not {len(requests):,}")
    return RpcBody(tuple(map(_request, requests)), batch=True, chain_id=chain_id)


def _request(value: object) -> Rpc:
    if not isinstance(value, dict):
        raise UnreadableError("a JSON-RPC request is an object")
    request = cast("dict[str, object]", value)
    for name in request:
        if name not in _MEMBERS and name.casefold() in _MEMBERS:
            raise UnreadableError(f"the member {name[:40]!a} differs from {name.casefold()!r} by case only")
    method = request.get("method")
    if method is None and ("result" in request or "error" in request):
        return Rpc("", None, request.get("id"))  # an answer to what an MCP server asked
    if not isinstance(method, str):
        raise UnreadableError("a JSON-RPC request names its method")
    return Rpc(method, request.get("params"), request.get("id"))
