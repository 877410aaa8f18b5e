"""The transactions that JSON-RPC requests carry: the methods of nodes, and the tools of MCP servers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from alerting.onchain.transactions import Transaction, TransactionError, from_object, from_raw, unhex
from metering.call import Rpc, RpcBody

_RAW = frozenset(
    {
        "eth_sendrawtransaction",
        "eth_sendrawtransactionsync",
        "eth_sendrawtransactionconditional",
        "eth_sendprivaterawtransaction",
    }
)
_OBJECTS = frozenset(
    {
        "eth_sendtransaction",
        "eth_sendtransactionsync",
        "eth_signtransaction",
        "personal_sendtransaction",
        "personal_signtransaction",
        "parity_posttransaction",
    }
)
_OPAQUE = frozenset({"eth_senduseroperation", "wallet_sendcalls", "wallet_sendtransaction", "mev_sendbundle", "eth_sendbundlev2"})
"""They send something whose effect cannot be told from the request."""
_RAW_KEYS = ("rawTransaction", "raw_transaction", "signedTransaction", "signed_transaction", "serializedTransaction", "raw", "tx")
_OBJECT_KEYS = ("transaction", "tx", "txn", "request")

type IsTool = Callable[[str], bool]
type Read = Callable[[], list[Transaction]]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something is to be sent, and what it is cannot be told."""

    why: str


@dataclass(frozen=True, slots=True)
class Carried:
    """One transaction, and the method or tool that sends it."""

    by: str
    transaction: Transaction | Unreadable


def carried(body: RpcBody, *, call_id: str, is_tool: IsTool) -> list[Carried]:
    """Return the transactions of a request or a batch; none for requests that only read."""
    found: list[Carried] = []
    for index, request in enumerate(body.requests):
        digest = f"{call_id}:{index}"
        name, read = _reader(request, body.chain_id, digest, is_tool)
        if read is None:
            continue
        try:
            found.extend(Carried(name, transaction) for transaction in read())
        except TransactionError as error:
            found.append(Carried(name, Unreadable(str(error))))
    return found


def _reader(request: Rpc, chain_id: int | None, digest: str, is_tool: IsTool) -> tuple[str, Read | None]:
    """Return by what a request sends, and how that is read; None for a request that sends nothing."""
    method, params = request.method.lower(), request.params  # a node that is lenient about case must not be a way round
    read: Read | None = None
    name = request.method
    if method in _RAW:
        read = lambda: [from_raw(unhex(_first(params)))]  # noqa: E731 - each as short as a function can be
    elif method in _OBJECTS:
        read = lambda: [from_object(_first(params), chain_id=chain_id, digest=digest)]  # noqa: E731 - as above
    elif method == "eth_sendprivatetransaction":
        read = lambda: [from_raw(unhex(_member(_first(params), "tx")))]  # noqa: E731 - as above
    elif method == "eth_sendbundle":
        read = lambda: _bundle(_member(_first(params), "txs"))  # noqa: E731 - as above
    elif method in _OPAQUE:
        read = lambda: _refuse(f"what {request.method} sends cannot be told from the request")  # noqa: E731 - as above
    elif method == "tools/call":
        tool = _member(params, "name")
        name = str(tool)
        if not isinstance(tool, str) or is_tool(tool):
            read = lambda: [_of_tool(params, chain_id, digest)]  # noqa: E731 - as above
    return name, read


def _first(params: object) -> object:
    if not isinstance(params, list) or not params:
        raise TransactionError("its params are no list, or an empty one")
    return cast("list[object]", params)[0]


def _member(given: object, name: str) -> object:
    return cast("Mapping[str, object]", given).get(name) if isinstance(given, dict) else None


def _bundle(given: object) -> list[Transaction]:
    if not isinstance(given, list) or not given:
        raise TransactionError("a bundle holds a list of transactions")
    return [from_raw(unhex(each)) for each in cast("list[object]", given)]


def _refuse(why: str) -> list[Transaction]:
    raise TransactionError(why)


def _of_tool(params: object, chain_id: int | None, digest: str) -> Transaction:
    """Return the transaction in the arguments of a tool: signed bytes, an object, or the arguments themselves."""
    arguments = _member(params, "arguments")
    if not isinstance(arguments, dict):
        raise TransactionError("the tool has no arguments")
    given = cast("Mapping[str, object]", arguments)
    for key in _RAW_KEYS:
        if isinstance(text := given.get(key), str):
            return from_raw(unhex(text))
    for key in _OBJECT_KEYS:
        if isinstance(inner := given.get(key), dict):
            return from_object(cast("object", inner), chain_id=chain_id, digest=digest)
    if "to" not in given:
        raise TransactionError("the tool's arguments name no transaction and no `to`")
    return from_object(cast("object", arguments), chain_id=chain_id, digest=digest)
