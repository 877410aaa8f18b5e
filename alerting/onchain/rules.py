"""One rule of what may be sent to a blockchain."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.onchain.transactions import Transaction
from alerting.onchain_settings import OnchainRuleSettings

_DECIMALS = 18
_NOW = timedelta(0)


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that a rule let through."""

    at: datetime
    value: int
    digest: str


def broken(rule: OnchainRuleSettings, transaction: Transaction, *, sent: Iterable[Sent], at: datetime) -> str | None:
    """Return why a rule does not let a transaction through, as the end of a sentence; None where it does.

    `sent` is what it let through in the last day and the last cool-down. The same signed bytes once more send nothing more.
    """
    return _never(rule, transaction) or _not_now(rule, transaction, [one for one in sent if one.digest != transaction.digest], at)


def _never(rule: OnchainRuleSettings, transaction: Transaction) -> str | None:
    """Return what of the transaction itself the rule forbids."""
    if rule.chains is not None and transaction.chain_id not in rule.chains:
        named = "an unknown chain" if transaction.chain_id is None else f"chain {transaction.chain_id}"
        return f"it is for {named}, and the rule allows {', '.join(map(str, rule.chains)) or 'none'}"
    if transaction.recipient is None and not rule.create_contracts:
        return "it creates a contract"
    if rule.recipients is not None:
        for address in filter(None, (transaction.recipient, *transaction.others)):
            if address not in rule.recipients:
                return f"{address} is not among its recipients"
    if rule.selectors is not None and transaction.recipient and transaction.selector and transaction.selector not in rule.selectors:
        return f"the function {transaction.selector} is not among its selectors"
    if rule.max_value is not None and transaction.value > rule.max_value:
        return f"it sends {coins(transaction.value)}, and the most is {coins(rule.max_value)}"
    return None


def _not_now(rule: OnchainRuleSettings, transaction: Transaction, sent: list[Sent], at: datetime) -> str | None:
    """Return what together with earlier transactions the rule forbids."""
    if rule.daily_value is not None:
        today = sum(one.value for one in sent if one.at.date() == at.date())
        if today + transaction.value > rule.daily_value:
            most = f"and the most is {coins(rule.daily_value)} a day"
            return f"it sends {coins(transaction.value)} after {coins(today)} were sent today (UTC), {most}"
    if rule.cooldown is not None and sent:
        wait = max(one.at for one in sent) + rule.cooldown - at
        if wait > _NOW:
            return f"the last one was too short ago: it may be sent in {math.ceil(wait.total_seconds())} s"
    return None


def coins(wei: int) -> str:
    """Return an amount as people write it, whatever the coin of the chain is called."""
    whole, rest = divmod(wei, 10**_DECIMALS)
    part = f".{rest:0{_DECIMALS}}".rstrip("0") if rest else ""
    return f"{whole:,}{part} coins"
