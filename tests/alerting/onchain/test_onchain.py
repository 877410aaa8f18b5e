"""What the rules let through to a blockchain, and what they remember of it."""

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from eth_account import Account

from alerting.finding import AlertKind, Refusal, Taken
from alerting.onchain.detector import Onchain
from alerting.onchain_settings import OnchainSettings, parse_wei
from metering.call import Consumption, Rpc, RpcBody

KEY = "0x" + "11" * 32
TO, OTHER = "0x" + "ab" * 20, "0x" + "cd" * 20
ETH = 10**18
GAS = {"gas": 21_000, "gasPrice": 10**9, "chainId": 1}


def raw(*, to: str | None = TO, value: int = 1, data: str = "0x", nonce: int = 0, chain: int = 1) -> str:
    fields = {**GAS, "value": value, "data": data, "nonce": nonce, "chainId": chain}
    signed = Account.from_key(KEY).sign_transaction(fields if to is None else {**fields, "to": bytes.fromhex(to[2:])})
    return "0x" + bytes(signed.raw_transaction).hex()


def send(*raws: str, chain: int | None = 1) -> RpcBody:
    requests = tuple(Rpc("eth_sendRawTransaction", [one], number) for number, one in enumerate(raws))
    return RpcBody(requests, batch=len(raws) > 1, chain_id=chain)


def asked(method: str, params: Any, *, chain: int | None = 1) -> RpcBody:
    return RpcBody((Rpc(method, params, 1),), batch=False, chain_id=chain)


class Chain:
    """Asks the detector as the gate does."""

    def __init__(self, database: Any, clock: Any, a_call: Any, *rules: dict[str, Any], **more: Any) -> None:
        given = {"enabled": True, "rules": [{"id": f"rule-{number}", **rule} for number, rule in enumerate(rules, 1)], **more}
        self.settings = OnchainSettings.model_validate(given)
        self.database, self.clock, self._a_call = database, clock, a_call
        self.detector = Onchain(self.settings, database)

    async def denied(self, body: RpcBody | None, *, enforce: bool = True, **call: Any) -> list[str]:
        found = await self.detector.check(self._a_call(rpc=body, **call), at=self.clock(), enforce=enforce)
        return [finding.message for finding in found]


@pytest.fixture
def chain(database: Any, clock: Any, a_call: Any) -> Any:
    return lambda *rules, **more: Chain(database, clock, a_call, *rules, **more)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "words"),
    [
        ({"chains": [1, 137]}, send(raw()), send(raw(chain=5)), "it is for chain 5, and the rule allows 1, 137"),
        ({"chains": [1]}, send(raw()), asked("eth_sendTransaction", [{"to": TO}], chain=None), "it is for an unknown chain"),
        ({"recipients": [TO]}, send(raw()), send(raw(to=OTHER)), f"{OTHER} is not among its recipients"),
        ({"max_value": "1 ETH"}, send(raw(value=ETH)), send(raw(value=ETH + 1)), "1.000000000000000001 coins, and the most is 1 coins"),
        ({"selectors": ["0x12345678"]}, send(raw(data="0x12345678ff")), send(raw(data="0x12345679")), "function 0x12345679"),
        ({"selectors": []}, send(raw()), send(raw(data="0x12")), "function 0x12"),
        ({}, send(raw()), send(raw(to=None, data="0x6000")), "it creates a contract"),
    ],
)
async def test_a_rule_lets_through_what_it_allows(chain: Any, rule: Any, good: RpcBody, bad: RpcBody, words: str) -> None:
    rules = chain(rule)

    assert await rules.denied(good) == []
    [message] = await rules.denied(bad)

    assert message.startswith("On-chain rule 'rule-1' does not allow the transaction to ")
    assert words in message


async def test_who_gets_tokens_must_be_a_recipient_too(chain: Any) -> None:
    rules = chain({"recipients": [TO]})
    to_self, to_other = ("0xa9059cbb" + address[2:].rjust(64, "0") + "1".rjust(64, "0") for address in (TO, OTHER))

    assert await rules.denied(send(raw(data=to_self))) == []
    assert f"{OTHER} is not among its recipients" in (await rules.denied(send(raw(data=to_other))))[0]


async def test_contracts_may_be_created_where_the_rule_says_so(chain: Any) -> None:
    assert await chain({"create_contracts": True, "recipients": []}).denied(send(raw(to=None, data="0x6000"))) == []


async def test_a_day_has_a_limit_that_outlives_the_process(chain: Any, clock: Any) -> None:
    rule = {"daily_value": "3 ETH"}
    assert await chain(rule).denied(send(raw(value=2 * ETH))) == []
    assert (
        "after 2 coins were sent today (UTC), and the most is 3 coins a day"
        in (await chain(rule).denied(send(raw(value=2 * ETH, nonce=1))))[0]
    )
    assert await chain(rule).denied(send(raw(value=ETH, nonce=1))) == []

    clock.pass_by(hours=12)

    assert await chain(rule).denied(send(raw(value=3 * ETH, nonce=2))) == []


async def test_the_same_signed_bytes_count_once(chain: Any) -> None:
    rules = chain({"daily_value": "3 ETH", "cooldown": "1h"})
    body = send(raw(value=2 * ETH))

    assert [await rules.denied(body) for _ in range(3)] == [[], [], []]


async def test_between_two_transactions_lies_the_cooldown(chain: Any, clock: Any) -> None:
    rules = chain({"cooldown": "10m"})
    assert await rules.denied(send(raw())) == []
    clock.pass_by(minutes=4, seconds=0.5)

    [message] = await rules.denied(send(raw(nonce=1)))

    assert message.endswith("the last one was too short ago: it may be sent in 360 s.")
    clock.pass_by(minutes=6)
    assert await rules.denied(send(raw(nonce=1))) == []


async def test_of_a_batch_all_are_sent_or_none(chain: Any) -> None:
    rules = chain({"daily_value": "3 ETH"})

    assert len(await rules.denied(send(raw(value=2 * ETH), raw(value=2 * ETH, nonce=1)))) == 1
    assert await rules.denied(send(raw(value=ETH), raw(value=2 * ETH, nonce=1))) == []


async def test_of_many_at_once_no_more_pass_than_the_limit_allows(chain: Any) -> None:
    rules = chain({"daily_value": "5 ETH"})

    said = await asyncio.gather(*(rules.denied(send(raw(value=ETH, nonce=number))) for number in range(20)))

    assert sum(not one for one in said) == 5


async def test_a_rule_that_only_alerts_and_monitor_mode_count_what_passes(chain: Any) -> None:
    rules = chain({"max_value": "1 ETH", "daily_value": "2 ETH", "action": "alert"})
    assert len(await rules.denied(send(raw(value=2 * ETH)))) == 1
    assert "after 2 coins" in (await rules.denied(send(raw(value=ETH, nonce=1))))[0]

    other = chain({}, {"daily_value": "1 ETH"})
    assert len(await other.denied(send(raw(value=2 * ETH, nonce=2)), enforce=False)) == 1
    assert "after 2 coins" in (await other.denied(send(raw(value=1, nonce=3))))[0]


async def test_a_scope_says_whose_transactions_a_rule_is_about(chain: Any) -> None:
    rules = chain({"scope": {"user": "bot"}, "recipients": []})

    assert await rules.denied(send(raw())) == []
    assert len(await rules.denied(send(raw()), caller={"user": "bot"})) == 1


@pytest.mark.parametrize(
    ("method", "params", "count"),
    [
        ("eth_sendRawTransaction", ["0x1234"], 1),
        ("eth_sendRawTransaction", [], 1),
        ("eth_sendRawTransaction", {"data": "0x"}, 1),
        ("ETH_SENDRAWTRANSACTION", ["nonsense"], 1),
        ("eth_sendRawTransactionSync", [raw(to=OTHER)], 1),
        ("eth_sendPrivateTransaction", [{"tx": raw(to=OTHER)}], 1),
        ("eth_sendPrivateTransaction", [{}], 1),
        ("eth_sendBundle", [{"txs": [raw(), raw(to=OTHER), raw(to=OTHER)]}], 2),
        ("eth_sendBundle", [{"txs": []}], 1),
        ("eth_sendTransaction", [{"to": OTHER}], 1),
        ("eth_sendTransaction", [{"to": TO}], 0),
        ("personal_sendTransaction", [{"to": OTHER}, "password"], 1),
        ("eth_sendUserOperation", [{}, TO], 1),
        ("wallet_sendCalls", [], 1),
        ("eth_call", [{"to": OTHER}], 0),
        ("eth_blockNumber", [], 0),
        ("", None, 0),
        ("tools/call", {"name": "send_transaction", "arguments": {"to": OTHER, "value": "1"}}, 1),
        ("tools/call", {"name": "send_transaction", "arguments": {"to": TO, "value": "1"}}, 0),
        ("tools/call", {"name": "Wallet-Send-Transaction", "arguments": {"rawTransaction": raw(to=OTHER)}}, 1),
        ("tools/call", {"name": "transfer_eth", "arguments": {"transaction": {"to": OTHER}}}, 1),
        ("tools/call", {"name": "transfer_eth", "arguments": {"amount": "1"}}, 1),
        ("tools/call", {"name": "transfer_eth"}, 1),
        ("tools/call", {"name": ["send_transaction"], "arguments": {}}, 1),
        ("tools/call", {"name": "get_balance", "arguments": {"to": OTHER}}, 0),
    ],
)
async def test_what_a_request_sends_is_found(chain: Any, method: str, params: Any, count: int) -> None:
    assert len(await chain({"recipients": [TO]}).denied(asked(method, params))) == count


async def test_a_call_that_asks_no_node_is_none_of_its_business(chain: Any) -> None:
    assert await chain({"recipients": []}).denied(None) == []


async def test_the_gate_refuses_and_tells(worlds: Any, a_call: Any, database: Any) -> None:
    settings = OnchainSettings.model_validate({"enabled": True, "rules": [{"id": "treasury", "recipients": [TO]}]})
    limit = {"rate_limits": [{"requests": 1}], "prompt_drift": {"enabled": False}}
    world = worlds(detectors=limit, onchain=Onchain(settings, database))
    free = {"consumption": Consumption.FREE, "model": None}

    verdict = await world.gate.admit(a_call(rpc=send(raw(to=OTHER)), **free))
    passed = await world.gate.admit(a_call(rpc=send(raw()), **free))  # the refused one took no place in the rate limit

    assert (verdict.refusal, verdict.rule_id, passed.blocked) == (Refusal.ONCHAIN, "treasury", False)
    [alert] = await world.alerts(AlertKind.ONCHAIN_DENIED)
    assert (alert.action, alert.severity, alert.evidence[0]["recipient"]) == (Taken.BLOCKED, "high", OTHER)
    assert alert.evidence[0]["value_wei"] == "1"
    stored = await database.read("SELECT rule_id, value FROM onchain_sent")
    assert stored == [("treasury", "1")]


async def test_one_alert_for_each_rule_and_recipient(worlds: Any, a_call: Any, database: Any) -> None:
    settings = OnchainSettings.model_validate({"enabled": True, "rules": [{"id": "treasury", "recipients": []}]})
    world = worlds(onchain=Onchain(settings, database))
    for to in (TO, OTHER, TO):
        await world.gate.admit(a_call(rpc=send(raw(to=to)), consumption=Consumption.FREE, model=None))

    alerts = await world.alerts(AlertKind.ONCHAIN_DENIED)

    assert sorted((alert.evidence[0]["recipient"], alert.occurrence_count) for alert in alerts) == [(TO, 2), (OTHER, 1)]


async def test_what_was_sent_long_ago_is_forgotten(chain: Any, clock: Any, database: Any) -> None:
    rules = chain({"daily_value": "1 ETH"})
    for number in range(4):
        await rules.denied(send(raw(nonce=number)))
        clock.time += timedelta(days=1)

    assert await database.read("SELECT COUNT(*) FROM onchain_sent") == [(3,)]


@pytest.mark.parametrize(
    ("text", "wei"),
    [("1 ETH", ETH), ("0.5 eth", ETH // 2), ("3 gwei", 3 * 10**9), ("7 wei", 7), (12, 12), ("0 wei", 0)],
)
def test_amounts_are_written_as_people_do(text: Any, wei: int) -> None:
    assert parse_wei(text) == wei


@pytest.mark.parametrize("text", ["1", "one ETH", "-1 ETH", "0.5 wei", "1 BTC", "NaN ETH", ""])
def test_what_is_no_amount_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        parse_wei(text)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"enabled": True}, "has no rules"),
        ({"rules": [{"id": "a"}, {"id": "a"}]}, "two on-chain rules are called 'a'"),
        ({"rules": [{"id": "a", "recipients": ["0x12"]}]}, "is not an address"),
        ({"rules": [{"id": "a", "selectors": ["transfer"]}]}, "is not a function selector"),
    ],
)
def test_settings_that_mean_nothing_are_an_error(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OnchainSettings.model_validate(given)


def test_its_code_is_imported_only_where_the_config_asks_for_it() -> None:
    program = """
import json, sys
from types import SimpleNamespace
import tollwatch.app
from alerting.onchain_settings import OnchainSettings
from tollwatch import judging
before = [name for name in sys.modules if name.startswith("alerting.onchain") and name != "alerting.onchain_settings"]
off = judging._onchain(OnchainSettings(), None)
still = [name for name in sys.modules if name.startswith("alerting.onchain.")]
on = judging._onchain(OnchainSettings(enabled=True, rules=[{"id": "a"}]), None)
print(json.dumps([before, off is None, still, on is not None, "alerting.onchain.rlp" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert json.loads(done.stdout) == [[], True, [], True, True]
