"""Judges the transactions of a call, and remembers those that it lets through."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import cast

from alerting.finding import Action, AlertKind, Finding
from alerting.onchain.carried import Carried, Unreadable, carried
from alerting.onchain.rules import Sent, broken
from alerting.onchain.transactions import Transaction
from alerting.onchain_settings import OnchainRuleSettings, OnchainSettings
from alerting.subjects import subject_of
from metering.call import Call
from metering.scope import compile_patterns, compile_scope
from storage.database import Database, Many, Sql, Value, Work
from storage.times import from_micros, to_micros

_SENT = "SELECT at, value, digest FROM onchain_sent WHERE rule_id = ? AND at >= ?"
_ADD = "INSERT INTO onchain_sent (rule_id, digest, at, value) VALUES (?, ?, ?, ?) ON CONFLICT (rule_id, digest) DO NOTHING"
_FORGET = "DELETE FROM onchain_sent WHERE rule_id = ? AND at < ?"
_DAY = timedelta(days=1)
_UNREADABLE = "unreadable"
_CREATION = "contract creation"


class Onchain:
    """All on-chain rules. What was sent is in the store, so that a daily limit outlives a restart and a reload."""

    def __init__(self, settings: OnchainSettings, database: Database) -> None:
        self._rules = tuple((rule, compile_scope(rule.scope)) for rule in settings.rules)
        self._is_tool = compile_patterns(settings.tools)
        self._database = database

    async def check(self, call: Call, *, at: datetime, enforce: bool) -> Sequence[Finding]:
        """Return what the rules have against the call. Where none blocks, or `enforce` is not set, its transactions count as sent."""
        if call.rpc is None:
            return ()
        found = carried(call.rpc, call_id=call.id, is_tool=self._is_tool)
        rules = [rule for rule, matches in self._rules if matches(call)]
        if not found or not rules:
            return ()
        return await self._database.write(partial(_judge, call, rules, found, at, enforce))


def _judge(call: Call, rules: Sequence[OnchainRuleSettings], found: Sequence[Carried], at: datetime, enforce: bool) -> Work[list[Finding]]:  # noqa: FBT001 - passed on by `check` alone
    """Judge and remember in one transaction of the store: no other call comes between the two."""
    findings: list[Finding] = []
    added: list[tuple[Value, ...]] = []
    for rule in rules:
        since = at - max(_DAY, rule.cooldown or _DAY)
        rows = cast("list[tuple[int, str, str]]", (yield Sql(_SENT, (rule.id, to_micros(since)))))
        sent = [Sent(from_micros(moment), int(value), digest) for moment, value, digest in rows]
        for one in found:
            transaction = one.transaction
            why = transaction.why if isinstance(transaction, Unreadable) else broken(rule, transaction, sent=sent, at=at)
            if why is not None:
                findings.append(_finding(call, rule, one, why))
            if isinstance(transaction, Transaction):
                sent.append(Sent(at, transaction.value, transaction.digest))
                added.append((rule.id, transaction.digest, to_micros(at), str(transaction.value)))
    if not (enforce and any(finding.action is Action.BLOCK for finding in findings)):
        yield Many(_ADD, added)
        yield Many(_FORGET, [(rule.id, to_micros(at - 2 * max(_DAY, rule.cooldown or _DAY))) for rule in rules])
    return findings


def _finding(call: Call, rule: OnchainRuleSettings, one: Carried, why: str) -> Finding:
    transaction = one.transaction
    known = None if isinstance(transaction, Unreadable) else transaction
    recipient = _UNREADABLE if known is None else known.recipient or _CREATION
    return Finding(
        kind=AlertKind.ONCHAIN_DENIED,
        action=rule.action,
        severity=rule.severity,
        title=f"Transaction denied by {rule.id}",
        message=f"On-chain rule {rule.id!r} does not allow the transaction to {recipient}: {why}.",
        episode=(rule.id, recipient),
        subject=subject_of(call, rule_id=rule.id),
        evidence={
            "method": one.by[:100],
            "recipient": recipient,
            "chain_id": known.chain_id if known else None,
            "value_wei": str(known.value) if known else None,
            "selector": known.selector if known else None,
        },
        remedy="Change the transaction, or the rule under detectors.onchain.",
    )
