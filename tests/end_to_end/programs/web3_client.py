"""A program with web3.py: reads the chain, then sends one transaction to each address that it is given, and says what came of it."""

import json
import sys

from eth_account import Account
from web3 import Web3
from web3.exceptions import Web3Exception

KEY = "0x" + "11" * 32


def main() -> None:
    node = Web3(Web3.HTTPProvider(sys.argv[1]))
    print(json.dumps({"chain": node.eth.chain_id, "block": node.eth.block_number}))
    for nonce, to in enumerate(sys.argv[2:]):
        fields = {
            "to": Web3.to_checksum_address(to),
            "value": 10**18,
            "nonce": nonce,
            "gas": 21_000,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 10**9,
            "chainId": 1,
        }
        signed = Account.from_key(KEY).sign_transaction(fields)
        try:
            print(json.dumps({"sent": node.eth.send_raw_transaction(signed.raw_transaction).to_0x_hex()}))
        except Web3Exception as error:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))


main()
