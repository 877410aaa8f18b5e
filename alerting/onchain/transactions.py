"""What a transaction does, read from its signed bytes or from the object that a node is to sign."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from alerting.onchain.rlp import Item, RlpError, decode

_LENGTHS = {0: 9, 1: 11, 2: 12, 3: 14, 4: 13}
"""How many fields a signed transaction of each type has (EIP-155, EIP-2930, EIP-1559, EIP-4844, EIP-7702)."""
_TO = {0: 3, 1: 4, 2: 5, 3: 5, 4: 5}
"""Where `to` stands; value and data follow it."""
_BLOBS, _SET_CODE = 3, 4
_AUTHORIZATIONS = 9
_WRAPPED = (4, 5)
"""Blobs travel beside their transaction: body, blobs, commitments, proofs (EIP-4844), with a version since EIP-7594."""
_WORD = 32
_OBJECT_KEYS = frozenset({"from", "to", "value", "data", "input", "chainid", "authorizationlist", "nonce", "gas", "type"})
_TOKEN_RECIPIENTS: Mapping[bytes, tuple[int, ...]] = {
    bytes.fromhex("a9059cbb"): (0,),  # transfer(address,uint256)
    bytes.fromhex("095ea7b3"): (0,),  # approve(address,uint256)
    bytes.fromhex("39509351"): (0,),  # increaseAllowance(address,uint256)
    bytes.fromhex("a22cb465"): (0,),  # setApprovalForAll(address,bool)
    bytes.fromhex("23b872dd"): (1,),  # transferFrom(address,address,uint256)
    bytes.fromhex("42842e0e"): (1,),  # safeTransferFrom(address,address,uint256)
    bytes.fromhex("b88d4fde"): (1,),  # safeTransferFrom(address,address,uint256,bytes)
    bytes.fromhex("f242432a"): (1,),  # safeTransferFrom(address,address,uint256,uint256,bytes)
    bytes.fromhex("2eb2c2d6"): (1,),  # safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)
}
"""Which arguments of the token standards (ERC-20, 721, 1155) say who gets tokens, or may take them."""


class TransactionError(ValueError):
    """What is to be sent cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What is to be sent. Addresses are lower-case with 0x; `recipient` is None where a contract is created."""

    chain_id: int | None
    recipient: str | None
    value: int
    """Wei."""
    selector: str | None
    """The first four bytes of its data, 0x and hexadecimal; None without data."""
    others: tuple[str, ...]
    """Who else it gives something to: receivers of tokens, and the code that accounts are handed to (EIP-7702)."""
    digest: str
    """The same for the same signed bytes, which a chain takes once."""


def from_raw(raw: bytes) -> Transaction:
    """Return the transaction in signed bytes. Raises TransactionError."""
    try:
        return _from_raw(raw)
    except RlpError as error:
        raise TransactionError(f"its bytes are no RLP: {error}") from error


def _from_raw(raw: bytes) -> Transaction:
    kind = raw[0] if raw else 0xFF
    if kind >= 0xC0 and raw:
        kind, body = 0, decode(raw)
    elif kind in _LENGTHS and kind:
        body = decode(raw[1:])
    else:
        raise TransactionError(f"its type {raw[:1].hex() or 'is missing'} is not known")
    if kind == _BLOBS and isinstance(body, list) and len(body) in _WRAPPED and isinstance(body[0], list):
        body = body[0]
    if not isinstance(body, list) or len(body) != _LENGTHS[kind]:
        raise TransactionError(f"a signed transaction of type {kind} has {_LENGTHS[kind]} fields")
    to = _TO[kind]
    recipient, data = _address_or_none(body[to]), _bytes(body[to + 2])
    return Transaction(
        chain_id=_integer(body[0]) if kind else _chain_of(_integer(body[6])),
        recipient=recipient,
        value=_integer(body[to + 1]),
        selector=_selector(data),
        others=(*_token_recipients(data), *(_authorized(body[_AUTHORIZATIONS]) if kind == _SET_CODE else ())),
        digest=hashlib.sha256(raw).hexdigest(),
    )


def _chain_of(v: int) -> int | None:
    """Return the chain that a legacy signature names (EIP-155); None for one that is good on every chain."""
    return (v - 35) // 2 if v >= 35 else None


def _bytes(item: Item) -> bytes:
    if isinstance(item, list):
        raise TransactionError("a field is a list where bytes belong")
    return item


def _integer(item: Item) -> int:
    written = _bytes(item)
    if written[:1] == b"\0" or len(written) > _WORD:
        raise TransactionError("a number has a leading zero or more than 256 bits")
    return int.from_bytes(written)


def _address_or_none(item: Item) -> str | None:
    written = _bytes(item)
    if len(written) not in {0, 20}:
        raise TransactionError(f"an address has 20 bytes, not {len(written)}")
    return f"0x{written.hex()}" if written else None


def _authorized(item: Item) -> tuple[str, ...]:
    if not isinstance(item, list):
        raise TransactionError("its authorizations are no list")
    found: list[str] = []
    for each in item:
        if not isinstance(each, list) or len(each) != 6 or (code := _address_or_none(each[1])) is None:
            raise TransactionError("an authorization has six fields, the second an address")
        found.append(code)
    return tuple(found)


def _selector(data: bytes) -> str | None:
    return f"0x{data[:4].hex()}" if data else None


def _token_recipients(data: bytes) -> tuple[str, ...]:
    """Return who gets tokens, or may take them, by a call of a standard; an argument that is cut short is read as the EVM does: zeros."""
    words = _TOKEN_RECIPIENTS.get(data[:4], ())
    padded = data[4:].ljust(_WORD * 2, b"\0")
    return tuple(f"0x{padded[word * _WORD + 12 : word * _WORD + _WORD].hex()}" for word in words)


# --- objects that a node or a tool is to sign ------------------------------------------------------------------------------


def from_object(given: object, *, chain_id: int | None, digest: str) -> Transaction:
    """Return the transaction in the JSON object of `eth_sendTransaction`; `chain_id` is the node's own. Raises TransactionError."""
    if not isinstance(given, dict):
        raise TransactionError("it is no object")
    fields = cast("dict[str, object]", given)
    for name in fields:
        if name.lower() in _OBJECT_KEYS and name not in {name.lower(), "chainId", "authorizationList"}:
            raise TransactionError(f"its member {name[:40]!r} is written in another case: some nodes read it, some do not")
    data = _data(fields)
    return Transaction(
        chain_id=chain_id if fields.get("chainId") is None else _quantity(fields["chainId"], "chainId"),
        recipient=None if fields.get("to") in (None, "", "0x") else _address(fields["to"]),
        value=_quantity(fields.get("value") or 0, "value"),
        selector=_selector(data),
        others=(*_token_recipients(data), *_codes(fields.get("authorizationList"))),
        digest=digest,
    )


def _data(fields: Mapping[str, object]) -> bytes:
    given = [fields[name] for name in ("data", "input") if fields.get(name) is not None]
    found = [unhex(one) for one in given]
    if len(set(found)) > 1:
        raise TransactionError("its data and its input differ")
    return found[0] if found else b""


def _codes(given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise TransactionError("its authorizationList is no list")
    entries = cast("Sequence[object]", given)
    return tuple(_address(cast("dict[str, object]", each).get("address") if isinstance(each, dict) else None) for each in entries)


def _address(given: object) -> str:
    written = unhex(given)
    if len(written) != 20:
        raise TransactionError(f"an address has 20 bytes, not {len(written)}")
    return f"0x{written.hex()}"


def _quantity(given: object, name: str) -> int:
    """Return a number as JSON-RPC writes it (`0x1f`), or as some tools do (31, "31")."""
    try:
        number = given if isinstance(given, int) and not isinstance(given, bool) else int(cast("str", given), 16 if _is_hex(given) else 10)
    except (ValueError, TypeError) as error:
        raise TransactionError(f"its {name} is no number") from error
    if not 0 <= number < 1 << 256:
        raise TransactionError(f"its {name} is not between 0 and 256 bits")
    return number


def _is_hex(given: object) -> bool:
    return isinstance(given, str) and given[:2].lower() == "0x"


def unhex(given: object) -> bytes:
    """Return the bytes in `0x…`. Raises TransactionError."""
    if not isinstance(given, str) or not _is_hex(given):
        raise TransactionError("bytes are written as 0x and hexadecimal digits")
    if len(given) % 2 or not given.isascii() or not given.isalnum():
        raise TransactionError("bytes are written as pairs of hexadecimal digits")
    try:
        return bytes.fromhex(given[2:])
    except ValueError as error:
        raise TransactionError("bytes are written as pairs of hexadecimal digits") from error
