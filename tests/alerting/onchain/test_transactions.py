"""What a signed transaction does, held against the library that signs it."""

from typing import Any

import pytest
import rlp
from eth_account import Account

from alerting.onchain.transactions import TransactionError, from_object, from_raw, unhex

KEY = "0x" + "11" * 32
TO = "0x" + "ab" * 20
OTHER = "0x" + "cd" * 20
SPENDER = "0x" + "ef" * 20
TRANSFER = "0xa9059cbb" + SPENDER[2:].rjust(64, "0") + f"{5:x}".rjust(64, "0")
GAS = {"nonce": 3, "gas": 21_000}
FEES = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}
ACCESS = [{"address": bytes.fromhex(OTHER[2:]), "storageKeys": ["0x" + "01" * 32, "0x" + "02" * 32]}]
TYPES: dict[str, dict[str, Any]] = {
    "legacy": {"gasPrice": 10**9, "chainId": 137},
    "access list": {"gasPrice": 10**9, "chainId": 137, "type": 1, "accessList": ACCESS},
    "dynamic fee": {**FEES, "chainId": 137, "type": 2, "accessList": ACCESS},
    "blobs": {**FEES, "chainId": 137, "type": 3, "maxFeePerBlobGas": 10**9, "blobVersionedHashes": ["0x01" + "00" * 31]},
}


def signed(*, to: str | None = None, **fields: Any) -> bytes:
    if to is not None:
        fields["to"] = bytes.fromhex(to[2:])
    return bytes(Account.from_key(KEY).sign_transaction({**GAS, **fields}).raw_transaction)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("data", "selector", "others"), [("0x", None, ()), (TRANSFER, "0xa9059cbb", (SPENDER,)), ("0x12", "0x12", ())])
def test_every_type_of_transaction_is_read(kind: str, data: str, selector: str | None, others: tuple[str, ...]) -> None:
    found = from_raw(signed(to=TO, value=10**21 + 7, data=data, **TYPES[kind]))

    assert (found.chain_id, found.recipient, found.value, found.selector, found.others) == (137, TO, 10**21 + 7, selector, others)


def test_a_transaction_that_hands_accounts_to_code_names_it() -> None:
    account = Account.from_key(KEY)
    handed = [account.sign_authorization({"chainId": 137, "address": bytes.fromhex(code[2:]), "nonce": 4}) for code in (OTHER, SPENDER)]

    found = from_raw(signed(to=TO, value=0, data="0x", type=4, chainId=137, authorizationList=handed, **FEES))

    assert (found.recipient, found.others) == (TO, (OTHER, SPENDER))


def test_a_legacy_transaction_may_name_no_chain_and_may_create_a_contract() -> None:
    found = from_raw(signed(value=0, data="0x60006000", gasPrice=1))

    assert (found.chain_id, found.recipient, found.selector) == (None, None, "0x60006000")


def test_blobs_may_travel_with_their_transaction() -> None:
    raw = signed(to=TO, value=1, data="0x", **TYPES["blobs"])
    body = rlp.decode(raw[1:])

    for wrapper in ([body, [b"blob"], [b"c"], [b"p"]], [body, b"\x01", [b"blob"], [b"c"], [b"p"]]):
        found = from_raw(b"\x03" + rlp.encode(wrapper))
        assert (found.recipient, found.value, found.chain_id) == (TO, 1, 137)


def test_the_same_bytes_have_the_same_digest() -> None:
    first, again, another = (signed(to=TO, value=value, data="0x", **TYPES["legacy"]) for value in (1, 1, 2))

    assert from_raw(first).digest == from_raw(again).digest != from_raw(another).digest


GOOD: list[Any] = [b"\x01", b"\x02", b"\x03", bytes(20), b"", b"", b"\x1b", b"\x01", b"\x01"]


def with_field(position: int, value: Any) -> bytes:
    return rlp.encode([*GOOD[:position], value, *GOOD[position + 1 :]])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "type is missing"),
        (b"\x7e\xc0", "type 7e"),
        (b"\x00" + rlp.encode(GOOD), "type 00"),
        (b"\x02" + rlp.encode(GOOD), "12 fields"),
        (b"\x01" + rlp.encode(b"text"), "11 fields"),
        (rlp.encode(GOOD[:8]), "9 fields"),
        (rlp.encode(GOOD) + b"\0", "no RLP"),
        (with_field(3, bytes(19)), "20 bytes"),
        (with_field(4, b"\0\1"), "leading zero"),
        (with_field(4, b"\1" * 33), "256 bits"),
        (with_field(5, [b""]), "a list where bytes"),
        (b"\x04" + rlp.encode([b""] * 9 + [b"x"] + [b""] * 3), "authorizations are no list"),
        (b"\x04" + rlp.encode([b""] * 9 + [[[b"", b""]]] + [b""] * 3), "six fields"),
        (b"\x04" + rlp.encode([b""] * 9 + [[[b""] * 6]] + [b""] * 3), "six fields"),
    ],
)
def test_what_is_no_transaction_is_said_so(raw: bytes, words: str) -> None:
    with pytest.raises(TransactionError, match=words):
        from_raw(raw)


def read(**fields: Any) -> Any:
    return from_object(fields, chain_id=1, digest="d")


def test_an_object_to_be_signed_is_read() -> None:
    found = read(to=TO.upper().replace("0X", "0x"), value="0xde0b6b3a7640000", data=TRANSFER, chainId="0x89")

    assert (found.chain_id, found.recipient, found.value, found.selector, found.others) == (137, TO, 10**18, "0xa9059cbb", (SPENDER,))
    assert read(to=TO, input=TRANSFER, data=TRANSFER, value=7).value == 7
    assert read(to=TO, value="12").chain_id == 1
    assert read(data="0x6000").recipient is None
    assert read(to="0x", value=None).recipient is None
    assert read(to=TO, authorizationList=[{"address": OTHER}]).others == (OTHER,)
    assert read(to=TO, data="0x23b872dd" + "00" * 12 + OTHER[2:] + "00" * 12 + SPENDER[2:]).others == (SPENDER,)
    assert read(to=TO, data="0xa9059cbb").others == ("0x" + "00" * 20,)  # cut short: the rest is zeros


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"To": TO}, "another case"),
        ({"to": TO, "VALUE": "0x1"}, "another case"),
        ({"to": "abcd"}, "0x and hexadecimal"),
        ({"to": "0x12"}, "20 bytes"),
        ({"to": ["0x"]}, "0x and hexadecimal"),
        ({"to": TO, "value": "one"}, "no number"),
        ({"to": TO, "value": True}, "no number"),
        ({"to": TO, "value": 1.5}, "no number"),
        ({"to": TO, "value": -1}, "256 bits"),
        ({"to": TO, "value": hex(1 << 256)}, "256 bits"),
        ({"to": TO, "chainId": []}, "no number"),
        ({"to": TO, "data": "0x1"}, "pairs"),
        ({"to": TO, "data": "0x zz"}, "pairs"),
        ({"to": TO, "data": "0xzz"}, "pairs"),
        ({"to": TO, "data": "0x12", "input": "0x13"}, "differ"),
        ({"to": TO, "authorizationList": {}}, "no list"),
        ({"to": TO, "authorizationList": ["x"]}, "0x and hexadecimal"),
    ],
)
def test_an_object_with_two_meanings_or_none_is_said_so(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(TransactionError, match=words):
        read(**fields)


def test_what_is_no_object_is_said_so() -> None:
    with pytest.raises(TransactionError, match="no object"):
        from_object([], chain_id=None, digest="d")
    assert unhex("0XAB") == b"\xab"
