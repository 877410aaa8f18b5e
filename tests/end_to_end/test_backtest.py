"""A back-test over the ledger says of every call what the gateway said when the call was made."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.replay import Replay, choose
from tests.end_to_end.test_hard_budget_leases import Through, answering, asks, budgets, run
from tests.support import corpus
from tests.support.gateway import Gateway
from tests.support.provider import Provider
from tollwatch import cli

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
WORST: dict[str, Any] = {"name": "worst", "limit": "0.01 USD", "period": "month", "reserve": "worst_case"}
COUNTED: dict[str, Any] = {"name": "counted", "limit": "4000 tokens", "period": "month", "scope": {"model": "gpt-4o"}, "quantum": 200}

type BackTest = Callable[[Gateway, Path, str], list[dict[str, Any]]]


@pytest.fixture
def back_test(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> BackTest:
    """Run the command in this process, beside the gateway: what is in a file, told as JSON."""

    def tell(gateway: Gateway, file: Path, mode: str) -> list[dict[str, Any]]:
        monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))
        capsys.readouterr()
        arguments = ["rules", "backtest", str(file), "--json", "--samples", "100000"]
        assert cli.main([*arguments, "--monitor"] if mode == "monitor" else arguments) == 0
        return list(json.loads(capsys.readouterr().out))

    return tell


@pytest.mark.skipif(not corpus.CORPUS.is_dir(), reason=corpus.MISSING)
@pytest.mark.timeout(240)
def test_a_back_test_is_what_the_gateway_said_at_the_time(tmp_path: Path, back_test: BackTest) -> None:
    written = {"rules": [{"title": f"Rule {rule['id']}", **rule} for rule in RULES], "budgets": [*BUDGETS, *REFUSING]}
    config = {"mode": "monitor", "detectors": {"prompt_drift": {"enabled": False}}, **written}
    file = tmp_path / "tested.yaml"
    file.write_text(yaml.safe_dump(written))
    replay = Replay(choose(110, seed=11), seed=11, quiet=True, config=config, slow_hosts={"api.groq.com", "api.deepseek.com"})

    replay.run(tmp_path, then=lambda gateway: compare(gateway, back_test(gateway, file, "monitor")))

    assert len(replay.outcomes) > 100


MANY = [
    pytest.param(12, "monitor", id="monitor-12"),
    *(pytest.param(80, mode, id=f"{mode}-80", marks=pytest.mark.soak) for mode in ("monitor", "enforce")),
]


@pytest.mark.parametrize(("clients", "mode"), MANY)
def test_of_many_clients_at_once_it_names_the_calls_that_the_gateway_named(
    tmp_path: Path, back_test: BackTest, clients: int, mode: str
) -> None:
    asked = asks(clients, hidden=True)
    limited = [*budgets(asked, share=0.5, room=False, wait="0.2s"), COUNTED, *([WORST] if mode == "monitor" else [])]
    file = tmp_path / "tested.yaml"
    file.write_text(yaml.safe_dump({"budgets": limited}))
    config = {"mode": mode, "budgets": limited, "identity": [{"header": "x-tollwatch-user"}]}
    with Provider(tmp_path) as provider, Gateway(tmp_path, provider, config=config) as gateway:
        provider.script = answering(asked)
        asyncio.run(run(asked, Through(gateway)))
        gateway.wait_settled(sum(map(len, asked)))

        results = {one["budget"]: one for one in back_test(gateway, file, mode)}
        live = {name: refused_by(gateway, name, action="observed" if mode == "monitor" else "blocked") for name in results}
    for name, result in results.items():
        surely = {row["id"] for row in result["samples"]}
        assert surely <= live[name], name
        # Who is refused behind others that wait may have had room for a part: that alone, of enforce mode, is not in the rows.
        assert len(live[name] - surely) <= (result["refused_maybe"] if mode == "enforce" else 0), name
        assert mode == "enforce" or result["refused_maybe"] == 0, name
    assert sum(result["refused"] for result in results.values()) > clients // 2
    assert sum(result["cut"] for result in results.values()) > 0


def compare(gateway: Gateway, told: Sequence[dict[str, Any]]) -> None:
    """Hold what is told of every rule and budget against what was recorded while the calls passed."""
    results = {one.get("rule_id") or one["budget"]: one for one in told}
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


def refused_by(gateway: Gateway, name: str, *, action: str = "observed") -> set[str]:
    """Return the calls that the gateway said a budget would have refused, or cut; or did (`blocked`)."""
    text = "SELECT d.call_id, d.evidence FROM detections d WHERE d.action = ?"
    told = [(row["call_id"], json.loads(row["evidence"])) for row in gateway.rows(text, (action,))]
    return {call_id for call_id, evidence in told if evidence.get("budget") == name and evidence.get("needed", 0) is not None}
