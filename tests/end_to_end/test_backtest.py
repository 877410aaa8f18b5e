"""A back-test over the ledger says of every call what the gateway said when the call was made."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.replay import Replay, choose
from tests.support import corpus
from tests.support.gateway import Gateway

RULES: list[dict[str, Any]] = [
    {"id": "o-models", "match": {"model": ["o1*", "o3*", "*-mini*"]}, "action": "allow", "priority": 5},
    {"id": "gpt", "match": {"model": "gpt-*", "provider": "openai"}, "action": "alert", "priority": 4},
    {"id": "large", "match": {"min_input_tokens": 60, "provider": {"not": "openai"}}, "action": "block", "priority": 3},
    {"id": "middling", "match": {"min_input_tokens": 20, "max_input_tokens": 59, "max_bytes": 2_000}, "action": "alert", "priority": 2},
    {"id": "no-model", "match": {"model": {"not": "*"}}, "action": "alert", "priority": 1},
    {"id": "claude", "match": {"model": "*claude*", "weekdays": "mon-sun", "path": "/v1/*"}, "action": "block"},
    {"id": "base-url", "match": {"host": "api.mistral.ai", "operation": "chat"}, "action": "alert"},
    {"id": "rest", "match": {}, "action": "alert", "priority": -1},
]
BUDGETS: list[dict[str, Any]] = [
    {"name": "money", "limit": "0.05 USD", "period": "month", "on_exceed": "alert", "warn_at": [0.1, 0.5, 0.8]},
    {"name": "tokens", "limit": "20000 tokens", "period": "month", "on_exceed": "alert", "warn_at": [0.01, 0.5]},
    {
        "name": "anthropic",
        "scope": {"provider": "anthropic"},
        "limit": "0.01 USD",
        "period": "month",
        "on_exceed": "alert",
        "warn_at": [0.2],
    },
]

REFUSING: list[dict[str, Any]] = [
    {"name": "hard-money", "limit": "0.03 USD", "period": "month", "wait": "0s", "reserve": "worst_case"},
    {"name": "hard-tokens", "scope": {"provider": "openai"}, "limit": "9000 tokens", "period": "month", "wait": "0s"},
    {"name": "leased-money", "scope": {"provider": "openai"}, "limit": "0.1 USD", "period": "month", "quantum": 32},
    {"name": "leased-tokens", "scope": {"provider": "deepseek"}, "limit": "900 tokens", "period": "month", "quantum": 16},
    {"name": "cuts", "scope": {"model": "openai/gpt-oss-120b"}, "limit": "250 tokens", "period": "month", "quantum": 16},
    {"name": "read-tokens", "limit": "12000 tokens", "period": "month", "reserve": "input_only"},
    {"name": "unbounded", "limit": "90 USD", "period": "month", "unpriced": "refuse"},
]
"""Each refuses or cuts some of the calls: by its worst case, its input alone, a quantum at a time, or since nothing bounds a cost."""


@pytest.mark.skipif(not corpus.CORPUS.is_dir(), reason=corpus.MISSING)
@pytest.mark.timeout(240)
def test_a_back_test_is_what_the_gateway_said_at_the_time(tmp_path: Path) -> None:
    written = {"rules": [{"title": f"Rule {rule['id']}", **rule} for rule in RULES], "budgets": [*BUDGETS, *REFUSING]}
    config = {"mode": "monitor", "detectors": {"prompt_drift": {"enabled": False}}, **written}
    file = tmp_path / "tested.yaml"
    file.write_text(yaml.safe_dump(written))
    replay = Replay(choose(110, seed=11), seed=11, quiet=True, config=config, slow_hosts={"api.groq.com", "api.deepseek.com"})

    replay.run(tmp_path, then=lambda gateway: compare(gateway, file))

    assert len(replay.outcomes) > 100


def compare(gateway: Gateway, file: Path) -> None:
    """Hold every rule and budget against what was recorded while the calls passed."""
    told = gateway.command("rules", "backtest", str(file), "--json", "--samples", "100000", "--monitor").stdout
    results = {one.get("rule_id") or one["budget"]: one for one in json.loads(told)}
    alerted = told_of_rules(gateway)
    for rule in RULES:
        result, recorded = results[rule["id"]], decided(gateway, rule["id"])
        fired = {row["id"] for row in result["samples"]}
        assert result["unknown"] == 0, (rule["id"], result["unknown_for"])
        assert fired == recorded, (rule["id"], fired ^ recorded)
        assert (result["fired"], result["fired_live"]) == (len(fired), len(fired))
        if rule["action"] != "allow":
            inside = alerted[rule["id"]] - fired  # requests inside a batch, models to fall back on: not in the ledger
            assert fired <= alerted[rule["id"]]
            assert len(inside) <= 3, inside
    assert sum(bool(results[rule["id"]]["fired"]) for rule in RULES) >= 6, "the rules are to fire on something"
    for budget in BUDGETS:
        crossed = sorted((one["share"], one["spent"]) for one in results[budget["name"]]["crossings"])
        assert crossed == told_of_budget(gateway, budget["name"]) != [], budget["name"]
    for budget in REFUSING:
        result, live = results[budget["name"]], refused_by(gateway, budget["name"])
        surely = {row["id"] for row in result["samples"]}
        assert surely == live, (budget["name"], surely - live, live - surely)
        assert (result["refused"] + result["cut"], result["refused_maybe"]) == (len(live), 0), budget["name"]
    refused = {budget["name"]: results[budget["name"]]["refused"] for budget in REFUSING}
    assert min(refused.values()) >= 1, refused
    assert sum(refused.values()) >= 50, refused
    assert sum(results[budget["name"]]["cut"] for budget in REFUSING) >= 1, "an answer is to be cut"


def decided(gateway: Gateway, rule_id: str) -> set[str]:
    return {str(row["id"]) for row in gateway.rows("SELECT id FROM calls WHERE rule_id = ?", (rule_id,))}


def told_of_rules(gateway: Gateway) -> dict[str, set[str]]:
    """Return the calls that each rule raised an alert on, as the detections say."""
    found: dict[str, set[str]] = defaultdict(set)
    text = "SELECT d.call_id, a.subject FROM detections d JOIN alerts a ON a.seq = d.alert_seq WHERE a.kind = 'policy_violation'"
    for row in gateway.rows(text):
        found[json.loads(row["subject"])["rule_id"]].add(row["call_id"])
    return found


def told_of_budget(gateway: Gateway, name: str) -> list[tuple[float, int]]:
    text = "SELECT d.evidence FROM detections d JOIN alerts a ON a.seq = d.alert_seq WHERE a.kind IN ('budget_warning', 'budget_exceeded')"
    evidence = [json.loads(row["evidence"]) for row in gateway.rows(text)]
    return sorted((one["threshold"], one["spent"]) for one in evidence if one["budget"] == name)


def refused_by(gateway: Gateway, name: str) -> set[str]:
    """Return the calls that the gateway said a budget would have refused, or cut."""
    text = "SELECT d.call_id, d.evidence FROM detections d WHERE d.action = 'observed'"
    told = [(row["call_id"], json.loads(row["evidence"])) for row in gateway.rows(text)]
    return {call_id for call_id, evidence in told if evidence.get("budget") == name and evidence.get("needed", 0) is not None}
